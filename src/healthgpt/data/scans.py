"""Scans to aligned 8-bit slices: one MR or CT volume, or an MR/CT pair of one patient, read, laid over each other,
normalised and cut. Everything that is done is told in words, for the records' provenance.

One pair is in memory at a time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image as PillowImage
from pydantic import BaseModel, ConfigDict, Field, field_validator

from healthgpt.data.augment import SYMMETRIC_REGIONS, draw_augmentation
from healthgpt.errors import DataError, ImageError, closest
from healthgpt.imaging.degrade import Degradation, degrade
from healthgpt.imaging.geometry import (
    AIR_HU,
    Plane,
    body_mask,
    display_plane,
    holds_enough,
    plane_spacing,
    resample,
    resample_onto,
    same_grid,
    slice_indices,
    to_square,
)
from healthgpt.imaging.intensity import DEFAULT_WINDOW, PERCENTILES, WINDOWS
from healthgpt.imaging.normalise import body_window, ct_grey, to_grey
from healthgpt.imaging.registration import GOOD_QUALITY, Fit, fit_in_place, register
from healthgpt.imaging.volume import Volume, read_volume
from healthgpt.sources.base import fraction_of
from healthgpt.sources.entry import Role
from healthgpt.sources.picture import shrink, to_bytes

CT_WINDOWS: dict[str, str] = {"brain": "head", "head": "head", "chest": "lung", "pelvis": "pelvis"}
"""Window by region, names of ``intensity.WINDOWS``; other regions take ``DEFAULT_WINDOW``. For brains the wider head
window: the skull is part of what MR and CT are converted for."""


class ScanSettings(BaseModel):
    """How scans are cut; the same settings and seed give the same bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plane: Plane = "axial"
    stride_mm: float = Field(default=3.0, gt=0)
    """About how far apart the slices are; at least one voxel."""
    min_foreground: float = Field(default=0.1, ge=0, le=1)
    """A slice whose body, in every scan, covers a smaller share of it is left out."""
    spacing_mm: float | None = Field(default=None, gt=0)
    """Resample the volumes to cubes of this size first; None keeps the voxels of the MR scan (or the CT alone)."""
    smallest_side: int = Field(default=64, ge=1)
    """Pixels; coarser scans are refused."""
    longest_side: int = Field(default=256, ge=16)
    """Pixels; finer slices are made smaller."""
    ct_windows: dict[str, str] = CT_WINDOWS
    mri_percentiles: tuple[float, float] = PERCENTILES
    registration: Literal["never", "if-needed"] = "if-needed"
    """``if-needed``: a pair is moved only where it does not fit in the scanner's coordinates."""
    min_quality: float = Field(default=GOOD_QUALITY, ge=0, le=1)
    """Pairs that fit worse are refused with ``MisalignedPairError``."""
    sr_method: Degradation = "k-space"
    augmentations: int = Field(default=0, ge=0)
    """How many moved copies are made of each slice."""

    @field_validator("ct_windows")
    @classmethod
    def _windows_are_known(cls, windows: dict[str, str]) -> dict[str, str]:
        for name in windows.values():
            if name not in WINDOWS:
                raise ValueError(f"no CT window '{name}': {closest(name, list(WINDOWS))}")
        return windows

    @field_validator("mri_percentiles")
    @classmethod
    def _percentiles_rise(cls, percentiles: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= percentiles[0] < percentiles[1] <= 100:
            raise ValueError(f"percentiles {percentiles}: the first must lie below the second, both in 0 to 100")
        return percentiles


class MisalignedPairError(DataError):
    """Two scans do not show the same anatomy in the same place; ``fit`` has the figures."""

    def __init__(self, name: str, fit: Fit, least: float) -> None:
        self.fit = fit
        super().__init__(
            f"the scans of {name} do not lie over each other",
            found=str(fit),
            allowed=f"quality {least:g} or more",
            next_step="check that both are of one patient and region, or leave the pair out",
        )


@dataclass(frozen=True)
class SliceSet:
    """One height of a scan. ``index``: along the plane's axis, from 0. ``pixels``: by role (``mri``, ``ct``), uint8
    squares of one size. ``transforms``: what was done, in order. ``copy``: 0, or the number of the augmented copy."""

    index: int
    pixels: dict[str, np.ndarray]
    transforms: tuple[str, ...]
    copy: int = 0


@dataclass(frozen=True)
class ScanSlices:
    """The slices of one scan or pair. ``fit``: how well a pair lies, None for one scan. ``registration``: ``none``,
    ``rigid`` or ``affine``."""

    name: str
    slices: tuple[SliceSet, ...]
    fit: Fit | None
    registration: str


def slices_of_scan(
    volumes: Mapping[Role, Path], *, region: str, settings: ScanSettings, name: str, seed: int
) -> ScanSlices:
    """Cut one MR or CT scan, or a pair of one patient, into aligned slices for display.

    ``volumes``: files or DICOM folders by role. A pair comes out on the MR scan's grid. With a ``mask`` everything
    outside it becomes air or black. ``region``: chooses the CT window and whether copies may be mirrored. ``name``:
    unique; with ``seed`` it decides the augmentation. Raises ``ImageError`` for a scan that cannot be read or shows
    nothing, ``MisalignedPairError`` for a pair that does not fit, ``DataError`` where no slice is left.
    """
    if not set(volumes) & {"mri", "ct"}:
        raise DataError(f"{name} has no scan", found=", ".join(volumes) or "nothing", allowed="mri, ct or both")
    done: list[str] = []
    scans = {role: _read(volumes[role], role, settings, done) for role in ("mri", "ct") if role in volumes}
    fit, stage = None, "none"
    if len(scans) == 2:
        scans["ct"], fit, stage = _on_one_grid(scans["ct"], scans["mri"], name, settings, done)
    grid = next(iter(scans.values()))
    if "mask" in volumes:
        body = _published_mask(volumes["mask"], grid)
        scans = {role: _masked(scan, body) for role, scan in scans.items()}
        done.append("outside the published mask set to black")
    else:
        body = np.logical_and.reduce([body_mask(scan) for scan in scans.values()])
    greys = {role: _grey(scan, role, body, region, settings, done) for role, scan in scans.items()}
    slices = tuple(_cut(greys, body, grid, tuple(done), region, settings, f"{seed}/{name}"))
    if not slices:
        raise DataError(
            f"{name} has no slice with enough on it",
            found=f"less than {settings.min_foreground:.0%} body in every one",
            allowed="a scan of a patient",
            next_step="check the file, or lower min_foreground",
        )
    return ScanSlices(name, slices, fit, stage)


def low_resolution(pixels: np.ndarray, settings: ScanSettings) -> tuple[np.ndarray, str]:
    """The input of 4x super-resolution for a slice: uint8 of the same size, and how it was made."""
    coarse, words = degrade(pixels.astype(np.float32) / 255.0, settings.sr_method)
    return to_bytes(coarse), words


def _read(path: Path, role: str, settings: ScanSettings, done: list[str]) -> Volume:
    volume = read_volume(path)
    done.extend(f"{role} {note}" for note in volume.notes)
    if settings.spacing_mm is not None:
        size = settings.spacing_mm
        volume = resample(volume, (size, size, size))
        done.append(f"{role} resampled to {size:g} mm, linear")
    return volume


def _on_one_grid(
    ct: Volume, mri: Volume, name: str, settings: ScanSettings, done: list[str]
) -> tuple[Volume, Fit, str]:
    """The CT on the MR grid, how well it fits, and the last step of registration that it took."""
    fit = fit_in_place(ct, mri)
    if fit.quality >= settings.min_quality:
        done.append(f"pair left in place: {fit}")
        if same_grid(ct, mri):
            return ct, fit, "none"
        done.append("ct resampled onto the mri grid, linear")
        return resample_onto(ct, mri), fit, "none"
    if settings.registration == "never":
        raise MisalignedPairError(name, fit, settings.min_quality)
    laid = register(ct, mri)
    if laid.fit.quality < settings.min_quality:
        raise MisalignedPairError(name, laid.fit, settings.min_quality)
    done.append(f"ct registered to mri, {laid.stage}: {laid.fit}")
    return laid.moved, laid.fit, laid.stage


def _published_mask(path: Path, grid: Volume) -> np.ndarray:
    """The mask's voxels above 0 on the grid of the scans; ``ImageError`` for an empty one."""
    mask = read_volume(path)
    inside = replace(mask, values=(mask.values > 0).astype(np.float32), units="arbitrary")
    body = (inside if same_grid(mask, grid) else resample_onto(inside, grid, interpolation="nearest")).values > 0.5
    if not body.any():
        raise ImageError(f"{path} is an empty mask", found="no voxel above 0 within the scan", allowed="a body mask")
    return body


def _masked(scan: Volume, body: np.ndarray) -> Volume:
    outside = AIR_HU if scan.units == "hounsfield" else float(scan.values.min())
    return replace(scan, values=np.where(body, scan.values, np.float32(outside)))


def _grey(
    scan: Volume, role: str, body: np.ndarray, region: str, settings: ScanSettings, done: list[str]
) -> np.ndarray:
    """uint8 (x, y, z)."""
    if role == "ct":
        named = settings.ct_windows.get(region, DEFAULT_WINDOW)
        window = WINDOWS[named]
        done.append(f"ct window {named} (centre {window.centre:g}, width {window.width:g} HU)")
        return ct_grey(scan, window)
    window = body_window(scan, body, settings.mri_percentiles)
    low, high = settings.mri_percentiles
    done.append(f"mri percentiles {low:g} to {high:g} of the body")
    return to_grey(scan.values, window)


def _cut(
    greys: dict[str, np.ndarray],
    body: np.ndarray,
    grid: Volume,
    done: tuple[str, ...],
    region: str,
    settings: ScanSettings,
    identity: str,
) -> Iterator[SliceSet]:
    """Every slice with enough body on it, and its augmented copies."""
    plane = settings.plane
    spacing = plane_spacing(grid, plane)
    for index in slice_indices(grid, plane, settings.stride_mm):
        if not holds_enough(display_plane(body, plane, index), settings.min_foreground):
            continue
        pixels = {
            role: to_square(shrink(_square_pixels(display_plane(grey, plane, index), spacing), settings.longest_side))
            for role, grey in greys.items()
        }
        side = next(iter(pixels.values())).shape[0]
        if side < settings.smallest_side:
            raise ImageError(
                "a scan is too coarse",
                found=f"slices of {side} pixels",
                allowed=f"{settings.smallest_side} or more",
                next_step="leave it out, or lower smallest_side",
            )
        told = (*done, f"{plane} slice {index}", f"padded to a square, {side} px")
        yield SliceSet(index, pixels, told)
        for copy in range(1, settings.augmentations + 1):
            number = int(fraction_of(f"{identity}/{index}/{copy}") * 2**53)
            moved = draw_augmentation(number, may_flip=region in SYMMETRIC_REGIONS and plane != "sagittal")
            yield SliceSet(index, {role: moved.moved(one) for role, one in pixels.items()}, (*told, str(moved)), copy)


def _square_pixels(pixels: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """uint8 slice with as many millimetres to a pixel down as across: the coarser direction is interpolated."""
    finest = min(spacing)
    height, width = (round(length * size / finest) for length, size in zip(pixels.shape, spacing, strict=True))
    pixels = np.ascontiguousarray(pixels)
    if (height, width) == pixels.shape:
        return pixels
    return np.asarray(PillowImage.fromarray(pixels).resize((width, height), PillowImage.Resampling.BILINEAR))

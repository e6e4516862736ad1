"""A folder of DICOM slices to one block of voxels: every slice of one series, in order along the slice normal.

Positions and directions: PS3.3, C.7.6.2.1.1. A series with holes is refused, not bridged.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from healthgpt.errors import ImageError
from healthgpt.imaging.image import Units
from healthgpt.imaging.limits import MAX_FILE_BYTES, check_declared_size
from healthgpt.imaging.read import first_bytes, kind_of
from healthgpt.imaging.read_dicom import MODALITY_OF_TAG, read_dicom

UNEVEN = 0.1
"""How far the distance of two slices may be from the usual one, of the usual one, before the series is refused."""
_SAME_PLACE_MM = 0.01
_HEADER_TAGS = [
    "SeriesInstanceUID", "SeriesDescription", "Modality", "Rows", "Columns", "ImageOrientationPatient",
    "ImagePositionPatient", "PixelSpacing", "InstanceNumber", "SliceThickness", "SpacingBetweenSlices",
    "NumberOfFrames",
]  # fmt: skip


class SeriesVoxels(NamedTuple):
    """``values``: float32 (columns, rows, slices); ``affine``: (4, 4) their index to millimetres, RAS."""

    values: np.ndarray
    affine: np.ndarray
    modality: str | None
    units: Units
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Slice:
    path: Path
    header: Dataset
    position: np.ndarray
    """Of the first pixel's centre, LPS millimetres."""


def read_series(folder: Path) -> SeriesVoxels:
    """All slices of the one DICOM series in ``folder`` (not in folders below it); other files are passed over.

    Raises ``ImageError``: no DICOM file; several series (each is named); slices without position, of different size,
    direction or pixel spacing; two at one place; slices missing in between (where, and how many); damaged slices.
    """
    slices = _sorted_slices(folder)
    header = slices[0].header
    check_declared_size(folder, int(header.Rows), int(header.Columns), len(slices))
    _check_distances(folder, slices)
    values = np.empty((int(header.Columns), int(header.Rows), len(slices)), np.float32, order="F")
    units: set[Units] = set()
    for index, one in enumerate(slices):
        image = read_dicom(one.path, None)
        if image.pixels.ndim != 2:
            raise _unusable(one.path, "a colour picture", "grey slices")
        values[..., index] = image.pixels.T
        units.add(image.units)
    if len(units) > 1:
        raise _unusable(folder, f"slices in {' and '.join(sorted(units))} units", "one kind of units in all slices")
    tag = str(header.get("Modality", ""))
    notes = (f"series: {len(slices)} DICOM slices",)
    return SeriesVoxels(values, _affine(slices), MODALITY_OF_TAG.get(tag), units.pop(), notes)


def _sorted_slices(folder: Path) -> list[_Slice]:
    """The slices of the one series, from one end to the other, alike in all but their position."""
    by_series: dict[str, list[tuple[Path, Dataset]]] = {}
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.stat().st_size == 0 or kind_of(path, first_bytes(path)) != "DICOM":
            continue
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _unusable(path, f"{path.stat().st_size:,} bytes", f"up to {MAX_FILE_BYTES:,} bytes a slice")
        header: Dataset = dcmread(path, force=True, stop_before_pixels=True, specific_tags=_HEADER_TAGS)
        if "Rows" in header and "Columns" in header:
            by_series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
    if not by_series:
        raise _unusable(folder, "no DICOM picture", "a folder with the slices of one series")
    if len(by_series) > 1:
        named = [
            f"'{files[0][1].get('SeriesDescription', 'no description')}' ({uid or 'no UID'}, {len(files)} files)"
            for uid, files in sorted(by_series.items())
        ]
        raise ImageError(
            f"{folder} mixes {len(by_series)} DICOM series",
            found=", ".join(named[:5]) + (", ..." if len(named) > 5 else ""),
            allowed="the slices of one series",
            next_step="choose one and put its files into a folder of their own",
        )
    files = next(iter(by_series.values()))
    if len(files) < 2:
        raise _unusable(folder, f"{len(files)} slice", "2 slices or more")
    first = files[0][1]
    slices = []
    for path, header in files:
        if int(header.get("NumberOfFrames") or 1) > 1:
            raise _unusable(path, f"{header.NumberOfFrames} frames in one file", "one slice a file")
        for keyword, count in (("ImageOrientationPatient", 6), ("ImagePositionPatient", 3), ("PixelSpacing", 2)):
            numbers = _numbers(header, keyword)
            if len(numbers) != count or not np.isfinite(numbers).all():
                raise _unusable(path, f"no {keyword}", "slices that say where they lie in the patient")
        if _numbers(header, "PixelSpacing").min() <= 0:
            raise _unusable(path, f"a pixel spacing of {header.PixelSpacing} mm", "sizes above 0")
        if (header.Rows, header.Columns) != (first.Rows, first.Columns):
            raise _unusable(
                path,
                f"{header.Columns} x {header.Rows} pixels beside {first.Columns} x {first.Rows}",
                "slices of one size",
            )
        for keyword, tolerance in (("ImageOrientationPatient", 1e-3), ("PixelSpacing", 1e-3)):
            if np.abs(_numbers(header, keyword) - _numbers(first, keyword)).max() > tolerance:
                raise _unusable(
                    path, f"{keyword} {header[keyword].value} beside {first[keyword].value}", "the same in all slices"
                )
        slices.append(_Slice(path, header, _numbers(header, "ImagePositionPatient")))
    normal = _normal(first)
    return sorted(slices, key=lambda one: float(one.position @ normal))


def _check_distances(folder: Path, slices: list[_Slice]) -> None:
    """``ImageError`` where slices share a place, leave a gap, or keep no common distance."""
    along = np.array([one.position @ _normal(slices[0].header) for one in slices])
    gaps = np.diff(along)
    if gaps.min() < _SAME_PLACE_MM:
        index = int(gaps.argmin())
        raise ImageError(
            f"{folder} has two slices at one place",
            found=f"{slices[index].path.name} and {slices[index + 1].path.name}, {gaps[index]:.3f} mm apart",
            allowed="each place once: one echo, phase or time point",
            next_step="keep the slices of one echo, phase or time point in the folder",
        )
    usual = float(np.median(gaps))
    wide = [int(index) for index in np.flatnonzero(gaps > (1 + UNEVEN) * usual)]
    multiples = np.rint(gaps / usual)
    if wide and all(multiples[index] >= 2 for index in wide):
        raise _missing(folder, slices, gaps, usual, wide, int((multiples[wide] - 1).sum()))
    if wide or gaps.min() < (1 - UNEVEN) * usual:
        index = int(np.abs(gaps - usual).argmax())
        raise ImageError(
            f"{folder} has slices at uneven distances",
            found=f"{gaps[index]:.2f} mm between {slices[index].path.name} and {slices[index + 1].path.name}, "
            f"{usual:.2f} mm usually",
            allowed=f"one distance within {UNEVEN:.0%}",
            next_step="fetch the series again or convert it to NIfTI with a program that resamples it",
        )
    skipped = _evenly_skipped(slices, usual)
    if skipped:
        raise _missing(folder, slices, gaps, usual / (skipped + 1), [0], skipped * len(gaps))


def _evenly_skipped(slices: list[_Slice], usual: float) -> int:
    """How many slices are missing in every gap alike: the header's distance and the instance numbers both must say so.

    Either alone is no proof: scanners leave gaps, and number echoes in turns.
    """
    header = slices[0].header
    stated = header.get("SpacingBetweenSlices") or header.get("SliceThickness")
    numbers = [int(one.header.get("InstanceNumber") or 0) for one in slices]
    steps = set(np.abs(np.diff(numbers)).tolist())
    if not stated or len(steps) != 1:
        return 0
    step = steps.pop()
    return step - 1 if step > 1 and abs(usual / float(stated) - step) < UNEVEN * step else 0


def _missing(
    folder: Path, slices: list[_Slice], gaps: np.ndarray, usual: float, wide: list[int], count: int
) -> ImageError:
    places = [
        f"{gaps[index]:.2f} mm between {slices[index].path.name} and {slices[index + 1].path.name}"
        for index in wide[:3]
    ]
    return ImageError(
        f"{folder} lacks {count} slice{'s' * (count > 1)} of its series",
        found=", ".join(places) + (", ..." if len(wide) > 3 or count > len(wide) * 10 else ""),
        allowed=f"a slice every {usual:.2f} mm",
        next_step="fetch the whole series again",
    )


def _affine(slices: list[_Slice]) -> np.ndarray:
    """Index of (column, row, slice) to RAS millimetres; the slice axis runs from the first to the last position."""
    header = slices[0].header
    row_spacing, column_spacing = _numbers(header, "PixelSpacing")
    directions = _numbers(header, "ImageOrientationPatient")
    affine = np.eye(4)
    affine[:3, 0] = directions[:3] * column_spacing
    affine[:3, 1] = directions[3:] * row_spacing
    affine[:3, 2] = (slices[-1].position - slices[0].position) / (len(slices) - 1)
    affine[:3, 3] = slices[0].position
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _normal(header: Dataset) -> np.ndarray:
    directions = _numbers(header, "ImageOrientationPatient")
    return np.cross(directions[:3], directions[3:])


def _numbers(header: Dataset, keyword: str) -> np.ndarray:
    value = header.get(keyword)
    return np.array([] if value is None else value, dtype=float).reshape(-1)


def _unusable(path: Path, found: str, allowed: str) -> ImageError:
    return ImageError(
        f"{path} is no series that makes a volume",
        found=found,
        allowed=allowed,
        next_step="name a folder that holds one whole series and nothing else",
    )

"""Axial display slices of a volume file, in radiological orientation.

Patient left is on the right of the picture and anterior is up, whatever axes the file stores
(NIfTI-1 standard, method 2 and 3 affines; MetaImage positions are LPS and are turned to RAS).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK
from PIL import Image as PillowImage

from healthgpt.errors import ImageError
from healthgpt.imaging.image import Image, Units, Window
from healthgpt.imaging.intensity import to_display
from healthgpt.sources.picture import shrink

FOREGROUND_SHARE = 0.08
"""A slice with less than this share of pixels above the darkest tenth of the display range shows nothing."""


@dataclass(frozen=True)
class Volume:
    """``values``: float32, (x, y, z) running to the patient's right, front and head (nibabel's RAS+).
    ``spacing_mm``: along the same axes. ``affine``: voxel to scanner or template millimetres, RAS."""

    values: np.ndarray
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray


@dataclass(frozen=True)
class AxialSlice:
    """``index``: along z from the feet; ``number``: counts the slices taken, from 0 and with those that show nothing;
    ``pixels``: uint8, (height, width), at most 256 on the long side."""

    index: int
    number: int
    pixels: np.ndarray


def load_volume(path: Path) -> Volume:
    """Read NIfTI, MGH or MetaImage, turned to the closest RAS axes; ``ImageError`` when that fails."""
    try:
        image = _meta_image(path) if path.suffix == ".mha" else nibabel.load(path)
        canonical = nibabel.as_closest_canonical(image)
        values = np.asarray(canonical.dataobj, dtype=np.float32)
    except (OSError, RuntimeError, nibabel.filebasedimages.ImageFileError) as fault:
        raise ImageError(f"{path} is not a readable volume", found=str(fault)) from fault
    if values.ndim != 3:
        raise ImageError(f"{path} is not a volume", found=f"{values.ndim} dimensions", allowed="3")
    x, y, z = (float(size) for size in nibabel.affines.voxel_sizes(canonical.affine))
    return Volume(values, (x, y, z), canonical.affine)


def axial_slices(
    volume: Volume, every_mm: float, *, modality: str, units: Units, window: Window | None = None
) -> Iterator[AxialSlice]:
    """Slices about every ``every_mm`` millimetres from feet to head, without those that show nothing.

    Without a window the whole volume's 0.5 to 99.5 percentile spans black to white, so that one tissue
    has one grey in all slices.
    """
    window = window or volume_window(volume.values)
    step = max(1, round(every_mm / volume.spacing_mm[2]))
    for number, index in enumerate(range(step // 2, volume.values.shape[2], step)):
        pixels = axial_pixels(volume, index, modality=modality, units=units, window=window)
        if shows_something(pixels):
            yield AxialSlice(index, number, shrink(pixels))


def axial_pixels(volume: Volume, index: int, *, modality: str, units: Units, window: Window) -> np.ndarray:
    """Slice ``index`` for display: uint8, (height, width), square pixels."""
    plane = np.ascontiguousarray(volume.values[::-1, ::-1, index].T)
    x, y, _ = volume.spacing_mm
    pixels = to_display(Image(plane, units, modality=modality, spacing_mm=(y, x)), window)
    finest = min(x, y)
    height, width = round(plane.shape[0] * y / finest), round(plane.shape[1] * x / finest)
    if (height, width) == pixels.shape:
        return pixels
    return np.asarray(PillowImage.fromarray(pixels).resize((width, height), PillowImage.Resampling.BILINEAR))


def volume_window(values: np.ndarray) -> Window:
    """The 0.5 to 99.5 percentile of a whole volume as a display window."""
    low, high = (float(value) for value in np.percentile(values, (0.5, 99.5)))
    return Window(centre=(low + high) / 2, width=max(high - low, 1e-6))


def shows_something(pixels: np.ndarray) -> bool:
    """Whether enough of a display slice (uint8) is not background."""
    return float((pixels > 25).mean()) >= FOREGROUND_SHARE


def _meta_image(path: Path) -> nibabel.Nifti1Image:
    image = SimpleITK.ReadImage(str(path))
    direction = np.array(image.GetDirection()).reshape(3, 3) if image.GetDimension() == 3 else np.eye(3)
    affine = np.eye(4)
    affine[:3, :3] = direction @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    values = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0).astype(np.float32)
    return nibabel.Nifti1Image(values, to_ras @ affine)

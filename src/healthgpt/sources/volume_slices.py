"""Axial display slices of a volume, in radiological orientation: patient left on the right of the picture."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage

from healthgpt.imaging.image import Image, Units, Window
from healthgpt.imaging.intensity import to_display
from healthgpt.imaging.volume import Volume
from healthgpt.sources.picture import shrink

FOREGROUND_SHARE = 0.08
"""A slice with less than this share of pixels above the darkest tenth of the display range shows nothing."""


@dataclass(frozen=True)
class AxialSlice:
    """``index``: along z from the feet; ``number``: counts the slices taken, from 0 and with those that show nothing;
    ``pixels``: uint8, (height, width), at most 256 on the long side."""

    index: int
    number: int
    pixels: np.ndarray


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

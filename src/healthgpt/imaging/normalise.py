"""Whole volumes to 8-bit grey: CT through a window in HU, MR through percentiles of the body, one scale for all slices.

One tissue then has one grey in every slice, which per-slice percentiles would not give.
"""

import numpy as np

from healthgpt.errors import ImageError
from healthgpt.imaging.image import Window
from healthgpt.imaging.intensity import PERCENTILES
from healthgpt.imaging.volume import Volume

_THINNED_ABOVE = 2_000_000
"""Voxels; an eighth of them tells a percentile as well."""


def to_grey(values: np.ndarray, window: Window) -> np.ndarray:
    """uint8 values of the same shape: the window's lower end and below 0, its upper end and above 255."""
    grey = np.empty(values.shape, np.uint8, order="F")
    low, scale = np.float32(window.centre - window.width / 2), np.float32(255.0 / window.width)
    for index in range(values.shape[-1]):
        scaled = (values[..., index] - low) * scale
        grey[..., index] = np.clip(np.rint(scaled, out=scaled), 0, 255, out=scaled)
    return grey


def ct_grey(volume: Volume, window: Window) -> np.ndarray:
    """A CT volume as uint8 (x, y, z). ``ImageError`` where it is not in Hounsfield units: no window fits it then."""
    if volume.units != "hounsfield":
        raise ImageError(
            "a CT scan is not in Hounsfield units",
            found=f"values from {volume.values.min():g} to {volume.values.max():g}",
            allowed="values that reach from air (-500 or less) to bone (300 or more)",
            next_step="convert it to Hounsfield units first (its slope and intercept are in the original DICOM files)",
        )
    return to_grey(volume.values, window)


def body_window(volume: Volume, body: np.ndarray, percentiles: tuple[float, float] = PERCENTILES) -> Window:
    """The window from one percentile of the body's values to another; ``body``: bool, the volume's shape.

    Of large volumes every second voxel along each axis counts. ``ImageError`` where the body is empty or all one value.
    """
    thinned = (slice(None, None, 2 if body.size > _THINNED_ABOVE else 1),) * 3
    inside = volume.values[thinned][body[thinned]]
    if inside.size:
        low, high = (float(value) for value in np.percentile(inside, percentiles))
        if high > low:
            return Window(centre=(low + high) / 2, width=high - low)
    raise ImageError(
        "a scan shows nothing",
        found="one value in the whole body" if inside.size else "no body in it",
        allowed="a scan with some contrast",
        next_step="leave it out, or export it again",
    )

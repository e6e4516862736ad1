"""Physical values to the grey or colour a screen shows."""

import numpy as np

from healthgpt.imaging.image import Image, Window

WINDOWS: dict[str, Window] = {
    "brain": Window(40, 80),
    "head": Window(40, 200),
    "soft-tissue": Window(40, 400),
    "pelvis": Window(40, 400),
    "lung": Window(-600, 1500),
    "bone": Window(400, 1800),
}
"""Usual CT windows, in HU."""

DEFAULT_WINDOW = "soft-tissue"
PERCENTILES = (0.5, 99.5)


def to_display(image: Image, window: Window | None = None) -> np.ndarray:
    """uint8 pixels, (height, width) or (height, width, 3), black 0 to white 255.

    Hounsfield units go through ``window``, else the file's own, else the soft-tissue one. Arbitrary units go
    through ``window`` when given, else from their 0.5th to their 99.5th percentile (from minimum to maximum where
    those coincide): windows stored with MR and radiographs suit one reader's screen, percentiles suit any image.
    Display units are shown as they are. Raises ``ValueError`` for pixels that are not finite.
    """
    pixels = image.pixels
    if not np.isfinite(pixels).all():
        raise ValueError("pixels to display must be finite; images from read_image are")
    if image.units == "display":
        return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    if image.units == "hounsfield":
        low, high = _ends(window or image.window or WINDOWS[DEFAULT_WINDOW])
    elif window is not None:
        low, high = _ends(window)
    else:
        low, high = (float(value) for value in np.percentile(pixels, PERCENTILES))
        if low == high:
            low, high = float(pixels.min()), float(pixels.max())
    if high <= low:
        return np.where(pixels > low, 255, 0).astype(np.uint8)
    return np.rint(np.clip((pixels.astype(np.float64) - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _ends(window: Window) -> tuple[float, float]:
    return window.centre - window.width / 2, window.centre + window.width / 2

"""Measuring an ultrasound phantom back from its pixels: region, lesions, stones, layers, brightness."""

from typing import Any

import numpy as np
from scipy import ndimage

from healthgpt.phantoms.read_breast_ultrasound import measure_breast

FAN_ROWS, FAN_COLUMNS = 112, 96
"""Samples along and across the beams of a resampled fan."""

SHADOW_RATIO = 0.70
"""Brightness of a shadow relative to the tissue beside it at the same depth."""

LESION_CONTRAST = 0.155
"""Contrast to the liver around it, as a fraction of the liver's brightness, that makes a focal lesion."""


def measure(image: np.ndarray) -> dict[str, Any]:
    """The findings of a sonogram, with the keys of ``ultrasound.make_case``'s ``truth`` for its region.

    ``image``: (128, 128) float in [0, 1], grey. A lesion is given by ``kind``, ``size`` and ``side``.
    """
    image = image.astype(np.float64)
    if not _is_fan(image):
        return {"region": "breast", **measure_breast(image)}
    fan = _Fan(image)
    fluid = _fluid_pockets(fan)
    if _is_kidney(fan, fluid):
        return {"region": "kidney", **_measure_kidney(fan, fluid)}
    return {"region": "liver", **_measure_liver(fan, fluid)}


def _is_fan(image: np.ndarray) -> bool:
    """A curved array leaves both sides of the picture black well below its top, but not the middle."""
    height, width = image.shape
    rows = slice(int(0.22 * height), int(0.38 * height))
    edge = int(0.05 * width)
    middle = image[:, width // 2 - edge : width // 2 + edge].mean(axis=1)
    sides_black = max(image[rows, :edge].mean(), image[rows, -edge:].mean()) < 0.03
    return bool(sides_black and (middle > 0.04).mean() > 0.5)


class _Fan:
    """A convex picture with its geometry found from its outline.

    ``beams``: (rows, columns) resampled along beams (row 0 at the probe, the last at full depth), smoothed;
    ``to_picture``: the (row, column) in the picture of every sample; ``smooth``: the picture itself, smoothed.
    """

    def __init__(self, image: np.ndarray) -> None:
        self.size = image.shape[0]
        self.smooth = ndimage.gaussian_filter(image, 0.8)
        inside = ndimage.binary_closing(image > 0.04, iterations=2)
        filled = np.where(inside.any(axis=1))[0]
        self.top, bottom = int(filled[0]), int(filled[-1])
        apex, half_angle = self._edges(inside, self.top, bottom)
        middle = inside[:, self.size // 2 - 4 : self.size // 2 + 4].any(axis=1)
        near, far = int(np.argmax(middle)) - apex, bottom - apex
        radius = np.linspace(near, far, FAN_ROWS)[:, None]
        angle = np.linspace(-half_angle, half_angle, FAN_COLUMNS)[None, :] * 0.97
        centre = (self.size - 1) / 2
        self.to_picture = (apex + radius * np.cos(angle), centre + radius * np.sin(angle))
        self.beams = ndimage.map_coordinates(self.smooth, self.to_picture, order=1, cval=np.nan)
        column = self.to_picture[1]
        self.beams[(column < 1) | (column > self.size - 2)] = np.nan
        body = self.beams[FAN_ROWS // 5 : -FAN_ROWS // 10]
        self.tissue = max(float(np.median(body[~np.isnan(body)])), 0.05) if not np.isnan(body).all() else 0.05

    def _edges(self, inside: np.ndarray, top: int, bottom: int) -> tuple[float, float]:
        """Row of the apex and the half opening angle, from the straight sides of the outline."""
        across = np.where(inside.any(axis=1), inside[:, ::-1].argmax(axis=1) + inside.argmax(axis=1), self.size)
        half_widths = (self.size - across) / 2
        widest = int(half_widths.argmax())
        rows = np.arange(top + 6, max(int(top + 0.85 * (widest - top)), top + 16))
        slope, offset = np.polyfit(rows, half_widths[rows], 1)
        slope = float(np.clip(slope, 0.3, 1.0))
        return -offset / slope, float(np.arctan(slope))

    def picture_mask(self, marked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Picture (rows, columns) of the marked beam samples."""
        return self.to_picture[0][marked], self.to_picture[1][marked]


def _fluid_pockets(fan: _Fan) -> list[dict[str, float]]:
    """Anechoic areas between the abdominal wall and the far field, largest first, in picture elements."""
    dark = ndimage.gaussian_filter(np.nan_to_num(fan.beams, nan=1.0), 0.7) < min(0.2, 0.36 * fan.tissue)
    dark[: FAN_ROWS // 7] = False
    dark[-FAN_ROWS // 8 :] = False
    labels, _ = ndimage.label(ndimage.binary_opening(dark, iterations=1))
    pockets = []
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        marked = labels == index
        # A shadow is a dark stripe that runs on to the far field; fluid ends.
        if box[0].stop >= FAN_ROWS - FAN_ROWS // 8 - 1:
            continue
        rows, columns = fan.picture_mask(marked)
        width, height = float(np.ptp(columns)), float(np.ptp(rows))
        if width >= 6 and height >= 5:
            pockets.append({
                "row": float(rows.mean()), "column": float(columns.mean()),
                "width": width, "height": height, "samples": float(marked.sum()),
            })  # fmt: skip
    return sorted(pockets, key=lambda pocket: -pocket["samples"])


def _is_kidney(fan: _Fan, fluid: list[dict[str, float]]) -> bool:
    """A bright sinus, or a dilated pelvis, in the middle of the picture."""
    middle = (fan.size - 1) / 2
    body = np.nan_to_num(fan.beams, nan=fan.tissue)[FAN_ROWS // 5 : -FAN_ROWS // 6]
    columns = fan.to_picture[1][FAN_ROWS // 5 : -FAN_ROWS // 6]
    bright = (ndimage.gaussian_filter(body, 1.5) > fan.tissue + 0.14) & (np.abs(columns - middle) < 0.2 * fan.size)
    bulky = ndimage.binary_opening(bright, iterations=2).sum()
    if any(_is_gallbladder(pocket, fan.size) for pocket in fluid):
        return False
    pelvis = any(abs(pocket["column"] - middle) < 0.085 * fan.size and pocket["width"] > 14 for pocket in fluid)
    return bool(bulky > 200 or pelvis)


def _is_gallbladder(pocket: dict[str, float], size: int) -> bool:
    """Long fluid beside the middle; a renal cyst is round."""
    beside = abs(pocket["column"] - (size - 1) / 2) > 0.085 * size
    return beside and pocket["width"] > 0.15 * size and pocket["width"] > 1.4 * pocket["height"]


def _measure_liver(fan: _Fan, fluid: list[dict[str, float]]) -> dict[str, Any]:
    middle = (fan.size - 1) / 2
    stones = _shadows(fan)
    on_left = bool(fluid) and fluid[0]["column"] < middle
    return {
        "gallbladder_side": _side(on_left),
        "gallbladder_size": "large" if fluid and fluid[0]["width"] > 0.29 * fan.size else "small",
        "stone_count": min(stones, 3),
        "liver_lesion": _focal_lesion(fan, not on_left),
    }


def _measure_kidney(fan: _Fan, fluid: list[dict[str, float]]) -> dict[str, Any]:
    middle = (fan.size - 1) / 2
    pelvis = [pocket for pocket in fluid if abs(pocket["column"] - middle) < 0.12 * fan.size]
    cysts = [pocket for pocket in fluid if abs(pocket["column"] - middle) >= 0.12 * fan.size]
    cyst = cysts[0] if cysts else None
    return {
        "hydronephrosis": bool(pelvis),
        "stone_count": min(_shadows(fan), 2),
        "brighter": _brighter(fan),
        "cyst": cyst is not None,
        "cyst_side": _side(cyst["column"] < middle) if cyst else "none",
        "cyst_size": ("large" if max(cyst["height"], cyst["width"]) > 0.13 * fan.size else "small") if cyst else "none",
    }


def _side(left: bool) -> str:
    return "left" if left else "right"


def _shadows(fan: _Fan) -> int:
    """Dark stripes along beams in the far field: one for each stone."""
    band = fan.beams[int(FAN_ROWS * 0.72) : int(FAN_ROWS * 0.92)]
    band = np.where(np.isnan(band), fan.tissue, band)
    profile = np.median(band / np.maximum(ndimage.median_filter(band, (1, 41), mode="nearest"), 0.02), axis=0)
    labels, count = ndimage.label(profile < SHADOW_RATIO)
    widths = np.bincount(labels, minlength=count + 1)[1:]
    return int((widths >= 2).sum())


def _focal_lesion(fan: _Fan, on_left: bool) -> str:
    """A round patch brighter or darker than its surroundings in one half of the liver."""
    shown = (fan.smooth > 0.4 * fan.tissue) & (fan.smooth < 1.7 * fan.tissue)
    picture = ndimage.median_filter(np.where(shown, fan.smooth, fan.tissue), 5)
    contrast = (ndimage.gaussian_filter(picture, 2.5) - ndimage.gaussian_filter(picture, 9)) / fan.tissue
    rows = slice(int(0.36 * fan.size), int(0.66 * fan.size))
    columns = slice(int(0.27 * fan.size), int(0.385 * fan.size))
    if not on_left:
        columns = slice(fan.size - columns.stop, fan.size - columns.start)
    part = contrast[rows, columns]
    if max(part.max(), -part.min()) < LESION_CONTRAST:
        return "none"
    return "bright" if part.max() > -part.min() else "dark"


def _brighter(fan: _Fan) -> str:
    """Liver above the kidney against the cortex between capsule and sinus, on the central beams."""
    central = fan.beams[:, FAN_COLUMNS // 2 - 12 : FAN_COLUMNS // 2 + 12]
    profile = np.nan_to_num(central, nan=fan.tissue).mean(axis=1)
    liver = float(np.median(profile[int(0.18 * FAN_ROWS) : int(0.30 * FAN_ROWS)]))
    cortex = float(np.min(ndimage.uniform_filter1d(profile, 3)[int(0.36 * FAN_ROWS) : int(0.50 * FAN_ROWS)]))
    return "liver" if liver > cortex else "kidney"

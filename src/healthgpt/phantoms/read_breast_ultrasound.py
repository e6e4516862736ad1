"""Measuring a breast sonogram back from its pixels: lesions, layers, ribs and lost contact."""

from typing import Any

import numpy as np
from scipy import ndimage

SMALL_FRACTION, LARGE_FRACTION = 0.185, 0.295
"""Longest diameter over picture width that parts small from medium and medium from large."""

TALL_RATIO = 0.78
"""Width over height of the usual malignant mass, whose lower end is lost in its shadow."""

DARK_RATIO = 0.72
"""A lesion is darker than this fraction of the brightness beside it."""

WEAKEST = 45.0
"""Smallest area (picture elements at 128) times darkness of a lesion."""

DEEPEST = 0.66
"""No lesion is looked for below this fraction of the picture's height."""


def measure_breast(image: np.ndarray) -> dict[str, Any]:
    """``lesion_count``, ``lesions`` (kind, size, side each, left to right), ``thicker_layer``, ``dark_edge``.

    ``image``: (128, 128) float in [0, 1], a linear array's picture, perhaps with black bands above and below.
    """
    field = _without_bands(image)
    smooth = ndimage.gaussian_filter(field, 1.0)
    edge, usable = _dark_edge(smooth)
    lesions = _lesions(smooth, usable)
    return {
        "lesion_count": min(len(lesions), 2),
        "lesions": lesions[:2],
        "thicker_layer": _thicker_layer(smooth[:, usable]),
        "dark_edge": edge,
    }


def _without_bands(image: np.ndarray) -> np.ndarray:
    rows = np.where(image.mean(axis=1) > 0.04)[0]
    if len(rows) < len(image) // 2:
        return image  # next to nothing is shown: there are no bands to cut
    return image[rows[0] : rows[-1] + 1]


def _dark_edge(smooth: np.ndarray) -> tuple[str, slice]:
    """Which side has lost contact, and the columns that have not."""
    width = smooth.shape[1]
    profile = np.median(smooth[: int(0.45 * len(smooth))], axis=0)
    usual = float(np.median(profile))
    dark = profile < 0.72 * usual
    outer = width // 4
    left = _dark_span(dark[:outer])
    right = _dark_span(dark[-outer:][::-1])
    if max(left, right) < 4:
        return "none", slice(0, width)
    if left > right:
        return "left", slice(left + 2, width)
    return "right", slice(0, width - right - 2)


def _dark_span(dark: np.ndarray) -> int:
    """How far darkness that begins at the first element reaches."""
    return int(len(dark) if dark.all() else np.argmin(dark)) if dark[0] else 0


def _lesions(smooth: np.ndarray, usable: slice) -> list[dict[str, Any]]:
    """Compact areas darker than their own depth elsewhere in the picture."""
    height, width = smooth.shape
    shown = smooth[:, usable]
    wide = ndimage.median_filter(shown, (1, 71), mode="reflect")
    usual = np.maximum(0.5 * (np.median(shown, axis=1)[:, None] + wide), 0.12)
    ratio = np.ones_like(smooth)
    ratio[:, usable] = shown / ndimage.gaussian_filter1d(usual, 2, axis=0)
    mask = ndimage.gaussian_filter(ratio, 0.7) < DARK_RATIO
    mask[: int(0.07 * height)] = False
    mask[int(DEEPEST * height) :] = False
    mask = ndimage.binary_opening(mask, structure=np.ones((4, 5)))
    labels, _ = ndimage.label(mask)
    found = []
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        lesion = _outline(labels == index, box, smooth, ratio)
        if lesion:
            found.append(lesion)
    found = sorted(_apart(found)[:2], key=lambda lesion: lesion["column"])
    return [
        {
            "kind": lesion["kind"], "size": lesion["size"],
            "side": "left" if lesion["column"] < width / 2 else "right",
        }
        for lesion in found
    ]  # fmt: skip


def _apart(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Strongest first; what lies above or below a stronger one is part of it or of its shadow."""
    kept: list[dict[str, Any]] = []
    for lesion in sorted(found, key=lambda lesion: -lesion["strength"]):
        first, last = lesion["columns"]
        if not any(first <= other["columns"][1] and last >= other["columns"][0] for other in kept):
            kept.append(lesion)
    return kept


def _outline(
    marked: np.ndarray, box: tuple[slice, ...], smooth: np.ndarray, ratio: np.ndarray
) -> dict[str, Any] | None:
    """Kind and size of a dark area, or None if it is no lesion."""
    height, width = smooth.shape
    wide = box[1].stop - box[1].start
    tall = box[0].stop - box[0].start
    area = int(marked.sum())
    if box[0].start > 0.52 * height or tall < 6 or not 6 < wide < 0.5 * width or area < 0.5 * wide * tall:
        return None
    columns = np.where(marked.any(axis=0))[0]
    inner = slice(columns[0] + wide // 4, columns[-1] + 1 - wide // 4)
    inside = float(np.median(ratio[marked]))
    behind = float(np.median(ratio[int(0.68 * height) : int(0.86 * height), inner]))
    if inside < 0.38 and behind > 0.9:
        kind = "cyst"
    elif behind < 0.76 or tall > 1.15 * wide:
        kind = "malignant mass"
    else:
        kind = "benign mass"
    longest = wide / TALL_RATIO if kind == "malignant mass" else wide
    fraction = (longest + 1) / width
    size = "small" if fraction < SMALL_FRACTION else "medium" if fraction < LARGE_FRACTION else "large"
    strength = area * (1 - inside)
    if strength < WEAKEST:
        return None
    return {
        "kind": kind, "size": size, "column": float(columns.mean()), "strength": strength,
        "columns": (int(columns[0]), int(columns[-1])),
    }  # fmt: skip


def _thicker_layer(shown: np.ndarray) -> str:
    """Fat (grey) lies over gland (bright): where does the bright layer begin?"""
    profile = ndimage.gaussian_filter1d(np.median(shown, axis=1), 2)
    height = len(profile)
    upper = profile[int(0.07 * height) : int(0.60 * height)]
    rise = ndimage.gaussian_filter1d(np.diff(upper), 1.5)
    return "fat" if int(rise.argmax()) + int(0.07 * height) > 0.29 * height else "gland"

"""Measuring a breast sonogram back from its pixels: lesions, layers, ribs and lost contact."""

from typing import Any

import numpy as np
from scipy import ndimage

SMALL_FRACTION, LARGE_FRACTION = 0.165, 0.285
"""Longest diameter over picture width that parts small from medium and medium from large."""


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
        "thicker_layer": _thicker_layer(smooth[:, usable], lesions),
        "dark_edge": edge,
    }


def _without_bands(image: np.ndarray) -> np.ndarray:
    rows = np.where(image.mean(axis=1) > 0.04)[0]
    return image[rows[0] : rows[-1] + 1]


def _dark_edge(smooth: np.ndarray) -> tuple[str, slice]:
    """Which side has lost contact, and the columns that have not."""
    width = smooth.shape[1]
    profile = np.median(smooth[: int(0.45 * len(smooth))], axis=0)
    usual = float(np.median(profile))
    dark = profile < 0.62 * usual
    left = int(np.argmin(dark)) if dark[3] else 0
    right = int(np.argmin(dark[::-1])) if dark[-4] else 0
    if max(left, right) < 5:
        return "none", slice(0, width)
    if left > right:
        return "left", slice(left + 2, width)
    return "right", slice(0, width - right - 2)


def _lesions(smooth: np.ndarray, usable: slice) -> list[dict[str, Any]]:
    """Compact areas darker than their own depth elsewhere in the picture."""
    height, width = smooth.shape
    shown = smooth[:, usable]
    usual = ndimage.gaussian_filter1d(np.median(shown, axis=1), 2)[:, None]
    wide = ndimage.median_filter(smooth, (1, 61), mode="nearest")
    usual = np.maximum(0.5 * (usual + wide), 0.12)
    ratio = smooth / usual
    mask = ratio < 0.66
    mask[: int(0.09 * height)] = False
    mask[int(0.84 * height) :] = False
    mask[:, : usable.start] = False
    mask[:, usable.stop :] = False
    mask = ndimage.binary_opening(mask, structure=np.ones((4, 5)))
    labels, _ = ndimage.label(mask)
    found = []
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        lesion = _outline(labels == index, box, smooth, ratio)
        if lesion:
            found.append(lesion)
    found = sorted(sorted(found, key=lambda lesion: -lesion["strength"])[:2], key=lambda lesion: lesion["column"])
    return [
        {
            "kind": lesion["kind"], "size": lesion["size"],
            "side": "left" if lesion["column"] < width / 2 else "right",
        }
        for lesion in found
    ]  # fmt: skip


def _outline(
    marked: np.ndarray, box: tuple[slice, ...], smooth: np.ndarray, ratio: np.ndarray
) -> dict[str, Any] | None:
    """Kind and size of a dark area, or None if it is no lesion."""
    height, width = smooth.shape
    wide = box[1].stop - box[1].start
    tall = box[0].stop - box[0].start
    if box[0].start > 0.62 * height or marked.sum() < 35 or wide > 0.55 * width:
        return None
    columns = np.where(marked.any(axis=0))[0]
    inner = slice(columns[0] + wide // 4, columns[-1] + 1 - wide // 4)
    inside = float(np.median(smooth[marked]))
    behind_rows = slice(min(box[0].stop + 3, height - 4), min(box[0].stop + 16, height))
    behind = float(np.median(ratio[behind_rows, inner]))
    if inside < 0.09:
        kind = "cyst"
    elif behind < 0.85 or tall > 1.1 * wide:
        kind = "malignant mass"
    else:
        kind = "benign mass"
    longest = max(wide, min(tall, 1.5 * wide)) + 1
    fraction = longest / width
    size = "small" if fraction < SMALL_FRACTION else "medium" if fraction < LARGE_FRACTION else "large"
    return {
        "kind": kind, "size": size, "column": float(columns.mean()),
        "strength": float(marked.sum() * (1 - np.median(ratio[marked]))),
    }  # fmt: skip


def _thicker_layer(shown: np.ndarray, lesions: list[dict[str, Any]]) -> str:
    """Fat (grey) lies over gland (bright): where does the bright layer begin?"""
    profile = ndimage.gaussian_filter1d(np.median(shown, axis=1), 2)
    height = len(profile)
    upper = profile[int(0.07 * height) : int(0.60 * height)]
    rise = ndimage.gaussian_filter1d(np.diff(upper), 1.5)
    return "fat" if int(rise.argmax()) + int(0.07 * height) > 0.29 * height else "gland"

"""Measuring on a slice image what CT and MRI readers share: the body, its axes, and blobs within it.

Coordinates are the image's: columns grow towards the patient's left, rows towards the back.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_fill_holes, binary_opening, find_objects, gaussian_filter, label

BLOCK = np.ones((3, 3), dtype=bool)


class Body(NamedTuple):
    """``mask``: the filled body, (height, width) bool; ``across``, ``down``: each pixel's place relative to
    the body's box, -1 to 1; ``aspect``: height over width."""

    mask: np.ndarray
    across: np.ndarray
    down: np.ndarray
    aspect: float


class Blob(NamedTuple):
    """A connected region: its mask, area in pixels, centre (row, column)."""

    mask: np.ndarray
    area: int
    row: float
    column: float


def grey(image: np.ndarray) -> np.ndarray:
    """The image as one float32 channel."""
    pixels = np.asarray(image, dtype=np.float32)
    return pixels if pixels.ndim == 2 else pixels.mean(axis=2)


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask; the mask itself when it is empty."""
    parts, count = label(mask)
    if count == 0:
        return mask
    return parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))


def find_body(pixels: np.ndarray, background: float) -> Body:
    """The body: the largest part brighter than the background, holes filled."""
    bright = gaussian_filter(pixels, 0.7) > background
    mask = binary_fill_holes(largest(binary_opening(bright, BLOCK)))
    box = find_objects(mask.astype(np.int8))
    rows, columns = box[0] if box and box[0] else (slice(0, pixels.shape[0]), slice(0, pixels.shape[1]))
    height, width = rows.stop - rows.start, columns.stop - columns.start
    row, column = np.mgrid[: pixels.shape[0], : pixels.shape[1]].astype(np.float32)
    return Body(
        mask,
        (column - (columns.start + columns.stop - 1) / 2) / (width / 2),
        (row - (rows.start + rows.stop - 1) / 2) / (height / 2),
        height / width,
    )


def blobs(mask: np.ndarray, smallest: int) -> list[Blob]:
    """The connected parts of a mask of at least ``smallest`` pixels, largest first."""
    parts, count = label(mask)
    found = []
    for number in range(1, count + 1):
        part = parts == number
        area = int(part.sum())
        if area >= smallest:
            rows, columns = np.nonzero(part)
            found.append(Blob(part, area, float(rows.mean()), float(columns.mean())))
    return sorted(found, key=lambda blob: -blob.area)


def roundness(blob: Blob) -> float:
    """Area over that of the disc as wide as the blob's box is long: 1 for a disc, near 0 for a line."""
    rows, columns = np.nonzero(blob.mask)
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    return blob.area / (np.pi / 4 * extent**2)


def side_of(body: Body, blob: Blob) -> str:
    """The patient's side a blob lies on."""
    return "left" if float(body.across[blob.mask].mean()) > 0 else "right"


def sides_of(body: Body, found: list[Blob]) -> str:
    """``left``, ``right``, ``both`` or ``none``."""
    sides = {side_of(body, blob) for blob in found}
    return "none" if not sides else sides.pop() if len(sides) == 1 else "both"


def own_axes(brain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along the brain's width and length, -1 to 1, turned with the head."""
    rows, columns = np.nonzero(brain)
    row, column = np.mgrid[: brain.shape[0], : brain.shape[1]]
    down, across = row - rows.mean(), column - columns.mean()
    spread = np.cov(rows, columns)
    tilt = 0.5 * np.arctan2(2 * spread[0, 1], spread[0, 0] - spread[1, 1])
    length, width = 2 * np.sqrt(max(spread[0, 0], 1)), 2 * np.sqrt(max(spread[1, 1], 1))
    return (np.cos(tilt) * across - np.sin(tilt) * down) / width, (np.cos(tilt) * down + np.sin(tilt) * across) / length


def compare_ventricles(brain: np.ndarray, fluid: np.ndarray) -> dict[str, bool | str]:
    """``ventricles_enlarged`` and ``larger_ventricle`` from the brain's mask and the fluid's."""
    across, down = own_axes(brain)
    central = fluid & (np.abs(across) < 0.55) & (np.abs(down) < 0.65)
    central &= (np.abs(across) > 0.07) | (down < -0.2) | (down > 0.3)  # without the third ventricle
    left, right = float((central & (across > 0)).sum()), float((central & (across < 0)).sum())
    ratio = (left + 4) / (right + 4)
    return {
        "ventricles_enlarged": (left + right) / float(brain.sum()) > 0.052,
        "larger_ventricle": "left" if ratio > 1.55 else "right" if ratio < 1 / 1.55 else "equal",
    }

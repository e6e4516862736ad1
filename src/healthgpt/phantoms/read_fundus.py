"""Reading the findings of a fundus photograph back from its pixels.

The reader knows how the phantoms look, not which case it is given; it measures what the model drew.
All work is done on the logarithm of the green channel, where haemoglobin shows best and illumination
becomes an offset that a wide blur removes.
"""

from functools import cache
from typing import Any

import numpy as np
from scipy import ndimage

_EXPECTED_SIZE = 128


def measure(image: np.ndarray) -> dict[str, Any]:
    """Findings of one photograph.

    ``image``: (128, 128, 3) RGB in [0, 1]. Keys as in the truth of ``fundus.make_case``: eye, cup, cup_to_disc,
    retinopathy, haemorrhages, exudates, exudate_half, cotton_wool, disc, fovea.
    """
    pixels = np.asarray(image, np.float32)
    field = ndimage.binary_erosion(ndimage.gaussian_filter(pixels[..., 0], 1.0) > 0.07, iterations=2)
    if field.sum() < 500:  # no photograph there
        field = np.ones(field.shape, bool)
    green = _flattened(pixels[..., 1], field, 13.0)
    columns = np.flatnonzero(field.any(axis=0))
    rows = np.flatnonzero(field.any(axis=1))
    centre = np.array([(rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2])
    radius = (columns[-1] - columns[0]) / 2 + 2

    disc = _find_disc(pixels, field, centre, radius)
    eye = "right" if disc[1] > centre[1] else "left"
    cup_to_disc = _cup_to_disc(pixels, disc, radius, temporal=-1.0 if eye == "right" else 1.0)
    fovea = disc + np.array([0.06, -0.7 if eye == "right" else 0.7]) * radius
    exudates, half, wool = _bright_lesions(pixels, green, field, disc, fovea, radius)
    haemorrhages = _count_blots(green, field, disc, fovea, radius)
    return {
        "eye": eye,
        "cup": "large" if cup_to_disc > 0.52 else "small",
        "cup_to_disc": round(float(cup_to_disc), 2),
        "retinopathy": bool(haemorrhages or exudates or wool),
        "haemorrhages": haemorrhages,
        "exudates": exudates,
        "exudate_half": half,
        "cotton_wool": wool,
        "disc": [round(float(v) / _EXPECTED_SIZE, 4) for v in disc],
        "fovea": [round(float(v) / _EXPECTED_SIZE, 4) for v in fovea],
    }


def _flattened(channel: np.ndarray, field: np.ndarray, sigma: float) -> np.ndarray:
    """Log of a channel minus its local mean within the field of view; 0 outside."""
    inside = field.astype(np.float32)
    log = np.log(np.maximum(channel, 0.02)) * inside
    mean = ndimage.gaussian_filter(log, sigma) / np.maximum(ndimage.gaussian_filter(inside, sigma), 1e-3)
    return (log - mean) * inside


def _find_disc(pixels: np.ndarray, field: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    """Centre (row, column) of the brightest disc-sized patch in the two places a disc can be."""
    bright = sum(_flattened(pixels[..., channel], field, 16.0) for channel in range(3))
    inner = ndimage.gaussian_filter(bright, 0.075 * radius)
    outer = ndimage.gaussian_filter(bright, 0.22 * radius)
    rows, columns = np.indices(field.shape)
    across = np.abs(columns - centre[1]) / radius
    where = field & (across > 0.45) & (across < 0.82) & (np.abs(rows - centre[0]) < 0.3 * radius)
    score = np.where(where, inner - outer, -np.inf)
    peak = np.array(np.unravel_index(int(score.argmax()), score.shape), dtype=np.float64)
    near = np.hypot(rows - peak[0], columns - peak[1]) < 0.13 * radius
    weight = np.where(near, np.maximum(inner - inner[near].min(), 0) ** 2, 0)
    return np.array([(weight * rows).sum(), (weight * columns).sum()]) / max(float(weight.sum()), 1e-6)


@cache
def _two_step_profiles() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Radial profiles of every disc and cup size, in units of the field's radius.

    Returns the distances (n,), the cup-to-disc ratios (k,), orthonormal bases (k, n, 2) whose columns span
    rim step and cup step, and the maps (k, 2, n) from a profile to the heights of the two steps.
    """
    distances = np.arange(0.0, 0.24, 0.008)
    discs, ratios = np.meshgrid(np.arange(0.115, 0.19, 0.01), np.arange(0.2, 0.9, 0.04), indexing="ij")

    def step(radii: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp((distances - radii.ravel()[:, None]) / 0.012))

    bases = np.stack([step(discs), step(discs * ratios)], axis=2)
    return distances, ratios.ravel(), np.linalg.qr(bases)[0], np.linalg.pinv(bases)


def _cup_to_disc(pixels: np.ndarray, disc: np.ndarray, radius: float, temporal: float) -> float:
    """Ratio of diameters by the two steps of the radial brightness profile: cup to rim, rim to retina.

    Only the temporal sector is used (``temporal``: +1 where it is to the right), as vessels cover the nasal one.
    The centre is searched within a few pixels of ``disc``.
    """
    distances, ratios, bases, maps = _two_step_profiles()
    angles = np.linspace(-1.2, 1.2, 17)
    down, over = np.meshgrid(np.arange(-2.0, 2.1), np.arange(-5.0, 5.1), indexing="ij")
    reach = distances[:, None] * radius
    rows = disc[0] + down.reshape(-1, 1, 1) + reach * np.sin(angles)
    columns = disc[1] + over.reshape(-1, 1, 1) + temporal * reach * np.cos(angles)
    light = ndimage.gaussian_filter(pixels[..., 1] + 0.7 * pixels[..., 2] + 0.3 * pixels[..., 0], 0.5)
    shade = ndimage.map_coordinates(light, [rows, columns], order=1, mode="nearest")
    profiles = np.quantile(shade, 0.5, axis=2)  # (shifts, n)
    profiles = profiles - profiles[:, -5:].mean(axis=1, keepdims=True)
    explained = (np.einsum("knd,sn->skd", bases, profiles) ** 2).sum(axis=2)
    missed = (profiles**2).sum(axis=1, keepdims=True) - explained
    heights = np.einsum("kdn,sn->skd", maps, profiles)
    score = np.where((heights > 0).all(axis=2), explained - 12 * missed, -np.inf)
    return float(ratios[int(score.argmax()) % len(ratios)])


def _bright_lesions(
    pixels: np.ndarray, green: np.ndarray, field: np.ndarray, disc: np.ndarray, fovea: np.ndarray, radius: float
) -> tuple[bool, str | None, bool]:
    """Hard exudates (small, yellow, many), the half that holds them, and cotton wool (one soft pale patch)."""
    rows, columns = np.indices(field.shape)
    deep = ndimage.binary_erosion(field, iterations=3)
    away = deep & (np.hypot(rows - disc[0], columns - disc[1]) > 0.26 * radius)
    smooth = ndimage.gaussian_filter(green, 0.6)
    raised = smooth - ndimage.median_filter(smooth, 15)
    noise = 1.48 * float(np.median(np.abs(raised[away])))
    spots, _ = ndimage.label(away & (raised > max(0.28, 4.5 * noise)))
    wool, exudate_rows, exudate_area = False, [], 0
    for number, where in enumerate(ndimage.find_objects(spots), start=1):
        patch = spots[where] == number
        area = int(patch.sum())
        thickness = float(ndimage.distance_transform_edt(np.pad(patch, 1)).max())
        if area < 3:
            continue
        if thickness >= 3.0 and area >= 24 and patch.mean() > 0.6:
            wool = True
        else:
            exudate_area += area
            exudate_rows.extend([float(np.nonzero(patch)[0].mean()) + where[0].start] * area)
    present = exudate_area >= 16
    half = None
    if present:
        half = "upper" if np.median(exudate_rows) < fovea[0] else "lower"
    return present, half, wool


def _count_blots(green: np.ndarray, field: np.ndarray, disc: np.ndarray, fovea: np.ndarray, radius: float) -> int:
    """Dark round patches: both curvatures of the surface are high, along a vessel only one is."""
    down = ndimage.gaussian_filter(green, 2.0, order=(2, 0))
    over = ndimage.gaussian_filter(green, 2.0, order=(0, 2))
    mixed = ndimage.gaussian_filter(green, 2.0, order=(1, 1))
    flatter = (down + over) / 2 - np.sqrt(((down - over) / 2) ** 2 + mixed**2)
    rows, columns = np.indices(field.shape)
    away = ndimage.binary_erosion(field, iterations=4)
    away &= np.hypot(rows - disc[0], columns - disc[1]) > 0.25 * radius
    away &= np.hypot(rows - fovea[0], columns - fovea[1]) > 0.2 * radius
    peaks = away & (flatter == ndimage.maximum_filter(flatter, 9)) & (flatter > 0.03)
    return min(int(peaks.sum()), 9)

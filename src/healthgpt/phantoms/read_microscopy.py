"""Reading the findings of a microscopy image back from its pixels: colour unmixed into stains, then blobs.

The reader knows how the phantoms look, not which case it is given; it measures what the model drew.
"""

from typing import Any

import numpy as np
from scipy import ndimage
from skimage.measure import regionprops

from healthgpt.phantoms import stain


def measure(image: np.ndarray) -> dict[str, Any]:
    """Findings of one field of view, ``image`` (128, 128, 3) RGB in [0, 1].

    Keys as in the truth of ``microscopy.make_case``: always specimen; for a blood smear white_cells,
    white_cell_half, nucleus, platelets, pallor, red_cell_half; for a tissue section glands, cellularity,
    nuclear_size, pleomorphism, mitoses, lymphocytes, lymphocyte_half, nuclei_half.
    """
    pixels = np.asarray(image, np.float32)
    return _measure_smear(pixels) if _is_smear(pixels) else _measure_tissue(pixels)


def _is_smear(pixels: np.ndarray) -> bool:
    """Red cells take blue like green (salmon); eosin and haematoxylin take far more green than blue.

    DAB sections have salmon too, but their many nuclei are pale blue-purple on a near-white ground.
    """
    lamp = np.quantile(pixels, 0.93, axis=(0, 1))
    density = -np.log10(np.clip(pixels, 1 / 255, None) / lamp)
    total = density.sum(axis=2)
    coloured = (total > 0.12) & (total < 0.9)
    if coloured.sum() < 50:
        return True
    red, green, blue = (np.median(density[..., channel][coloured]) for channel in range(3))
    return bool(blue > 0.6 * green and blue - red > 0.18 * green)


def _half(left: float, right: float) -> str:
    return "left" if left >= right else "right"


def _measure_smear(pixels: np.ndarray) -> dict[str, Any]:
    lamp = np.quantile(pixels, 0.9, axis=(0, 1))
    amounts = stain.unmix(pixels, lamp, [stain.AZURE, stain.RED_CELL])
    azure = ndimage.gaussian_filter(amounts[..., 0], 0.8)
    red = ndimage.gaussian_filter(amounts[..., 1], 0.8)
    labels, _ = ndimage.label(azure > 0.17)
    white, platelets = [], 0
    for region in regionprops(labels):
        if region.area >= 90:
            white.append(region)
        elif region.area >= 8:
            platelets += 1
    # lobes that came apart belong to the cell they sit in
    cells: list[list[Any]] = []
    for region in sorted(white, key=lambda r: -r.area):
        for cell in cells:
            if np.hypot(*(np.array(region.centroid) - cell[0].centroid)) < 14:
                cell.append(region)
                break
        else:
            cells.append([region])
    solid = np.median([_core_solidity(azure, cell[0]) for cell in cells]) if cells else 0.0
    level = float(np.quantile(red, 0.9))
    disc = ndimage.binary_fill_holes((red > 0.4 * level) & (azure < 0.1))
    return {
        "specimen": "blood smear",
        "white_cells": len(cells),
        "white_cell_half": _half(64.0, cells[0][0].centroid[1]) if len(cells) == 1 else None,
        "nucleus": ("round" if solid > 0.9 else "lobed") if cells else None,
        "platelets": platelets,
        "pallor": _pallor(red, disc),
        "red_cell_half": _half(float(disc[:, :64].sum()), float(disc[:, 64:].sum())),
    }


def _core_solidity(azure: np.ndarray, nucleus: Any) -> float:
    """Area over convex area of the darkest part of a nucleus: near 1 if it is round, less if it has lobes."""
    amount = azure[nucleus.slice]
    top = np.quantile(amount[nucleus.image], 0.8)
    parts, _ = ndimage.label((amount > 0.62 * top) & nucleus.image)
    return float(max(regionprops(parts), key=lambda part: part.area).solidity)


def _pallor(red: np.ndarray, disc: np.ndarray) -> str:
    """How far absorbance has climbed from the centre to the crest at 0.45 of the radius: little in a wide dimple."""
    depth = ndimage.distance_transform_edt(disc)
    peaks = (depth == ndimage.maximum_filter(depth, 9)) & (depth > 5) & (depth < 14)
    ratios = []
    rows, columns = np.indices(red.shape)
    for row, column in np.argwhere(peaks):
        radius = depth[row, column]
        rho = np.hypot(rows - row, columns - column) / radius
        centre, half_way, crest = (float(red[np.abs(rho - at) < 0.1].mean()) for at in (0.0, 0.45, 0.78))
        if crest > 1.15 * centre:
            ratios.append((half_way - centre) / (crest - centre))
    return "large" if ratios and np.median(ratios) < 0.45 else "small"


def _measure_tissue(pixels: np.ndarray) -> dict[str, Any]:
    lamp = np.clip(np.quantile(pixels, 0.995, axis=(0, 1)), 0.86, 1.0)
    amounts = stain.unmix(pixels, lamp, [stain.HAEMATOXYLIN, stain.EOSIN, stain.DAB])
    chromatin = ndimage.gaussian_filter(amounts[..., 0], 0.8)
    density = ndimage.gaussian_filter(-np.log10(np.clip(pixels, 1 / 255, None) / lamp).sum(axis=2), 0.8)
    rows, columns = np.indices(density.shape)

    glands = _find_glands(chromatin, density)
    free = np.ones(density.shape, bool)
    for row, column, radius in glands:
        free &= np.hypot(rows - row, columns - column) > radius

    blobs = ndimage.gaussian_filter(chromatin, 1.2) - ndimage.gaussian_filter(chromatin, 5.0)
    peaks = (blobs == ndimage.maximum_filter(blobs, 5)) & (blobs > 0.3 * np.quantile(blobs, 0.99))
    stroma = np.argwhere(peaks & free)
    if len(stroma) == 0:
        stroma = np.argwhere(peaks)
    if len(stroma) == 0:
        stroma = np.array([[64, 64]])
    level = float(np.median(chromatin[tuple(stroma.T)]))
    dark = stroma[chromatin[tuple(stroma.T)] > 1.3 * level]
    mitoses = _mitoses(chromatin, density, free, level)
    aggregate = _aggregate(dark, mitoses)
    if aggregate is not None:
        free &= np.hypot(rows - aggregate[0], columns - aggregate[1]) > 18
    scattered = np.argwhere(peaks & free)
    widths = _nuclear_radii(chromatin, scattered)
    per_area = 1000 * len(scattered) / max(int(free.sum()), 1)
    middle = float(np.median(widths)) if len(widths) else 0.0
    everywhere = np.argwhere(peaks)
    left = int((everywhere[:, 1] < 64).sum())
    return {
        "specimen": "tissue section",
        "glands": len(glands),
        "cellularity": "low" if per_area < 2.2 else "medium" if per_area < 5.0 else "high",
        "nuclear_size": "large" if middle > 3.5 else "small",
        "pleomorphism": bool(len(widths) > 3 and np.std(widths) > 0.22 * middle),
        "mitoses": len(mitoses),
        "lymphocytes": aggregate is not None,
        "lymphocyte_half": None if aggregate is None else _half(64.0, float(aggregate[1])),
        "nuclei_half": _half(left, len(everywhere) - left),
        "_debug": (per_area, middle, float(np.std(widths) / max(middle, 0.1)) if len(widths) else 0.0),
    }


def _find_glands(chromatin: np.ndarray, density: np.ndarray) -> list[tuple[float, float, float]]:
    """Row, column and outer radius of each gland: a compact bright lumen in a ring of nuclei."""
    rows, columns = np.indices(density.shape)
    bright, _ = ndimage.label(density < 0.35 * np.median(density[density > 0.15]))
    glands = []
    for region in regionprops(bright):
        row, column = region.centroid
        radius = np.sqrt(region.area / np.pi)
        if region.area < 60 or radius > 13 or region.solidity < 0.8:
            continue
        rho = np.hypot(rows - row, columns - column) / radius
        ring = chromatin[(rho > 1.6) & (rho < 2.3)]
        if np.mean(ring > 0.5 * np.quantile(chromatin, 0.97)) > 0.3:
            glands.append((row, column, 2.6 * radius))
    return glands


def _mitoses(chromatin: np.ndarray, density: np.ndarray, free: np.ndarray, level: float) -> np.ndarray:
    """(n, 2) row and column of dark plates in a clear halo."""
    rows, columns = np.indices(density.shape)
    ground = np.median(density)
    found = []
    plates, _ = ndimage.label((chromatin > 1.15 * level) & free)
    for region in regionprops(plates):
        if not 8 <= region.area <= 90:
            continue
        row, column = region.centroid
        rho = np.hypot(rows - row, columns - column)
        halo = density[(rho > 3.5) & (rho < 6.5)]
        if np.quantile(halo, 0.4) < 0.6 * ground:
            found.append((row, column))
    return np.array(found).reshape(-1, 2)


def _aggregate(dark: np.ndarray, mitoses: np.ndarray) -> np.ndarray | None:
    """Centre of the densest group of at least seven dark nuclei within 14 px, or None."""
    if len(mitoses):
        gaps = np.hypot(dark[:, :1] - mitoses[:, 0], dark[:, 1:] - mitoses[:, 1])
        dark = dark[gaps.min(axis=1) > 5]
    if len(dark) < 7:
        return None
    near = np.hypot(dark[:, :1] - dark[:, 0], dark[:, 1:] - dark[:, 1]) < 14
    crowd = near.sum(axis=1)
    return dark[near[int(crowd.argmax())]].mean(axis=0) if crowd.max() >= 7 else None


def _nuclear_radii(chromatin: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Inscribed radius (n,) in px of the nucleus under each peak, at half its height over the ground."""
    if len(peaks) == 0:
        return np.zeros(0)
    ground = float(np.quantile(chromatin, 0.1))
    level = float(np.median(chromatin[tuple(peaks.T)]))
    depth = ndimage.maximum_filter(ndimage.distance_transform_edt(chromatin > (ground + level) / 2), 5)
    radii = depth[tuple(peaks.T)]
    return radii[radii > 1.0]

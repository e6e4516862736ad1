"""Reading the findings of a microscopy image back from its pixels: colour unmixed into stains, then blobs.

The reader knows how the phantoms look, not which case it is given; it measures what the model drew.
"""

from functools import cache
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import regionprops

from healthgpt.phantoms import stain

_SIZE = 128
_BLUE = (stain.HAEMATOXYLIN + stain.SCANNED_HAEMATOXYLIN) / 2
_PINK = (stain.EOSIN + stain.SCANNED_EOSIN) / 2


def measure(image: np.ndarray) -> dict[str, Any]:
    """Findings of one field of view, ``image`` (128, 128, 3) RGB in [0, 1].

    Keys as in the truth of ``microscopy.make_case``: always specimen; for a blood smear white_cells,
    white_cell_half, nucleus, platelets, pallor, red_cell_half; for a tissue section glands, cellularity,
    nuclear_size, pleomorphism, mitoses, lymphocytes, lymphocyte_half, nuclei_half.
    """
    pixels = np.asarray(image, np.float32)
    return _measure_smear(pixels) if _is_smear(pixels) else _measure_tissue(pixels)


def _is_smear(pixels: np.ndarray) -> bool:
    """A smear has bare, colourless glass between cells that take little red.

    Eosin tints all of a section; a DAB section has glass too, but is brown or, without glands, blue.
    """
    lamp = np.quantile(pixels, 0.93, axis=(0, 1))
    density = _density(pixels, lamp)
    total = ndimage.gaussian_filter(density.sum(axis=2), 1.0)
    cells = (total > 0.12) & (total < 0.9)
    if cells.sum() < 50:
        return True
    red, green = (float(np.median(density[..., channel][cells])) for channel in (0, 1))
    smooth = ndimage.gaussian_filter(pixels, (1.0, 1.0, 0.0))
    colourless = float(np.mean(2 * smooth[..., 1] > 0.93 * (smooth[..., 0] + smooth[..., 2])))
    return colourless > 0.2 and red < 0.77 * green and not _has_dab(pixels, lamp)


def _density(pixels: np.ndarray, lamp: np.ndarray) -> np.ndarray:
    """Optical density (height, width, 3) against the bare lamp (3,); black counts as one grey level of 255."""
    return -np.log10(np.clip(pixels, 1 / 255, None) / np.maximum(lamp, 1 / 255))


def _half(left: float, right: float) -> str:
    return "left" if left >= right else "right"


def _measure_smear(pixels: np.ndarray) -> dict[str, Any]:
    lamp = np.maximum(np.quantile(pixels, 0.9, axis=(0, 1)), 1 / 255)
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
    amounts = stain.unmix(pixels, lamp, [_BLUE, _PINK, stain.DAB] if _has_dab(pixels, lamp) else [_BLUE, _PINK])
    chromatin = ndimage.gaussian_filter(amounts[..., 0], 0.8)
    density = ndimage.gaussian_filter(_density(pixels, lamp).sum(axis=2), 0.8)
    rows, columns = np.indices(density.shape)

    glands = _find_glands(density)
    free = np.ones(density.shape, bool)
    for row, column, radius in glands:
        free &= np.hypot(rows - row, columns - column) > radius

    blobs = ndimage.gaussian_filter(chromatin, 1.0) - ndimage.gaussian_filter(chromatin, 5.0)
    peaks = (blobs == ndimage.maximum_filter(blobs, 5)) & (chromatin > threshold_otsu(chromatin)) & (blobs > 0)
    aggregate = _aggregate(np.argwhere(peaks & free))
    if aggregate is not None:
        free &= np.hypot(rows - aggregate[0], columns - aggregate[1]) > 19
    mitoses = _mitoses(chromatin, density, np.argwhere(peaks & free))
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
        "pleomorphism": bool(len(widths) > 3 and np.std(widths) > 0.245 * middle),
        "mitoses": len(mitoses),
        "lymphocytes": aggregate is not None,
        "lymphocyte_half": None if aggregate is None else _half(64.0, float(aggregate[1])),
        "nuclei_half": _half(left, len(everywhere) - left),
    }


def _has_dab(pixels: np.ndarray, lamp: np.ndarray) -> bool:
    """Brown is the one colour here that takes more blue than green."""
    density = _density(pixels, lamp)
    brown = (density[..., 2] > 1.1 * density[..., 1]) & (density.sum(axis=2) > 0.6)
    return float(brown.mean()) > 0.015


@cache
def _gland_sectors(outer: float) -> tuple[np.ndarray, np.ndarray]:
    """Fourier transforms of the mean over the lumen and over eight sectors of the epithelium, centred at (0, 0)."""
    index = np.fft.fftfreq(_SIZE, 1 / _SIZE)
    down, over = np.meshgrid(index, index, indexing="ij")
    rho = np.hypot(down, over) / outer
    sector = np.floor((np.arctan2(down, over) + np.pi) / (2 * np.pi) * 8).clip(0, 7)
    lumen = (rho < 0.3).astype(float)
    epithelium = np.stack([((rho > 0.55) & (rho < 0.95) & (sector == s)).astype(float) for s in range(8)])
    kernels = np.concatenate([lumen[None], epithelium])
    kernels /= kernels.sum(axis=(1, 2), keepdims=True)
    transformed = np.conj(np.fft.rfft2(kernels))
    return transformed[0], transformed[1:]


def _find_glands(density: np.ndarray) -> list[tuple[float, float, float]]:
    """Row, column and radius of each gland: a clear lumen with dense epithelium on nearly every side."""
    spectrum = np.fft.rfft2(density)
    top = float(np.quantile(density, 0.95))
    candidates = []
    for outer in (18.5, 20.5, 22.5):
        lumen_kernel, sector_kernels = _gland_sectors(outer)
        lumen = np.fft.irfft2(spectrum * lumen_kernel, density.shape)
        sectors = np.sort(np.fft.irfft2(spectrum * sector_kernels, density.shape), axis=0)
        score = (sectors[1] - lumen) / top
        peaks = (score == ndimage.maximum_filter(score, 9)) & (score > 0.4)
        peaks &= (lumen < 0.15) & (lumen < 0.2 * top) & (sectors.std(axis=0) < 0.14 * top)
        candidates += [(float(score[r, c]), float(r), float(c), outer) for r, c in np.argwhere(peaks)]
    glands: list[tuple[float, float, float]] = []
    for _, row, column, outer in sorted(candidates, reverse=True):
        if all(np.hypot(row - r, column - c) > 24 for r, c, _ in glands):
            glands.append((row, column, 1.15 * outer))
    return glands


def _mitoses(chromatin: np.ndarray, density: np.ndarray, nuclei: np.ndarray) -> np.ndarray:
    """(n, 2) row and column of those ``nuclei`` (m, 2) that are very dark plates in a clear halo."""
    if len(nuclei) == 0:
        return nuclei
    rows, columns = np.indices(density.shape)
    ground = float(np.median(density[chromatin < threshold_otsu(chromatin)]))
    usual = float(np.median(chromatin[tuple(nuclei.T)]))
    found = []
    for row, column in nuclei[chromatin[tuple(nuclei.T)] > 1.3 * usual]:
        rho = np.hypot(rows - row, columns - column)
        halo, brim = np.quantile(density[(rho > 3.5) & (rho < 6.5)], (0.35, 0.6))
        if halo < 0.7 * ground and brim < 0.3 * density[row, column]:
            found.append((row, column))
    return np.array(found, dtype=int).reshape(-1, 2)


def _aggregate(nuclei: np.ndarray) -> np.ndarray | None:
    """Centre of a group of at least nine nuclei within 14 px, closer than stroma ever packs them, or None."""
    if len(nuclei) == 0:
        return None
    near = np.hypot(nuclei[:, :1] - nuclei[:, 0], nuclei[:, 1:] - nuclei[:, 1]) < 14
    crowd = near.sum(axis=1)
    return nuclei[near[int(crowd.argmax())]].mean(axis=0) if crowd.max() >= 9 else None


def _nuclear_radii(chromatin: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Inscribed radius (n,) in px of the nucleus under each peak, at half its height over the ground."""
    if len(peaks) == 0:
        return np.zeros(0)
    ground = float(np.quantile(chromatin, 0.1))
    level = float(np.median(chromatin[tuple(peaks.T)]))
    depth = ndimage.maximum_filter(ndimage.distance_transform_edt(chromatin > (ground + level) / 2), 5)
    radii = depth[tuple(peaks.T)]
    return radii[radii > 1.0]

"""Measuring an OCT phantom back from its pixels: layers, fluid, drusen, membrane, thickness and tilt."""

from typing import Any

import numpy as np
from scipy import ndimage

THIN_PX, THICK_PX = 30.2, 39.2
"""Retinal thickness (limiting membrane to Bruch's membrane) between the bins, at 128 px."""

MEMBRANE_PX = 2.0
"""What an epiretinal membrane adds to the thickness, at 128 px."""

MEMBRANE_RATIO = 1.09
"""An inner surface this much brighter than the pigment epithelium is covered by a membrane."""


def measure(image: np.ndarray) -> dict[str, Any]:
    """The findings of a B-scan, with the keys of ``oct.make_case``'s ``truth``.

    ``image``: (128, 128) float in [0, 1], grey. Sides and sizes are ``none`` where the finding is absent.
    """
    smooth = ndimage.gaussian_filter(image.astype(np.float64), 0.8)
    dark = float(np.median(smooth[:10]))
    bright = float(np.percentile(smooth, 99))
    level = (smooth - dark) / max(bright - dark, 1e-6)
    surface = _surface(level)
    epithelium = _epithelium(level, surface)
    columns = np.arange(image.shape[1])
    level /= max(float(np.median(level[epithelium.astype(int), columns])), 0.2)
    base = _robust_parabola(columns, epithelium)

    pocket = _pocket_heights(level, base, surface)
    fluid = _runs(pocket >= 4, shortest=9)
    under_fluid = np.zeros(len(columns), bool)
    for start, stop in fluid:
        under_fluid[max(start - 3, 0) : stop + 3] = True
    raised = ndimage.gaussian_filter1d(base - epithelium, 0.7)
    drusen = _runs((raised > 3.5) & ~under_fluid, shortest=4)
    holes = _holes(level, surface, epithelium, pocket, base)
    clear = ~under_fluid
    clear &= ~ndimage.binary_dilation(raised > 2.5, iterations=3)
    thickness = float(np.median((base - surface)[clear])) if clear.sum() > 12 else float(np.median(base - surface))
    membrane = _surface_brightness(level, surface) > MEMBRANE_RATIO
    thickness -= MEMBRANE_PX * membrane
    middle = len(columns) / 2
    higher = np.polyval(np.polyfit(columns, base, 2), [columns[0], columns[-1]])
    return {
        "drusen_count": len(drusen),
        "drusen_sides": ["left" if (start + stop) / 2 < middle else "right" for start, stop in drusen],
        "subretinal_fluid": bool(fluid),
        "subretinal_fluid_side": _side(np.mean([(a + b) / 2 for a, b in fluid]) < middle) if fluid else "none",
        "subretinal_fluid_size": ("large" if pocket.max() > 15.5 else "small") if fluid else "none",
        "intraretinal_fluid": bool(holes),
        "intraretinal_fluid_side": _side(np.mean(holes) < middle) if holes else "none",
        "epiretinal_membrane": bool(membrane),
        "thickness": "thin" if thickness < THIN_PX else "thick" if thickness > THICK_PX else "normal",
        "higher_side": _side(higher[0] < higher[1]),
    }


def _side(left: bool | np.bool_) -> str:
    return "left" if left else "right"


def _surface(level: np.ndarray) -> np.ndarray:
    """Row of the inner limiting membrane by column: where the first lasting brightness begins."""
    lasting = ndimage.minimum_filter1d(ndimage.uniform_filter1d(level, 3, axis=1), 3, axis=0) > 0.28
    found = np.where(lasting.any(axis=0), lasting.argmax(axis=0) - 1, level.shape[0] // 2)
    return ndimage.median_filter(found.astype(float), 5, mode="nearest")


def _epithelium(level: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """Row of the pigment epithelium: the brightest connected path below the inner retina (dynamic programming)."""
    rows, columns = level.shape
    down = np.arange(rows)[:, None]
    below = np.roll(level, -4, axis=0)
    above = np.roll(level, 4, axis=0)
    reward = level + 0.3 * (level - np.minimum(below, above))
    reward = np.where((down < surface[None, :] + 13) | (down > rows - 6), -2.0, reward)
    reach = 4
    best = reward[:, 0].copy()
    origin = np.zeros((rows, columns), np.intp)
    steps = np.arange(-reach, reach + 1)
    for column in range(1, columns):
        padded = np.pad(best, reach, constant_values=-1e9)
        candidates = np.stack([padded[reach + step : reach + step + rows] - 0.05 * abs(step) for step in steps])
        choice = candidates.argmax(axis=0)
        origin[:, column] = np.arange(rows) + steps[choice]
        best = candidates.max(axis=0) + reward[:, column]
    path = np.empty(columns)
    row = int(best.argmax())
    for column in range(columns - 1, -1, -1):
        path[column] = row
        row = int(np.clip(origin[row, column], 0, rows - 1))
    return path


def _robust_parabola(columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """A parabola through the lowest lying part of a line, so that elevations of it do not count."""
    keep = np.ones(len(rows), bool)
    fit = rows
    for _ in range(8):
        fit = np.polyval(np.polyfit(columns[keep], rows[keep], 2), columns)
        off = rows - fit
        keep = (off > -1.5) & (off < 4)
        if keep.sum() < 20:
            keep = off >= np.sort(off)[-40]
    return fit


def _pocket_heights(level: np.ndarray, base: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """Height in pixels of the dark pocket standing on the pigment epithelium, by column."""
    heights = np.zeros(level.shape[1])
    dark = level < 0.22
    for column in range(level.shape[1]):
        bottom = round(base[column]) - 3
        top = max(int(surface[column]) + 8, 0)
        run = dark[top:bottom, column][::-1]
        if len(run) < 4 or not run[:5].any():
            continue
        start = int(run.argmax())
        end = run[start:].argmin() if not run[start:].all() else len(run) - start
        heights[column] = end
    return ndimage.median_filter(heights, 5, mode="nearest")


def _holes(
    level: np.ndarray, surface: np.ndarray, epithelium: np.ndarray, pocket: np.ndarray, base: np.ndarray
) -> list[float]:
    """Columns of the dark ovals inside the retina."""
    down = np.arange(level.shape[0])[:, None]
    floor = np.minimum(epithelium - 5, np.where(pocket > 3, base - pocket - 8, np.inf))
    inside = (down > surface[None, :] + 5) & (down < floor[None, :])
    # A hole is darker than its own layer beside it: compare along lines parallel to Bruch's membrane.
    flat = np.take_along_axis(level, _flattened_rows(base, len(level)), axis=0)
    beside = ndimage.median_filter(flat, (1, 41), mode="nearest")
    contrast = np.take_along_axis(beside - flat, _flattened_rows(-base + 2 * base.mean(), len(level)), axis=0)
    contrast = ndimage.gaussian_filter(contrast, 0.7)
    labels, _ = ndimage.label((level < 0.25) & (contrast > 0.13) & inside)
    found = []
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        high, wide = (part.stop - part.start for part in box)
        area = int((labels[box] == index).sum())
        if area >= 9 and high >= 3 and wide >= 3 and wide < 16:
            found.append(float(np.mean([box[1].start, box[1].stop])))
    return found


def _flattened_rows(base: np.ndarray, rows: int) -> np.ndarray:
    """Row indices that lay a line level at its mean height when gathered."""
    shift = np.round(base - base.mean()).astype(int)
    return np.clip(np.arange(rows)[:, None] + shift[None, :], 0, rows - 1)


def _surface_brightness(level: np.ndarray, surface: np.ndarray) -> float:
    """Brightness of the inner surface; 1 is the pigment epithelium."""
    columns = np.arange(level.shape[1])
    top = np.max([level[np.clip(surface.astype(int) + step, 0, len(level) - 1), columns] for step in range(5)], axis=0)
    return float(np.percentile(top, 60))


def _runs(marked: np.ndarray, shortest: int) -> list[tuple[int, int]]:
    """Half-open column ranges of at least ``shortest`` marked columns; gaps of one column are closed."""
    labels, _ = ndimage.label(ndimage.binary_closing(marked, iterations=1) | marked)
    spans = [(part.start, part.stop) for (part,) in ndimage.find_objects(labels)]
    return [(start, stop) for start, stop in spans if stop - start >= shortest]

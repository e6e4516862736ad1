"""Soft-edged shapes and smooth random fields on a pixel grid: the strokes the colour phantoms are drawn with.

``smooth_field`` is low-frequency randomness, ``stamp`` adds many wobbly ellipses to a canvas at once,
``apart`` scatters points that keep their distance.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.interpolate import BSpline


@cache
def pixel_grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column index of every pixel, float32, each (size, size)."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    return rows, columns


@cache
def _spline_weights(size: int, cells: int) -> np.ndarray:
    """Cubic B-spline weights (size, cells + 3): a row per pixel, a column per control point."""
    positions = (np.arange(size) + 0.5) / size * cells
    knots = np.arange(-3, cells + 4, dtype=np.float64)
    return BSpline.design_matrix(positions, knots, 3).toarray().astype(np.float32)


def smooth_field(rng: np.random.Generator, size: int, cells: int, across: int | None = None) -> np.ndarray:
    """A smooth Gaussian random field (size, size), zero mean, unit deviation.

    ``cells``: undulations down the rows; ``across``: along the columns (the same unless given).
    """
    down = _spline_weights(size, cells)
    over = _spline_weights(size, across or cells)
    field = down @ rng.standard_normal((down.shape[1], over.shape[1]), dtype=np.float32) @ over.T
    field -= field.mean()
    return field / max(float(field.std()), 1e-6)


def soft_step(rho: np.ndarray, edge: np.ndarray | float) -> np.ndarray:
    """1 inside the unit radius, 0 outside, falling smoothly over ``edge`` (in units of the radius)."""
    ramp = np.clip(0.5 + (1.0 - rho) / edge, 0.0, 1.0)
    return ramp * ramp * (3.0 - 2.0 * ramp)


def stamp(
    canvas: np.ndarray,
    centres: np.ndarray,
    radii: np.ndarray,
    angles: np.ndarray,
    strengths: np.ndarray,
    *,
    profile: Callable[[np.ndarray], np.ndarray] | None = None,
    edge_px: float = 1.2,
    wobble: np.ndarray | None = None,
    combine: np.ufunc = np.maximum,
) -> None:
    """Draw N wobbly ellipses into ``canvas`` (height, width), in place.

    ``centres`` (N, 2) row and column in px; ``radii`` (N, 2) half axes in px; ``angles`` (N,) radians;
    ``strengths`` (N,) value inside. ``profile`` maps relative radius (N, P, P) to [0, 1]; by default a disc
    whose edge is ``edge_px`` wide. ``wobble`` (N, 2): depths of the 2- and 3-lobed changes of outline.
    ``combine``: ``np.maximum`` where shapes merge, ``np.add`` where absorbances add up.
    """
    if len(centres) == 0:
        return
    centres = np.asarray(centres, np.float32)
    radii = np.asarray(radii, np.float32)
    reach = int(np.ceil(float(radii.max()) * 1.35 + edge_px))
    offsets = np.arange(-reach, reach + 1)
    nearest = np.rint(centres).astype(int)
    row = nearest[:, :1] + offsets
    column = nearest[:, 1:] + offsets
    down = (row - centres[:, :1])[:, :, None]
    over = (column - centres[:, 1:])[:, None, :]
    cosine, sine = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    u = (over * cosine + down * sine) / radii[:, 0, None, None]
    v = (down * cosine - over * sine) / radii[:, 1, None, None]
    rho = np.sqrt(u * u + v * v)
    if wobble is not None:
        # cos 2t and cos 3t of the polar angle t without arctan2: both are polynomials in u/rho
        along = u / np.maximum(rho, 1e-3)
        two, three = 2 * along**2 - 1, 4 * along**3 - 3 * along
        rho = rho * (1 + wobble[:, 0, None, None] * two + wobble[:, 1, None, None] * three)
    shape = profile(rho) if profile else soft_step(rho, edge_px / radii.mean(axis=1)[:, None, None])
    height, width = canvas.shape
    inside = ((row >= 0) & (row < height))[:, :, None] & ((column >= 0) & (column < width))[:, None, :]
    index = row[:, :, None] * width + column[:, None, :]
    values = (shape * np.asarray(strengths)[:, None, None]).astype(canvas.dtype)
    inside &= values > 0
    combine.at(canvas.reshape(-1), index[inside], values[inside])


def apart(
    rng: np.random.Generator,
    count: int,
    distance: float,
    low: tuple[float, float],
    high: tuple[float, float],
    taken: np.ndarray | None = None,
    *,
    attempts: int = 30,
    allowed: Callable[[float, float], bool] | None = None,
) -> np.ndarray:
    """Up to ``count`` points (n, 2), row and column in px, each ``distance`` px from the others.

    ``taken`` (m, 3): row, column, radius of places to stay out of. Fewer points come back when
    ``count * attempts`` throws find no room; callers count what they got.
    """
    throws = rng.uniform(low, high, size=(count * attempts, 2))
    if taken is not None and len(taken):
        gaps = np.hypot(throws[:, :1] - taken[:, 0], throws[:, 1:] - taken[:, 1]) - taken[:, 2]
        throws = throws[gaps.min(axis=1) > 0]
    placed: list[tuple[float, float]] = []
    for row, column in throws.tolist():
        if len(placed) == count:
            break
        if any((row - r) ** 2 + (column - c) ** 2 < distance**2 for r, c in placed):
            continue
        if allowed is None or allowed(row, column):
            placed.append((row, column))
    return np.array(placed, dtype=np.float64).reshape(-1, 2)

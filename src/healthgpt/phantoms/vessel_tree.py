"""The retinal vessel tree: four arcades leaving the optic disc, branching by Murray's law."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

SUPERSAMPLING = 3
"""Vessels are drawn this much finer and averaged, so that calibres below one pixel stay in proportion."""


class Vessel(NamedTuple):
    """A centre line (n, 2) of row and column in px, with the calibre in px at each point."""

    path: np.ndarray
    calibre: np.ndarray


def _bezier(points: np.ndarray, steps: int) -> np.ndarray:
    t = np.linspace(0.0, 1.0, steps)[:, None]
    return (
        (1 - t) ** 3 * points[0] + 3 * (1 - t) ** 2 * t * points[1] + 3 * (1 - t) * t**2 * points[2] + t**3 * points[3]
    )


def _branches(
    rng: np.random.Generator,
    parent: Vessel,
    fovea: np.ndarray,
    avascular_px: float,
    reach_px: float,
    depth: int,
) -> list[Vessel]:
    """Side branches leave at 22-50 degrees; calibres obey r0^3 = r1^3 + r2^3 (Murray, PNAS 12:207, 1926)."""
    grown: list[Vessel] = []
    count = int(rng.integers(3, 6)) if depth == 0 else int(rng.integers(1, 3))
    side = 1.0 if rng.random() < 0.5 else -1.0
    length = len(parent.path)
    for position in np.sort(rng.uniform(0.15, 0.9, count)):
        index = min(int(position * (length - 1)), length - 2)
        share = rng.uniform(0.2, 0.5)
        calibre = parent.calibre[index] * share ** (1 / 3)
        parent.calibre[index + 1 :] *= (1 - share) ** (1 / 6)  # half of Murray's loss keeps trunks visible
        heading = parent.path[index + 1] - parent.path[index]
        turn = side * np.radians(rng.uniform(22, 50))
        side = -side
        steps = 9
        bends = turn + np.cumsum(rng.normal(0, 0.13, steps)) - turn * np.linspace(0, 0.6, steps)
        angles = np.arctan2(heading[0], heading[1]) + bends
        stride = reach_px * rng.uniform(0.5, 1.0) * (0.62 if depth else 1.0) / steps
        path = parent.path[index] + stride * np.cumsum(np.stack([np.sin(angles), np.cos(angles)], axis=1), axis=0)
        path = np.concatenate([parent.path[index : index + 1], path])
        # capillaries of the fovea are too fine to see: a branch stops at the avascular zone
        near = np.hypot(*(path - fovea).T) < avascular_px
        if near.any():
            path = path[: int(near.argmax())]
        if len(path) < 3:
            continue
        branch = Vessel(path, calibre * np.linspace(1.0, 0.65, len(path)))
        grown.append(branch)
        if depth < 1:
            grown.extend(_branches(rng, branch, fovea, avascular_px, reach_px * 0.6, depth + 1))
    return grown


def grow(
    rng: np.random.Generator, disc: np.ndarray, fovea: np.ndarray, field_px: float, calibre_px: float
) -> tuple[list[Vessel], list[Vessel]]:
    """Arteries and veins of one eye.

    ``disc`` (where the vessels enter it), ``fovea``: (row, column) in px; ``field_px``: radius of the field of
    view; ``calibre_px``: width of the widest vein. Arteries are 0.72 of
    their veins (the normal arteriovenous ratio is about 2:3).
    """
    temporal = (fovea - disc) / np.hypot(*(fovea - disc))
    normal = np.array([-temporal[1], temporal[0]])
    reach = float(np.hypot(*(fovea - disc)))
    trees: tuple[list[Vessel], list[Vessel]] = ([], [])
    for vertical in (-1.0, 1.0):
        height = field_px * rng.uniform(0.42, 0.6)
        for tree, share, shift in zip(trees, (0.72, 1.0), rng.permutation([-0.09, 0.09]), strict=True):
            rise = height * (1 + shift)
            arcade = np.stack(
                [
                    disc,
                    disc
                    + normal * vertical * rise * rng.uniform(0.75, 1.0)
                    + temporal * reach * rng.uniform(-0.1, 0.1),
                    disc + normal * vertical * rise * 1.15 + temporal * reach * rng.uniform(0.45, 0.75),
                    disc
                    + normal * vertical * rise * rng.uniform(0.45, 0.95)
                    + temporal * reach * rng.uniform(1.6, 2.0),
                ]
            )
            spread = rng.uniform(0.5, 1.1)
            nasal = np.stack(
                [
                    disc,
                    disc + normal * vertical * field_px * 0.16,
                    disc + normal * vertical * field_px * 0.35 * spread - temporal * field_px * 0.12,
                    disc + normal * vertical * field_px * 0.75 * spread - temporal * field_px * rng.uniform(0.25, 0.6),
                ]
            )
            for points, width in ((arcade, 1.0), (nasal, 0.72)):
                path = _bezier(points, 22)
                wander = np.cumsum(rng.normal(0, field_px * 0.006, (22, 2)), axis=0)
                trunk = Vessel(path + wander, calibre_px * share * width * np.linspace(1.0, 0.75, 22))
                tree.append(trunk)
                tree.extend(_branches(rng, trunk, fovea, field_px * 0.16, field_px * 0.5, 0))
    return trees


def thickness_map(vessels: list[Vessel], size: int) -> np.ndarray:
    """Blood column as seen from the front: coverage (size, size) in [0, 1], float32."""
    fine = size * SUPERSAMPLING
    canvas = Image.new("L", (fine, fine))
    draw = ImageDraw.Draw(canvas)
    for path, calibre in vessels:
        points = [tuple(point) for point in (path[:, ::-1] * SUPERSAMPLING).tolist()]
        for start, stop, width in zip(points[:-1], points[1:], calibre.tolist(), strict=False):
            stroke = width * SUPERSAMPLING
            # strokes thinner than one fine pixel keep their absorbance by being fainter
            draw.line([start, stop], fill=int(255 * min(1.0, stroke)), width=max(1, round(stroke)))
    return np.asarray(canvas.reduce(SUPERSAMPLING), dtype=np.float32) / 255

"""Stained tissue sections: glands in fibrous stroma, nuclei, mitoses, lymphocytes; about 1 um a pixel.

Mostly haematoxylin and eosin, sometimes a DAB immunostain of the epithelium.

Truth: ``glands`` 0-3 (uniform); ``cellularity`` of the stroma low (nuclei about 28-36 px apart), medium
(17-20) or high (11-12.5), a third each; ``nuclear_size`` small (5-6.4 px across) or large (8.8-10.6);
``pleomorphism``: nuclear diameters vary by 45 % instead of 6 %; ``mitoses`` 0-3 (uniform), dark plates in a
clear halo; ``lymphocytes``: a dense aggregate of small dark nuclei, ``lymphocyte_half`` left/right of the
image or None; ``nuclei`` the number drawn; ``nuclei_half`` the half with at least 1.5 times the nuclei of the
other (and 4 more), else None; ``stain`` ``h&e`` or ``dab``. Distances are at 128 px.
"""

from typing import Any

import numpy as np

from healthgpt.phantoms import microscopy_tissue_words, stain
from healthgpt.phantoms.soft_shapes import apart, pixel_grid, smooth_field, soft_step, stamp
from healthgpt.phantoms.specimen import Specimen

PIXEL_SPACING_MM_AT_128 = 0.001
SPACINGS = {"low": (28.0, 36.0), "medium": (17.0, 20.0), "high": (11.0, 12.5)}


class _Tissue:
    """Stain concentrations being built up, each (size, size), and the nuclei placed so far."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng, self.size, self.unit = rng, size, size / 128
        self.haematoxylin = np.zeros((size, size), np.float32)
        self.counterstain = np.zeros((size, size), np.float32)
        self.epithelium = np.zeros((size, size), np.float32)
        self.clear = np.zeros((size, size), np.float32)
        self.nuclei: list[np.ndarray] = []

    def add_nuclei(
        self, centres: np.ndarray, radii: np.ndarray, angles: np.ndarray, darkness: np.ndarray, edge_px: float
    ) -> None:
        """Stamp nuclei; only centres inside the image count as seen."""
        bumps = self.rng.normal(0, 0.05, (len(centres), 2))
        stamp(
            self.haematoxylin,
            centres,
            radii,
            angles,
            darkness,
            edge_px=edge_px * self.unit,
            wobble=bumps,
        )
        seen = ((centres >= 0) & (centres < self.size)).all(axis=1)
        self.nuclei.append(centres[seen])


def draw(rng: np.random.Generator, size: int) -> Specimen:
    """One field of a section, (size, size)."""
    tissue = _Tissue(rng, size)
    unit = tissue.unit
    small = bool(rng.random() < 0.5)
    truth: dict[str, Any] = {
        "specimen": "tissue section",
        "stain": "dab" if rng.random() < 0.12 else "h&e",
        "cellularity": ("low", "medium", "high")[int(rng.integers(3))],
        "nuclear_size": "small" if small else "large",
        "pleomorphism": bool(rng.random() < 0.5),
    }
    radius = unit * (rng.uniform(2.5, 3.2) if small else rng.uniform(4.4, 5.3))
    darkness = rng.uniform(0.32, 0.5)

    glands = _glands(tissue, truth, radius, darkness)
    aggregate = _lymphocytes(tissue, truth, glands, darkness)
    mitoses = _mitoses(tissue, truth, glands, aggregate, darkness)
    _stroma(tissue, truth, radius, darkness, np.concatenate([glands, aggregate, mitoses]))
    _matrix(tissue)

    everything = np.concatenate(tissue.nuclei)
    left = int((everything[:, 1] < size / 2).sum())
    right = len(everything) - left
    truth["nuclei"] = len(everything)
    truth["nuclei_half"] = None
    if max(left, right) >= 1.5 * min(left, right) + 4:
        truth["nuclei_half"] = "left" if left > right else "right"

    lamp = np.array([0.97, 0.95, 0.97], np.float32) * rng.uniform(0.92, 1.0)
    # a thick or overstained section shifts everything together
    strength = rng.uniform(0.85, 1.35)
    scanned = rng.uniform(0.15, 1.0)
    blue = (1 - scanned) * stain.HAEMATOXYLIN + scanned * stain.SCANNED_HAEMATOXYLIN
    red = (1 - scanned) * stain.EOSIN + scanned * stain.SCANNED_EOSIN
    haematoxylin = stain.vary(rng, blue, 0.03)
    chromatin = tissue.haematoxylin * (1 + 0.1 * smooth_field(rng, size, 34)) * (1 - 0.9 * tissue.clear)
    layers: list[tuple[np.ndarray, np.ndarray]] = [(strength * chromatin, haematoxylin)]
    if truth["stain"] == "dab":
        body = tissue.epithelium * rng.uniform(0.35, 0.6)
        layers.append((strength * body * (1 + 0.15 * smooth_field(rng, size, 24)), stain.vary(rng, stain.DAB, 0.04)))
        layers.append((0.1 * tissue.counterstain, stain.vary(rng, stain.HAEMATOXYLIN, 0.05)))
    else:
        purple = rng.uniform(0.0, 0.4)  # real eosin batches run from pink to violet
        pink = stain.vary(rng, (1 - purple) * red + purple * blue, 0.03)
        body = tissue.counterstain + tissue.epithelium * rng.uniform(0.05, 0.14)
        layers.append((strength * body, pink))
    light = stain.transmit(lamp, [(np.maximum(amount, 0), vector) for amount, vector in layers])
    return Specimen(
        light.astype(np.float32),
        unit * (rng.uniform(0.3, 1.0) if rng.random() < 0.85 else rng.uniform(1.0, 1.6)),
        truth,
        microscopy_tissue_words.questions(rng, truth),
        microscopy_tissue_words.report(rng, truth),
        round(PIXEL_SPACING_MM_AT_128 / unit, 6),
    )


def _glands(tissue: _Tissue, truth: dict[str, Any], radius: float, darkness: float) -> np.ndarray:
    """Rings of columnar epithelium about a white lumen; returns (n, 3) row, column, radius."""
    rng, unit, size = tissue.rng, tissue.unit, tissue.size
    wanted = int(rng.integers(4))
    outer = unit * (rng.uniform(19, 24) if wanted < 3 else rng.uniform(18, 20.5))
    centres = apart(rng, wanted, 2.08 * outer, (0.85 * outer,) * 2, (size - 0.85 * outer,) * 2, attempts=200)
    count = truth["glands"] = len(centres)
    rows, columns = pixel_grid(size)
    for centre in centres:
        stretch, turn = rng.uniform(0.88, 1.12), rng.uniform(0, np.pi)
        down, over = rows - centre[0], columns - centre[1]
        u = (over * np.cos(turn) + down * np.sin(turn)) * stretch
        v = (down * np.cos(turn) - over * np.sin(turn)) / stretch
        rho = np.hypot(u, v) / outer
        lumen = rng.uniform(0.34, 0.46)
        whole = soft_step(rho, 1.6 * unit / outer)
        hole = soft_step(rho / lumen * (1 + 0.08 * smooth_field(rng, size, 9)), 3.0 * unit / (outer * lumen))
        tissue.epithelium = np.maximum(tissue.epithelium, whole - hole)
        tissue.clear = np.maximum(tissue.clear, hole)
        basement = np.exp(-(((rho - 1.06) / 0.06) ** 2))
        tissue.clear = np.maximum(tissue.clear, 0.45 * basement)
        # basal nuclei, long axis along the cells, which point at the lumen
        small_radius = min(radius, 0.17 * outer)
        ring = 0.79 * outer
        nuclei = int(2 * np.pi * ring / (2.25 * small_radius))
        theta = np.arange(nuclei) / nuclei * 2 * np.pi + rng.normal(0, 0.05, nuclei)
        reach = ring * (1 + rng.normal(0, 0.035, nuclei))
        u, v = reach * np.cos(theta) / stretch, reach * np.sin(theta) * stretch
        places = centre + np.stack([v * np.cos(turn) + u * np.sin(turn), u * np.cos(turn) - v * np.sin(turn)], axis=1)
        axes = small_radius * rng.uniform(0.9, 1.1, (nuclei, 2)) * np.array([1.2, 0.85])
        tissue.add_nuclei(places, axes, theta + turn, darkness * rng.uniform(0.85, 1.15, nuclei), 1.4)
    return np.column_stack([centres, np.full(count, 1.1 * outer)])


def _lymphocytes(tissue: _Tissue, truth: dict[str, Any], glands: np.ndarray, darkness: float) -> np.ndarray:
    """An aggregate clear of the glands and of the middle line in half of the cases; (n, 3) row, column, radius."""
    rng, unit, size = tissue.rng, tissue.unit, tissue.size
    truth["lymphocytes"], truth["lymphocyte_half"] = False, None
    if rng.random() < 0.5:
        return np.zeros((0, 3))
    reach = unit * rng.uniform(13, 17)
    keep_off = np.column_stack([glands[:, :2], glands[:, 2] + 0.8 * reach])
    heart = apart(
        rng,
        1,
        1.0,
        (0.8 * reach,) * 2,
        (size - 0.8 * reach,) * 2,
        keep_off,
        attempts=150,
        allowed=lambda row, column: bool(abs(column - size / 2) > 0.8 * reach),
    )
    if len(heart) == 0:
        return np.zeros((0, 3))
    truth["lymphocytes"] = True
    truth["lymphocyte_half"] = "left" if heart[0, 1] < size / 2 else "right"
    cells = apart(
        rng,
        60,
        4.9 * unit,
        tuple(heart[0] - reach),
        tuple(heart[0] + reach),
        attempts=6,
        allowed=lambda row, column: bool(np.hypot(row - heart[0, 0], column - heart[0, 1]) < reach),
    )
    count = len(cells)
    radii = unit * rng.uniform(2.2, 2.6, (count, 2))
    tissue.add_nuclei(cells, radii, np.zeros(count), darkness * rng.uniform(1.5, 1.8, count), 1.2)
    return np.column_stack([heart, [reach + 2 * unit]])


def _mitoses(
    tissue: _Tissue, truth: dict[str, Any], glands: np.ndarray, aggregate: np.ndarray, darkness: float
) -> np.ndarray:
    """Metaphase plates, seen edge-on, in rounded clear cells; returns (n, 3) row, column, radius."""
    rng, unit, size = tissue.rng, tissue.unit, tissue.size
    taken = np.concatenate([glands, aggregate])
    keep_off = np.column_stack([taken[:, :2], taken[:, 2] + 7 * unit])
    places = apart(
        rng, int(rng.integers(4)), 20 * unit, (9 * unit,) * 2, (size - 10 * unit,) * 2, keep_off, attempts=120
    )
    count = truth["mitoses"] = len(places)
    halo = np.full((count, 2), 7.0 * unit)
    stamp(tissue.clear, places, halo, np.zeros(count), np.full(count, 0.75), edge_px=3.0 * unit)
    turns = rng.uniform(0, np.pi, count)
    axes = unit * np.stack([rng.uniform(4.2, 5.2, count), rng.uniform(1.7, 2.1, count)], axis=1)
    plates = np.zeros_like(tissue.clear)
    stamp(plates, places, axes, turns, np.full(count, 1.0), edge_px=1.2 * unit, wobble=rng.normal(0, 0.06, (count, 2)))
    tissue.clear *= 1 - plates
    tissue.haematoxylin = np.maximum(tissue.haematoxylin, plates * (1.9 * darkness + 0.3))
    tissue.nuclei.append(places)
    return np.column_stack([places, np.full(count, 7.5 * unit)])


def _stroma(tissue: _Tissue, truth: dict[str, Any], radius: float, darkness: float, taken: np.ndarray) -> None:
    """Scattered nuclei at the spacing of the case's cellularity."""
    rng, unit, size = tissue.rng, tissue.unit, tissue.size
    spacing = unit * rng.uniform(*SPACINGS[truth["cellularity"]])
    steps = np.arange(-1, int(size / spacing) + 2)
    row, column = np.meshgrid(steps * spacing * 0.93, steps * spacing * 1.075, indexing="ij")
    column = column + (steps % 2)[:, None] * spacing / 2
    points = np.stack([row.ravel(), column.ravel()], axis=1) + rng.uniform(0, spacing, 2)
    points += rng.uniform(-0.5, 0.5, points.shape) * max(spacing - 2.0 * radius, 0.12 * spacing)
    if len(taken):
        gaps = np.hypot(points[:, :1] - taken[:, 0], points[:, 1:] - taken[:, 1]) - taken[:, 2] - 0.7 * radius
        points = points[gaps.min(axis=1) > 0]
    count = len(points)
    spread = np.clip(rng.normal(1, 0.45 if truth["pleomorphism"] else 0.06, count), 0.45, 1.75)
    slender = rng.uniform(1.0, 1.35 if radius > 4 * unit else 1.6)
    axes = radius * spread[:, None] * np.array([np.sqrt(slender), 1 / np.sqrt(slender)])
    shade = darkness * rng.uniform(0.8, 1.2, count)
    tissue.add_nuclei(points, axes, rng.uniform(0, np.pi) + rng.normal(0, 0.5, count), shade, 1.5)


def _matrix(tissue: _Tissue) -> None:
    """Wavy collagen fibres with gaps between the bundles."""
    rng, size = tissue.rng, tissue.size
    rows, columns = pixel_grid(size)
    heading = rng.uniform(0, np.pi)
    across = (rows * np.cos(heading) - columns * np.sin(heading)) / tissue.unit
    warp = smooth_field(rng, size, 4)
    bundles = np.sin(across * rng.uniform(0.25, 0.5) + 2.2 * warp)
    threads = np.sin(across * rng.uniform(0.8, 1.4) + 3.0 * warp + smooth_field(rng, size, 9))
    level = rng.uniform(0.12, 0.3)
    coarse, fine = rng.uniform(0.05, 0.3), rng.uniform(0.03, 0.15)
    matrix = level * (1 + coarse * bundles + fine * threads + 0.12 * smooth_field(rng, size, 12))
    if rng.random() < 0.4:  # loose, oedematous stroma shows the lamp between bundles
        matrix *= 1 - 0.75 * np.clip((smooth_field(rng, size, 7) + 0.4 * bundles - 1.0) * 1.5, 0, 1)
    tissue.counterstain = np.maximum(matrix, 0) * (1 - tissue.clear)

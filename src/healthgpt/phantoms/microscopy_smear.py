"""Blood smears with a Romanowsky stain: biconcave red cells, white cells, platelets.

Red cells absorb in proportion to their thickness, the biconcave disc of Evans & Fung (Microvasc Res 4:335,
1972); where two overlap their absorbances add. White cells have a purple nucleus, lobed (neutrophil) or
round (lymphocyte), in pale cytoplasm.

Truth: ``white_cells`` 0-3 (uniform), ``white_cell_half`` left/right of the image (only when there is exactly
one), ``nucleus`` lobed/round (all white cells of a field alike; None without any), ``platelets`` 0-3
(uniform), ``pallor`` small/large: the central pallor of the red cells below 0.32 or above 0.5 of their
diameter (large is hypochromia), ``red_cells`` count, ``red_cell_half`` the half with at least 1.6 times the
red cells of the other, else None.
"""

from typing import Any

import numpy as np

from healthgpt.phantoms import microscopy_smear_words, stain
from healthgpt.phantoms.soft_shapes import apart, pixel_grid, smooth_field, soft_step, stamp
from healthgpt.phantoms.specimen import Specimen

RED_CELL_MM = 0.0078
_NATURAL_PALLOR = 0.38
"""Relative diameter at which Evans & Fung's disc is half-way between its dimple and its rim."""


def biconcave(rho: np.ndarray, pallor: float, depth: float) -> np.ndarray:
    """Thickness at relative radius ``rho``, 1 at the rim's crest.

    ``pallor`` is the relative diameter of the dimple, ``depth`` in [0, 1] how deep it is (1 as published;
    cells flatten as they dry).
    """
    widened = np.log(_NATURAL_PALLOR) / np.log(pallor)
    inside = np.clip(rho, 0.0, 1.0)
    square = inside ** (2 * widened)
    thickness = np.sqrt(np.maximum(1 - inside**8, 0)) * (0.207 + 2.003 * square - 1.123 * square**2)
    thickness /= 1.05
    return np.where(inside < 0.8, 1 - depth * (1 - thickness), thickness)


def draw(rng: np.random.Generator, size: int) -> Specimen:
    """One field of a smear, (size, size)."""
    unit = size / 128
    red_radius = unit * rng.uniform(8.0, 12.0)
    truth: dict[str, Any] = {"specimen": "blood smear"}
    white = _white_cells(rng, truth, size, red_radius)
    taken = white.places
    platelet_places = apart(
        rng,
        int(rng.integers(4)),
        14 * unit,
        (6 * unit,) * 2,
        (size - 7 * unit,) * 2,
        np.column_stack([taken[:, :2], taken[:, 2] + 5 * unit]),
        attempts=60,
    )
    truth["platelets"] = len(platelet_places)
    platelet_taken = np.column_stack([platelet_places, np.full(len(platelet_places), 4.5 * unit + red_radius)])
    taken = np.concatenate([np.column_stack([taken[:, :2], taken[:, 2] + 0.8 * red_radius]), platelet_taken])
    red = _red_cells(rng, truth, size, red_radius, taken)

    platelets = np.zeros((size, size), np.float32)
    count = len(platelet_places)
    stamp(
        platelets,
        platelet_places,
        unit * rng.uniform(2.7, 3.8, (count, 2)),
        rng.uniform(0, np.pi, count),
        rng.uniform(0.28, 0.45, count),
        edge_px=1.6 * unit,
        wobble=rng.normal(0, 0.08, (count, 2)),
    )
    rows, columns = pixel_grid(size)
    lamp = np.array([0.86, 0.86, 0.83], np.float32) * rng.uniform(0.95, 1.08) * (1 + rng.normal(0, 0.015, 3))
    fall_off = ((rows / size - 0.5) ** 2 + (columns / size - 0.5) ** 2) * rng.uniform(0.0, 0.25)
    light = stain.transmit(
        (lamp * (1 - fall_off[..., None])).astype(np.float32),
        [
            (red * rng.uniform(0.2, 0.38), stain.vary(rng, stain.RED_CELL, 0.06)),
            (white.nuclei * rng.uniform(0.55, 0.8) + platelets, stain.vary(rng, stain.AZURE, 0.04)),
            (white.cytoplasm * rng.uniform(0.08, 0.2), white.cytoplasm_stain),
        ],
    )
    return Specimen(
        light.astype(np.float32),
        unit * rng.uniform(0.3, 1.0),
        truth,
        microscopy_smear_words.questions(rng, truth),
        microscopy_smear_words.report(rng, truth),
        round(RED_CELL_MM / (2 * red_radius), 6),
    )


class _WhiteCells:
    """Nuclei and cytoplasm (size, size) in [0, 1], and (n, 3) row, column, radius of the cells."""

    def __init__(self, size: int, places: np.ndarray, cytoplasm_stain: np.ndarray) -> None:
        self.nuclei = np.zeros((size, size), np.float32)
        self.cytoplasm = np.zeros((size, size), np.float32)
        self.places = places
        self.cytoplasm_stain = cytoplasm_stain


def _white_cells(rng: np.random.Generator, truth: dict[str, Any], size: int, red_radius: float) -> _WhiteCells:
    """Zero to three white cells of one kind, 1.2 to 1.6 red cells wide."""
    lobed = bool(rng.random() < 0.5)
    radius = red_radius * (rng.uniform(1.4, 1.65) if lobed else rng.uniform(1.2, 1.45))
    wanted = int(rng.integers(4))
    centres = apart(rng, wanted, 2.25 * radius, (radius * 0.9,) * 2, (size - radius * 0.9,) * 2, attempts=300)
    count = len(centres)
    truth["white_cells"] = count
    truth["nucleus"] = ("lobed" if lobed else "round") if count else None
    if count == 1:
        # the middle line would be a matter of opinion
        gap = 0.12 * size
        off = centres[0, 1] - size / 2
        if abs(off) < gap:
            centres[0, 1] = size / 2 + (gap if off >= 0 else -gap)
        truth["white_cell_half"] = "right" if centres[0, 1] > size / 2 else "left"
    else:
        truth["white_cell_half"] = None
    hue = stain.AZURE if rng.random() < 0.5 else 0.5 * stain.AZURE + 0.5 * stain.EOSIN
    cells = _WhiteCells(size, np.column_stack([centres, np.full(count, radius)]), stain.vary(rng, hue, 0.06))
    axes = radius * rng.uniform(0.93, 1.07, (count, 2))
    stamp(
        cells.cytoplasm,
        centres,
        axes,
        rng.uniform(0, np.pi, count),
        np.ones(count),
        edge_px=1.5,
        wobble=rng.normal(0, 0.02, (count, 2)),
    )
    for centre in centres:
        if lobed:
            lobes = int(rng.integers(3, 5))
            sweep = rng.uniform(0, 2 * np.pi) + np.arange(lobes) * rng.uniform(1.2, 1.5)
            around = centre + 0.5 * radius * np.stack([np.sin(sweep), np.cos(sweep)], axis=1)
            lobe_axes = radius * rng.uniform(0.3, 0.37, (lobes, 2))
            stamp(cells.nuclei, around, lobe_axes, sweep, rng.uniform(0.85, 1.0, lobes), edge_px=1.8)
            bridges = (around[1:] + around[:-1]) / 2
            stamp(
                cells.nuclei,
                bridges,
                np.full((lobes - 1, 2), radius * 0.17),
                np.zeros(lobes - 1),
                np.full(lobes - 1, 0.8),
                edge_px=2.0,
            )
        else:
            middle = centre + rng.normal(0, 0.05, 2) * radius
            stamp(
                cells.nuclei,
                middle[None],
                radius * rng.uniform(0.72, 0.88, (1, 2)),
                rng.uniform(0, np.pi, 1),
                np.ones(1),
                edge_px=1.8,
                wobble=rng.normal(0, 0.035, (1, 2)),
            )
    cells.nuclei *= 1 + 0.12 * np.clip(smooth_field(rng, size, 30), -2, 2)  # chromatin clumps
    return cells


def _red_cells(
    rng: np.random.Generator, truth: dict[str, Any], size: int, radius: float, taken: np.ndarray
) -> np.ndarray:
    """Summed thickness (size, size); fills pallor, red_cells and red_cell_half of the truth."""
    truth["pallor"] = "large" if rng.random() < 0.5 else "small"
    pallor = rng.uniform(0.52, 0.64) if truth["pallor"] == "large" else rng.uniform(0.2, 0.3)
    depth = rng.uniform(0.7, 1.0) if truth["pallor"] == "large" else rng.uniform(0.4, 1.0)
    crowd = rng.uniform(0.45, 1.4) * size**2 / (np.pi * radius**2)
    lean = rng.choice([-1.0, 1.0]) * (0.75 if rng.random() < 0.75 else 0.0)

    def allowed(row: float, column: float) -> bool:
        return bool(rng.random() < 1 + lean * np.clip((column / size - 0.5) * 6, -1, 1))

    centres = apart(
        rng,
        int(crowd * 0.75),
        radius * rng.uniform(1.4, 2.05),
        (-0.5 * radius,) * 2,
        (size + 0.5 * radius,) * 2,
        taken,
        attempts=7,
        allowed=allowed,
    )
    count = len(centres)
    left = int((centres[:, 1] < size / 2).sum())
    right = count - left
    truth["red_cells"] = count
    truth["red_cell_half"] = None
    if max(left, right) >= 1.6 * min(left, right) + 1:
        truth["red_cell_half"] = "left" if left > right else "right"
    red = np.zeros((size, size), np.float32)
    axes = radius * rng.uniform(0.9, 1.1, (count, 1)) * rng.uniform(0.93, 1.07, (count, 2))
    edge = 1.3 / radius
    stamp(
        red,
        centres,
        axes,
        rng.uniform(0, np.pi, count),
        rng.uniform(0.85, 1.15, count),
        profile=lambda rho: biconcave(rho, pallor, depth) * soft_step(rho, edge),
        wobble=rng.normal(0, 0.025, (count, 2)),
        combine=np.add,
    )
    return np.minimum(red, 1.9)

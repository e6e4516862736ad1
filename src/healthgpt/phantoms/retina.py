"""A horizontal section of the macula: layer boundaries with foveal pit, and the lesions that bend them.

Heights are in micrometres above Bruch's membrane, lateral positions in millimetres from the scan's centre.
Layer thicknesses follow normal macular OCT (parafovea about 330 um, foveal centre about 230 um).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

LAYERS = (
    # name, parafoveal thickness um, foveal thickness um, mean backscatter dB; from the vitreous downwards
    ("nerve fibre layer", 32.0, 4.0, -9.0),
    ("ganglion cell layer", 45.0, 6.0, -17.0),
    ("inner plexiform layer", 40.0, 10.0, -13.0),
    ("inner nuclear layer", 36.0, 12.0, -21.0),
    ("outer plexiform layer", 24.0, 14.0, -13.0),
    ("outer nuclear layer", 72.0, 105.0, -23.0),
    ("inner segments", 26.0, 30.0, -19.0),
    ("ellipsoid zone", 16.0, 16.0, -6.0),
    ("outer segments", 24.0, 32.0, -15.0),
    ("pigment epithelium", 24.0, 24.0, -1.0),
)
NEURAL_LAYERS = 6
"""The first six swell or thin with the retina; the photoreceptors and the pigment epithelium do not."""

THICKNESS_BINS = {"thin": (0.62, 0.70), "normal": (0.96, 1.04), "thick": (1.32, 1.45)}
"""Scale of the neural layers: mean retinal thickness about 240, 310 and 390 um away from fluid."""

FLUID_BINS = {"small": (85.0, 115.0), "large": (180.0, 230.0)}
"""Height of subretinal fluid in um."""

SLOTS_MM = (-2.35, -1.45, -0.55, 0.55, 1.45, 2.35)
"""Where drusen may stand: far enough apart to be counted."""


@dataclass(frozen=True)
class Retina:
    """Geometry on the columns of a scan; heights are (columns,) float arrays in um above Bruch's membrane.

    ``boundaries``: (layers + 1, columns), row 0 the inner limiting membrane, the last one the base of the
    pigment epithelium. ``drusen``: height of the deposit under the epithelium. ``fluid``: (lower, upper)
    faces of subretinal fluid. ``cysts``: (x_mm, height_um, half_width_mm, half_height_um) each.
    ``membrane``: thickness of an epiretinal membrane in um, 0 where there is none.
    ``centre_line``: (columns,) um by which the whole retina is raised (tilt and curvature).
    """

    boundaries: np.ndarray
    drusen: np.ndarray
    fluid: tuple[np.ndarray, np.ndarray]
    cysts: list[tuple[float, float, float, float]]
    membrane: np.ndarray
    centre_line: np.ndarray
    findings: dict[str, Any]


def grow(rng: np.random.Generator, x_mm: np.ndarray) -> Retina:
    """A retina with findings drawn independently: each present in half of all seeds.

    ``findings``: drusen_count, drusen_sides, subretinal_fluid(+_side, _size), intraretinal_fluid(+_side),
    epiretinal_membrane, thickness, higher_side.
    """
    columns = len(x_mm)
    fovea = rng.uniform(-0.25, 0.25)
    thickness = ("thin", "normal", "thick")[rng.integers(3)]
    has_membrane = bool(rng.random() < 0.5)
    pit = np.exp(-(((x_mm - fovea) / rng.uniform(0.42, 0.6)) ** 2)) * (rng.uniform(0.1, 0.35) if has_membrane else 1.0)
    periphery = 1 - 0.10 * np.clip((np.abs(x_mm - fovea) - 0.8) / 2.0, 0, 1)
    towards_disc = 1 + rng.choice([-1, 1]) * 0.25 * (x_mm - fovea) / 3
    scale = rng.uniform(*THICKNESS_BINS[thickness])

    fluid_present = bool(rng.random() < 0.5)
    fluid_side = int(rng.choice([-1, 1]))
    fluid_size = ("small", "large")[rng.integers(2)]
    fluid_height = np.zeros(columns)
    fluid_span = (9.0, 9.0)
    if fluid_present:
        centre, half = fluid_side * rng.uniform(1.0, 1.7), rng.uniform(0.75, 1.1)
        fluid_height = rng.uniform(*FLUID_BINS[fluid_size]) * np.clip(1 - ((x_mm - centre) / half) ** 2, 0, None) ** 0.8
        fluid_span = (centre - half, centre + half)

    drusen, sides = _drusen(rng, x_mm, fluid_span)
    oedema_present = bool(rng.random() < 0.5)
    oedema_side = int(rng.choice([-1, 1]))
    oedema_centre = oedema_side * rng.uniform(0.8, 1.7)
    swelling = 70 * np.exp(-(((x_mm - oedema_centre) / 0.7) ** 2)) * oedema_present

    membrane, wrinkle = np.zeros(columns), np.zeros(columns)
    if has_membrane:
        waves = np.sin(2 * np.pi * x_mm / rng.uniform(0.45, 0.75) + rng.uniform(0, 6))
        wrinkle = rng.uniform(5, 11) * waves
        start = rng.uniform(-3.2, -1.6)
        covered = (x_mm > start) & (x_mm < start + rng.uniform(4.2, 6.5))
        membrane = np.where(covered, rng.uniform(20, 28), 0.0)
        wrinkle = wrinkle * covered

    boundaries = np.zeros((len(LAYERS) + 1, columns))
    boundaries[-1] = drusen
    for index in range(len(LAYERS) - 1, -1, -1):
        name, parafovea, foveal, _ = LAYERS[index]
        extent = parafovea * periphery * (1 - pit) + foveal * pit
        if index < NEURAL_LAYERS:
            extent = extent * scale
        if index == 0:
            extent = extent * np.clip(towards_disc, 0.4, 2) + np.clip(wrinkle, -0.6 * extent, None)
        if name in ("inner nuclear layer", "outer nuclear layer"):
            extent = extent + swelling * (0.4 if name == "inner nuclear layer" else 0.6)
        if name in ("outer segments", "inner segments"):
            extent = extent * np.exp(-drusen / 120)
        if name == "outer nuclear layer":
            # The soft outer nuclear layer gives way, so the inner retina is lifted less than what lifts it.
            extent = extent - np.minimum(0.65 * drusen + 0.3 * fluid_height, 0.6 * extent)
        extent = extent * _uneven(rng, columns)
        boundaries[index] = boundaries[index + 1] + extent
        if index == len(LAYERS) - 1:
            fluid = (boundaries[index].copy(), boundaries[index] + fluid_height)
            boundaries[index] = fluid[1]
    cysts = _cysts(rng, x_mm, boundaries, oedema_centre) if oedema_present else []

    higher = int(rng.choice([-1, 1]))
    tilt = higher * rng.uniform(45, 120) * x_mm / 3
    bow = rng.uniform(-50, 50) * ((x_mm / 3) ** 2)
    return Retina(
        boundaries, drusen, fluid, cysts, membrane, tilt + bow,
        {
            "drusen_count": len(sides),
            "drusen_sides": sides,
            "subretinal_fluid": fluid_present,
            "subretinal_fluid_side": _side(fluid_side) if fluid_present else "none",
            "subretinal_fluid_size": fluid_size if fluid_present else "none",
            "intraretinal_fluid": oedema_present,
            "intraretinal_fluid_side": _side(oedema_side) if oedema_present else "none",
            "epiretinal_membrane": has_membrane,
            "thickness": thickness,
            "higher_side": _side(higher),
        },
    )  # fmt: skip


def _uneven(rng: np.random.Generator, columns: int) -> np.ndarray:
    """A factor near 1 that wanders along the scan: no layer is equally thick everywhere."""
    knots = rng.normal(1.0, 0.06, 8)
    return np.interp(np.linspace(0, 7, columns), np.arange(8), knots)


def _side(sign: int) -> str:
    return "left" if sign < 0 else "right"


def _drusen(rng: np.random.Generator, x_mm: np.ndarray, keep_out: tuple[float, float]) -> tuple[np.ndarray, list[str]]:
    """Domes under the pigment epithelium, none in half of the cases, one to three otherwise; and their sides."""
    count = int(rng.choice([0, 1, 2, 3], p=[0.5, 1 / 6, 1 / 6, 1 / 6]))
    free = [slot for slot in SLOTS_MM if slot < keep_out[0] - 0.4 or slot > keep_out[1] + 0.4]
    height = np.zeros(len(x_mm))
    places = sorted(rng.permutation(free)[:count])
    for place in places:
        centre = place + rng.uniform(-0.07, 0.07)
        half = rng.uniform(0.22, 0.29)
        dome = np.clip(1 - ((x_mm - centre) / half) ** 2, 0, None)
        height += rng.uniform(75, 120) * np.sqrt(dome) * np.clip(2 * dome, 0, 1)
    return height, [_side(-1 if place < 0 else 1) for place in places]


def _cysts(
    rng: np.random.Generator, x_mm: np.ndarray, boundaries: np.ndarray, centre: float
) -> list[tuple[float, float, float, float]]:
    """Two to four dark ovals side by side between the inner nuclear and the outer nuclear layer."""
    count = int(rng.integers(2, 5))
    half_width = rng.uniform(0.13, 0.2)
    cysts = []
    for place in centre + (np.arange(count) - (count - 1) / 2) * 2.5 * half_width:
        column = int(np.argmin(np.abs(x_mm - place)))
        top, bottom = boundaries[3, column], boundaries[6, column]
        half_height = min(rng.uniform(42, 62), 0.42 * (top - bottom))
        height = rng.uniform(bottom + half_height, max(top - half_height, bottom + half_height + 1))
        cysts.append((float(place), float(height), float(half_width * rng.uniform(0.8, 1.15)), float(half_height)))
    return cysts

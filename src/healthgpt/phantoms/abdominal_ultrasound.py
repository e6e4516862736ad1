"""The upper abdomen under a curved array: liver with gallbladder, or right kidney below the liver's edge."""

from typing import Any

import numpy as np

from healthgpt.phantoms.sonography import Probe, Tissue, beam_positions, below, picture_position, smooth_noise
from healthgpt.phantoms.sonography import picture_width_mm as width_of

GALLBLADDER_BINS = {"small": (0.27, 0.31), "large": (0.42, 0.48)}
"""Length of the gallbladder as a fraction of the picture's width."""

CYST_BINS = {"small": (0.10, 0.125), "large": (0.18, 0.23)}
"""Diameter of a renal cyst as a fraction of the picture's width."""


def choose_probe(rng: np.random.Generator) -> Probe:
    """A convex array: 40-60 mm curvature, a 56-70 degree fan, 100-150 mm deep."""
    return Probe(float(rng.uniform(40, 60)), float(np.deg2rad(rng.uniform(28, 35))), float(rng.uniform(100, 150)))


def build_liver(rng: np.random.Generator, probe: Probe, size: int) -> tuple[Tissue, dict[str, Any]]:
    """Liver parenchyma with vessels and diaphragm, gallbladder (0-3 stones), perhaps one focal lesion."""
    x, z = beam_positions(probe, size)
    shape = x.shape
    width, depth = width_of(probe), probe.depth_mm
    tissue = _parenchyma(rng, shape, size, rng.uniform(-24, -17))
    side = int(rng.choice([-1, 1]))
    bin_name = ("small", "large")[rng.integers(2)]
    length = float(rng.uniform(*GALLBLADDER_BINS[bin_name])) * width
    centre = (side * (0.13 * width + 0.12 * (length - 0.27 * width)), depth * float(rng.uniform(0.47, 0.58)))
    _diaphragm(rng, tissue, x, z, depth)
    _vessels(rng, tissue, x, z, width, depth, keep_out=(*centre, length))
    lesion = _liver_lesion(rng, tissue, x, z, width, depth, side)
    stones = int(rng.choice([0, 1, 2, 3], p=[0.5, 1 / 6, 1 / 6, 1 / 6]))
    angle = float(rng.uniform(-0.25, 0.25))
    _gallbladder(rng, tissue, x, z, centre, length, angle, stones, width)
    _abdominal_wall(rng, tissue, x, z, shape, size, depth)
    column, row = picture_position(probe, centre[0], centre[1])
    return tissue, {
        "gallbladder_side": "left" if side < 0 else "right",
        "gallbladder_size": bin_name,
        "gallbladder_length_mm": round(length, 1),
        "gallbladder_centre": [round(column, 4), round(row, 4)],
        "stone_count": stones,
        "liver_lesion": lesion,
    }


def build_kidney(rng: np.random.Generator, probe: Probe, size: int) -> tuple[Tissue, dict[str, Any]]:
    """Kidney with echogenic sinus: hydronephrosis, up to two stones, a cortical cyst; liver beside it."""
    x, z = beam_positions(probe, size)
    shape = x.shape
    width, depth = width_of(probe), probe.depth_mm
    brighter = ("liver", "kidney")[rng.integers(2)]
    cortex = float(rng.uniform(-27, -23))
    liver = cortex + (float(rng.uniform(6, 10)) if brighter == "liver" else -float(rng.uniform(4.5, 8)))
    tissue = _parenchyma(rng, shape, size, liver)
    half_long, half_short = 0.34 * width * rng.uniform(0.88, 1.0), 0.155 * width * rng.uniform(0.92, 1.05)
    centre = (float(rng.uniform(-0.04, 0.04)) * width, depth * float(rng.uniform(0.54, 0.60)))
    angle = float(rng.uniform(-0.25, 0.25))
    along, across = _turned(x - centre[0], z - centre[1], angle)
    ragged = 0.04 * smooth_noise(rng, shape, (size * 0.06, size * 0.08))
    radius = np.hypot(along / half_long, across / half_short) + ragged
    rim = (radius - 1) * half_short
    # Perirenal fat and bowel below the kidney are unlike the liver above it.
    tissue.paint(below(across - 0.4 * half_short, 6.0), rng.uniform(-19, -13), 0.1)
    texture = 1.0 * smooth_noise(rng, shape, (size * 0.03, size * 0.03))
    tissue.paint(below(-rim, 1.5), cortex + texture, 0.0)
    tissue.mirror(rim, 0.9, rng.uniform(0.12, 0.3))
    hydronephrosis = bool(rng.random() < 0.5)
    inner = np.hypot(along / (0.66 * half_long), across / (0.46 * half_short)) + 2.2 * ragged
    _pyramids(rng, tissue, along, across, half_long, half_short, cortex)
    tissue.paint(below((1 - inner) * 0.46 * half_short, 2.0), rng.uniform(-9, -5), 0.0)
    if hydronephrosis:
        lobes = 0.16 * np.cos(5 * np.pi * along / half_long + rng.uniform(0, 6))
        pelvis = np.hypot(along / (0.5 * half_long), across / (0.34 * half_short)) + 2.0 * ragged + lobes
        tissue.paint(below((1 - pelvis) * 0.34 * half_short, 1.2), -70.0, -0.12)
    cyst = _renal_cyst(rng, tissue, x, z, centre, angle, half_long, half_short, width)
    stones = int(rng.choice([0, 1, 2], p=[0.5, 0.25, 0.25]))
    for offset in _spread(rng, stones, 0.48 * half_long, 0.11 * width):
        place = _back(offset, 0.42 * half_short, angle)
        _stone(tissue, x, z, (centre[0] + place[0], centre[1] + place[1]), width * float(rng.uniform(0.031, 0.039)))
    _abdominal_wall(rng, tissue, x, z, shape, size, depth)
    return tissue, {"hydronephrosis": hydronephrosis, "stone_count": stones, "brighter": brighter, **cyst}


def _parenchyma(rng: np.random.Generator, shape: tuple[int, int], size: int, echo_db: float) -> Tissue:
    """Homogeneous tissue of fine texture whose attenuation the time-gain curve may not match exactly."""
    tissue = Tissue.uniform(shape, echo_db)
    tissue.echo_db += 1.2 * smooth_noise(rng, shape, (size * 0.015, size * 0.02))
    tissue.echo_db += 1.2 * smooth_noise(rng, shape, (size * 0.15, size * 0.2))
    tissue.excess_db_per_mm += np.float32(rng.uniform(-0.02, 0.06))
    return tissue


def _turned(x: np.ndarray, z: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along and across an axis turned by ``angle`` radians from the horizontal."""
    return x * np.cos(angle) + z * np.sin(angle), -x * np.sin(angle) + z * np.cos(angle)


def _back(along: float, across: float, angle: float) -> tuple[float, float]:
    """The inverse of ``_turned`` for one point."""
    along, across = float(along), float(across)
    c, s = float(np.cos(angle)), float(np.sin(angle))
    return along * c - across * s, along * s + across * c


def _spread(rng: np.random.Generator, count: int, reach: float, gap: float) -> np.ndarray:
    """``count`` offsets in [-reach, reach], at least ``gap`` apart (as far apart as they fit)."""
    free = max(2 * reach - gap * max(count - 1, 0), 0.0)
    return np.sort(rng.uniform(0, free, count)) + np.arange(count) * min(gap, 2 * reach / max(count - 1, 1)) - reach


def _stone(tissue: Tissue, x: np.ndarray, z: np.ndarray, centre: tuple[float, float], radius: float) -> None:
    """A bright cap that lets no sound through."""
    distance = np.hypot(x - centre[0], z - centre[1])
    tissue.paint(below(radius - distance, 1.0), 3.0, 0.0)
    tissue.excess_db_per_mm += below(0.9 * radius - distance, 1.0) * 40.0 / radius


def _gallbladder(
    rng: np.random.Generator,
    tissue: Tissue,
    x: np.ndarray,
    z: np.ndarray,
    centre: tuple[float, float],
    length: float,
    angle: float,
    stones: int,
    width: float,
) -> None:
    """A pear of bile: anechoic, bright-walled, stones lying on its far wall."""
    along, across = _turned(x - centre[0], z - centre[1], angle)
    reach = along / (length / 2)
    half_short = length * rng.uniform(0.19, 0.23)
    taper = 1 + rng.choice([-1, 1]) * 0.22 * reach
    radius = np.hypot(reach, across / (half_short * np.clip(taper, 0.5, 1.5)))
    rim = (radius - 1) * half_short
    tissue.paint(below(-rim, 1.2), -75.0, -0.3)
    tissue.mirror(rim - 0.6, 0.8, rng.uniform(0.2, 0.5))
    stone_radius = width * rng.uniform(0.030, 0.036)
    for offset in _spread(rng, stones, 0.36 * length, 0.095 * width):
        floor = half_short * float(np.sqrt(1 - min((2 * offset / length) ** 2, 0.9))) - 0.8 * stone_radius
        place = _back(offset, floor, angle)
        _stone(tissue, x, z, (centre[0] + place[0], centre[1] + place[1]), stone_radius)


def _liver_lesion(
    rng: np.random.Generator, tissue: Tissue, x: np.ndarray, z: np.ndarray, width: float, depth: float, side: int
) -> str:
    """None, a bright (haemangioma) or a dark (solid) round lesion, in the half without the gallbladder."""
    kind = ("none", "none", "bright", "dark")[rng.integers(4)]
    if kind != "none":
        radius = width * rng.uniform(0.055, 0.09)
        centre = (-side * width * rng.uniform(0.14, 0.2), depth * rng.uniform(0.42, 0.6))
        distance = np.hypot((x - centre[0]) / rng.uniform(0.9, 1.15), z - centre[1])
        shift = rng.uniform(10, 13) if kind == "bright" else -rng.uniform(10, 14)
        tissue.echo_db += below(radius - distance, 1.5) * shift
    return kind


def _vessels(
    rng: np.random.Generator,
    tissue: Tissue,
    x: np.ndarray,
    z: np.ndarray,
    width: float,
    depth: float,
    keep_out: tuple[float, float, float],
) -> None:
    """Hepatic veins (dark) and portal branches (dark with bright walls), thin, clear of the gallbladder."""
    for _ in range(int(rng.integers(2, 6))):
        centre = (rng.uniform(-0.36, 0.36) * width, rng.uniform(0.25, 0.8) * depth)
        if abs(centre[0] - keep_out[0]) < 0.6 * keep_out[2] and abs(centre[1] - keep_out[1]) < 0.35 * keep_out[2]:
            continue
        along, across = _turned(x - centre[0], z - centre[1], rng.uniform(-1.2, 1.2))
        half_short = width * rng.uniform(0.008, 0.014)
        rim = (np.hypot(along / (width * rng.uniform(0.04, 0.12)), across / half_short) - 1) * half_short
        tissue.paint(below(-rim, 1.0), -42.0, -0.1)
        if rng.random() < 0.5:
            tissue.mirror(rim, 0.7, 0.12)


def _diaphragm(rng: np.random.Generator, tissue: Tissue, x: np.ndarray, z: np.ndarray, depth: float) -> None:
    """A bright arc far down, dim mirror image of the liver behind it."""
    bow = rng.uniform(0.5, 1.2) / depth
    distance = z - depth * rng.uniform(0.86, 0.95) + bow * (x - rng.uniform(-0.2, 0.2) * depth) ** 2 * 0.5
    tissue.echo_db -= rng.uniform(4, 14) * below(distance, 2.0)
    tissue.mirror(distance, 1.2, rng.uniform(0.15, 0.5))


def _abdominal_wall(
    rng: np.random.Generator,
    tissue: Tissue,
    x: np.ndarray,
    z: np.ndarray,
    shape: tuple[int, int],
    size: int,
    depth: float,
) -> None:
    """Skin, fat and muscle in the near field: bright and dark stripes parallel to the array."""
    wall = depth * rng.uniform(0.07, 0.14)
    stripes = smooth_noise(rng, shape, (size * 0.014, size * 0.25))
    tissue.paint(below(wall - z, 1.5), -20 + 6.0 * stripes, 0.05)
    tissue.mirror(z - wall, 0.8, rng.uniform(0.1, 0.3))
    tissue.mirror(z - 1.0, 1.0, rng.uniform(0.3, 0.7))


def _pyramids(
    rng: np.random.Generator,
    tissue: Tissue,
    along: np.ndarray,
    across: np.ndarray,
    half_long: float,
    half_short: float,
    cortex: float,
) -> None:
    """Medullary pyramids: darker triangles round the sinus."""
    angle = np.arctan2(across / half_short, along / half_long)
    radius = np.hypot(along / half_long, across / half_short)
    petals = np.cos(rng.integers(4, 6) * angle * 2 + rng.uniform(0, 6)) > 0.2
    tissue.echo_db -= rng.uniform(2, 5) * petals * below(0.16 - np.abs(radius - 0.68), 0.08)


def _renal_cyst(
    rng: np.random.Generator,
    tissue: Tissue,
    x: np.ndarray,
    z: np.ndarray,
    centre: tuple[float, float],
    angle: float,
    half_long: float,
    half_short: float,
    width: float,
) -> dict[str, Any]:
    """With even odds a cyst on the outer (upper) cortex, in the left or right half of the picture."""
    if rng.random() < 0.5:
        return {"cyst": False, "cyst_side": "none", "cyst_size": "none"}
    side = int(rng.choice([-1, 1]))
    bin_name = ("small", "large")[rng.integers(2)]
    radius = float(rng.uniform(*CYST_BINS[bin_name])) * width / 2
    offset = _back(side * half_long * 0.66, -half_short * 0.85 - 0.3 * radius, angle)
    distance = np.hypot(x - centre[0] - offset[0], z - centre[1] - offset[1])
    tissue.paint(below(radius - distance, 0.8), -75.0, -0.25)
    tissue.mirror(distance - radius, 0.6, 0.15)
    return {"cyst": True, "cyst_side": "left" if side < 0 else "right", "cyst_size": bin_name}

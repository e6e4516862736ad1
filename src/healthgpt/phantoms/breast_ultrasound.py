"""The breast under a linear array: skin, fat lobules, gland, muscle and chest wall, with up to two lesions."""

from typing import Any

import numpy as np

from healthgpt.phantoms.sonography import Probe, Tissue, beam_positions, below, picture_position, smooth_noise

SIZE_BINS = {"small": (0.12, 0.155), "medium": (0.215, 0.26), "large": (0.33, 0.41)}
"""Longest diameter of a lesion as a fraction of the picture's width; the gaps keep the words exact."""

LESION_KINDS = ("cyst", "benign mass", "malignant mass")


def choose_probe(rng: np.random.Generator) -> Probe:
    """A linear array, 36-46 mm wide; some pictures keep the black bands of a wider frame."""
    band = float(rng.uniform(0.04, 0.12)) if rng.random() < 0.25 else 0.0
    half_width = float(rng.uniform(18, 23))
    depth = 2 * half_width * (1 - 2 * band) * float(rng.uniform(0.85, 1.05))
    return Probe(0.0, half_width, depth, band, 1 - band)


def build(rng: np.random.Generator, probe: Probe, size: int) -> tuple[Tissue, dict[str, Any]]:
    """Tissue maps on the beam grid and the findings: thicker layer and lesions.

    Echo levels are set for a picture with fat grey, gland bright, muscle dark with bright striae.
    """
    x, z = beam_positions(probe, size)
    shape = x.shape
    depth = probe.depth_mm
    tissue = Tissue.uniform(shape, -24.0)
    fat_thicker = bool(rng.random() < 0.5)
    thin, thick = rng.uniform(0.13, 0.18), rng.uniform(0.34, 0.42)
    fat_share, gland_share = (thick, thin) if fat_thicker else (thin, thick)
    warp = smooth_noise(rng, shape, (size * 0.3, size * 0.12)) * depth * rng.uniform(0.01, 0.03)
    tilt = rng.uniform(-0.06, 0.06)
    level = z + warp + tilt * x
    skin = rng.uniform(0.03, 0.05) * depth
    fat_end = skin + fat_share * depth
    gland_end = fat_end + gland_share * depth
    muscle_end = gland_end + rng.uniform(0.10, 0.2) * depth

    _paint_fat(rng, tissue, shape, size, fat_end, level)
    _paint_gland(rng, tissue, shape, size, level, fat_end, gland_end)
    _paint_muscle(rng, tissue, shape, size, level, gland_end, muscle_end)
    ribs = _paint_chest_wall(rng, tissue, level, x, muscle_end, depth)
    tissue.echo_db += rng.uniform(1.0, 3.0) * smooth_noise(rng, shape, (size * 0.012, size * 0.07))
    surface = z + 0.3 * warp
    tissue.paint(below(skin - surface, 0.3), rng.uniform(-17, -11), 0.1)
    tissue.mirror(surface - skin, 0.35, rng.uniform(0.25, 0.6))
    tissue.paint(below(0.35 * skin - z, 0.2), -30.0, 0.0)

    count = int(rng.choice([0, 1, 2], p=[0.5, 0.25, 0.25]))
    lesions = _place_lesions(rng, probe, count)
    for lesion in lesions:
        _paint_lesion(rng, tissue, lesion, x, z, shape, size)
    tissue.excess_db_per_mm += rng.uniform(-0.1, 0.3) * (z > 0.4 * depth)
    dark_edge = _poor_contact(rng, tissue, x, probe)
    return tissue, {
        "thicker_layer": "fat" if fat_thicker else "gland",
        "ribs": ribs,
        "dark_edge": dark_edge,
        "lesion_count": count,
        "lesions": [_describe(lesion, probe) for lesion in lesions],
    }


def _paint_fat(
    rng: np.random.Generator, tissue: Tissue, shape: tuple[int, int], size: int, fat_end: float, level: np.ndarray
) -> None:
    """Hypoechoic lobules parted by thin bright Cooper's ligaments: zero crossings of a smooth field."""
    base = rng.uniform(-25, -19)
    tissue.echo_db[:] = base + 1.2 * smooth_noise(rng, shape, (size * 0.03, size * 0.03))
    visible = below(fat_end * 1.15 - level, 1.0) * rng.uniform(0.12, 0.4)
    for length in (0.10, 0.06):
        lobules = smooth_noise(rng, shape, (size * length * 0.6, size * length * 2.0))
        slope = np.abs(np.gradient(lobules, axis=0)) + 0.5 * np.abs(np.gradient(lobules, axis=1)) + 1e-3
        strength = np.clip(smooth_noise(rng, shape, (size * 0.07, size * 0.1)) * 0.7 + 0.2, 0, 1.5)
        tissue.specular += np.exp(-0.5 * (lobules / slope) ** 2) * strength * visible


def _paint_gland(
    rng: np.random.Generator,
    tissue: Tissue,
    shape: tuple[int, int],
    size: int,
    level: np.ndarray,
    fat_end: float,
    gland_end: float,
) -> None:
    """Hyperechoic fibroglandular tissue with dark ducts and bright streaks along the surface."""
    ragged = 0.6 * smooth_noise(rng, shape, (size * 0.06, size * 0.06))
    cover = below(level + ragged - fat_end, 0.8) * below(gland_end - level, 0.8)
    coarse = rng.uniform(0.010, 0.022)
    streaks = smooth_noise(rng, shape, (size * coarse, size * coarse * rng.uniform(2.0, 5.0)))
    patches = smooth_noise(rng, shape, (size * 0.09, size * 0.07))
    ducts = np.clip(smooth_noise(rng, shape, (size * 0.022, size * 0.03)) - rng.uniform(0.9, 1.8), 0, 1)
    echo = rng.uniform(-15, -10) + rng.uniform(2.0, 4.5) * streaks + 1.5 * patches - 14.0 * ducts
    tissue.paint(cover, echo, rng.uniform(0.0, 0.3))
    tissue.mirror(level + ragged - fat_end, 0.3, rng.uniform(0.1, 0.35))


def _paint_muscle(
    rng: np.random.Generator,
    tissue: Tissue,
    shape: tuple[int, int],
    size: int,
    level: np.ndarray,
    gland_end: float,
    muscle_end: float,
) -> None:
    """The pectoral muscle: dark, striated along its length, between bright fasciae."""
    striae = smooth_noise(rng, shape, (size * 0.016, size * 0.14))
    tissue.paint(below(level - gland_end, 0.6), rng.uniform(-34, -28) + 4.5 * striae, rng.uniform(0.1, 0.35))
    for boundary in (gland_end, muscle_end):
        broken = np.clip(0.6 + 0.5 * smooth_noise(rng, shape, (size * 0.3, size * 0.08)), 0, 1.4)
        tissue.mirror(level - boundary, 0.3, rng.uniform(0.15, 0.5) * broken)


def _paint_chest_wall(
    rng: np.random.Generator, tissue: Tissue, level: np.ndarray, x: np.ndarray, muscle_end: float, depth: float
) -> bool:
    """Dim reverberation; with even odds ribs before it: bright fronts with shadow. True where there are ribs."""
    tissue.paint(below(level - muscle_end, 0.6), rng.uniform(-42, -34), 0.15)
    ribs = bool(rng.random() < 0.5)
    if ribs:
        pitch = rng.uniform(22, 30)
        bow = ((x - rng.uniform(-pitch, pitch)) % pitch - pitch / 2) / (pitch / 2)
        front = level - muscle_end - depth * (0.02 + 0.10 * bow**2)
        rib = below(0.6 - np.abs(bow), 0.1)
        tissue.mirror(front, 0.5, rib * rng.uniform(0.3, 0.9))
        tissue.excess_db_per_mm += rib * below(front - 0.5, 0.5) * 1.5
    return ribs


def _poor_contact(rng: np.random.Generator, tissue: Tissue, x: np.ndarray, probe: Probe) -> str:
    """With even odds, beams lost at one edge of the array: ``left``, ``right`` or ``none``."""
    if rng.random() < 0.5:
        return "none"
    side = int(rng.choice([-1, 1]))
    cover = below(side * x - probe.half_width * rng.uniform(0.76, 0.88), 3.0)
    tissue.echo_db -= rng.uniform(14, 24) * cover
    tissue.specular *= 1 - 0.85 * cover
    return "left" if side < 0 else "right"


def _place_lesions(rng: np.random.Generator, probe: Probe, count: int) -> list[dict[str, Any]]:
    """Kind, centre and half-axes (mm): a single lesion in either half; of two, one in each, unequal."""
    width = 2 * probe.half_width
    halves = list(rng.permutation([-1, 1])[:count])
    bins = ["small", "medium", "large"] if count == 1 else [["small", "medium"], ["small", "large"]][rng.integers(2)]
    order = rng.permutation(len(bins))
    lesions: list[dict[str, Any]] = []
    for index, half in enumerate(halves):
        size_bin = bins[order[index]]
        kind = LESION_KINDS[rng.choice(3, p=[0.3, 0.2, 0.5])]
        longest = rng.uniform(*SIZE_BINS[size_bin]) * width
        ratio = rng.uniform(0.68, 0.84)
        taller = kind == "malignant mass"
        half_x, half_z = (ratio * longest / 2, longest / 2) if taller else (longest / 2, ratio * longest / 2)
        inner, outer = max(half_x * 0.35, 0.06 * width), max(0.82 * probe.half_width - half_x, 0.1 * width)
        if count == 2:
            inner = max(inner, half_x + 0.05 * width)
        top = 0.10 * probe.depth_mm + half_z
        lesions.append({
            "kind": kind, "size": size_bin, "x": half * rng.uniform(inner, max(inner, outer)),
            "z": rng.uniform(top, max(top, 0.62 * probe.depth_mm - half_z)),
            "half_x": half_x, "half_z": half_z,
        })  # fmt: skip
    return lesions


def _paint_lesion(
    rng: np.random.Generator,
    tissue: Tissue,
    lesion: dict[str, Any],
    x: np.ndarray,
    z: np.ndarray,
    shape: tuple[int, int],
    size: int,
) -> None:
    """Cyst: anechoic, sharp. Benign: dark grey, oval. Malignant: irregular, spiculated, attenuating."""
    across, down = x - lesion["x"], z - lesion["z"]
    angle = np.arctan2(down, across)
    radius = np.hypot(across / lesion["half_x"], down / lesion["half_z"])
    scale = min(lesion["half_x"], lesion["half_z"])
    phases = rng.uniform(0, 2 * np.pi, 4)
    if lesion["kind"] == "malignant mass":
        ragged = smooth_noise(rng, shape, (size * 0.035, size * 0.035)) * np.clip(0.9 / scale, 0.08, 0.2)
        outline = 1 + 0.08 * np.sin(3 * angle + phases[0]) + 0.07 * np.sin(5 * angle + phases[1]) + ragged
        cover = below((outline - radius) * scale, 0.9)
        halo = np.exp(-0.5 * ((radius - outline * 1.12) * scale / 0.7) ** 2)
        tissue.echo_db += halo * rng.uniform(2, 7)
        texture = 2.0 * smooth_noise(rng, shape, (size * 0.04, size * 0.03))
        path = 2 * lesion["half_z"]
        tissue.paint(cover, rng.uniform(-41, -35) + texture, rng.uniform(13, 20) / path)
        return
    outline = 1 + 0.05 * np.sin(2 * angle + phases[0]) + 0.03 * np.sin(3 * angle + phases[1])
    cover = below((outline - radius) * scale, 0.35)
    rim = (radius - outline) * scale
    faced = np.abs(np.sin(angle)) ** 3  # only walls across the beam mirror it back
    if lesion["kind"] == "cyst":
        tissue.paint(cover, -75.0, -rng.uniform(7, 12) / (2 * lesion["half_z"]))
        tissue.mirror(rim, 0.3, rng.uniform(0.15, 0.4) * faced)
    else:
        texture = 1.0 * smooth_noise(rng, shape, (size * 0.04, size * 0.04))
        tissue.paint(cover, rng.uniform(-38, -34) + texture, -rng.uniform(0, 2) / (2 * lesion["half_z"]))
        tissue.mirror(rim, 0.25, rng.uniform(0.05, 0.2) * faced)


def _describe(lesion: dict[str, Any], probe: Probe) -> dict[str, Any]:
    column, row = picture_position(probe, float(lesion["x"]), float(lesion["z"]))
    return {
        "kind": lesion["kind"], "size": lesion["size"], "side": "left" if lesion["x"] < 0 else "right",
        "centre": [round(column, 4), round(row, 4)],
        "width_mm": round(float(2 * lesion["half_x"]), 2), "height_mm": round(float(2 * lesion["half_z"]), 2),
    }  # fmt: skip

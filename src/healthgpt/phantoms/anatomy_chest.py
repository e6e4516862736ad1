"""The axial chest at heart level: lungs, heart, great vessels, ribs, and lesions with known truth.

Nodule diameters: small 16-20 mm, large 28-38 mm. An effusion covers the lowest 25-38 mm (small) or
62-85 mm (large) of one lung; a normal heart spans 0.42-0.48 of the chest's inner width, an enlarged
one 0.60-0.68 (the cardiothoracic ratio's limit is 0.5).
"""

from typing import Any

import numpy as np

from healthgpt.phantoms.slice_canvas import SliceCanvas, smooth_field
from healthgpt.phantoms.tissues import Tissue

NODULE_DIAMETER_MM = {"small": (16.0, 20.0), "large": (28.0, 38.0)}
EFFUSION_HEIGHT_MM = {"small": (25.0, 38.0), "large": (62.0, 85.0)}


def draw_chest(rng: np.random.Generator, size: int) -> tuple[SliceCanvas, dict[str, Any]]:
    """A chest slice of ``size`` pixels: its canvas and its findings."""
    half_width = rng.uniform(150, 195)
    half_depth = half_width * rng.uniform(0.66, 0.8)
    spacing = 2 * half_width / (size * rng.uniform(0.84, 0.97))
    canvas = SliceCanvas(rng, size, spacing, tilt_degrees=5.0, warp_mm=4.0)
    u, v = canvas.u, canvas.v
    fat = rng.uniform(5, 20)
    wall = fat + rng.uniform(14, 22)
    depth = canvas.outline_depth(half_width, half_depth, 0.94 * half_depth, rng.uniform(2.2, 2.6))
    canvas.paint(depth > 0, Tissue.SKIN)
    canvas.paint(depth > 2, Tissue.FAT)
    canvas.paint(depth > fat, Tissue.MUSCLE)
    _draw_ribs(rng, canvas, depth, 0.5 * (fat + wall) + 3, half_width, half_depth)
    inside = depth > wall
    inner_width, inner_depth = half_width - wall, half_depth - wall
    canvas.paint(inside, Tissue.LUNG)
    canvas.paint(inside & (smooth_field(rng, canvas.samples, 56) > 2.3), Tissue.VESSEL)
    middle = rng.uniform(0.12, 0.17) * inner_width
    spread = np.float32(middle) * (1 + np.float32(0.5) * (np.abs(v) / np.float32(inner_depth)) ** 2)
    mediastinum = inside & (np.abs(u - 4) < spread)
    canvas.paint(mediastinum, Tissue.FAT)
    enlarged = bool(rng.random() < 0.5)
    share = rng.uniform(0.60, 0.68) if enlarged else rng.uniform(0.42, 0.48)
    heart_width = share * inner_width
    heart_centre = (0.26 * heart_width + 4, -0.22 * inner_depth)
    turn = rng.uniform(15, 35)
    heart_depth = heart_width * rng.uniform(0.72, 0.82)
    heart = canvas.ellipse_radius(heart_centre, (heart_width * 1.02, heart_depth), turn)
    canvas.paint(inside & (heart < 1.1), Tissue.FAT)
    canvas.paint(inside & (heart < 1.0), Tissue.HEART)
    for across, down, half in ((-0.3, -0.1, 0.36), (0.36, 0.1, 0.34)):
        chamber = (heart_centre[0] + across * heart_width, heart_centre[1] + down * heart_depth)
        canvas.paint(canvas.ellipse(chamber, (half * heart_width, 0.55 * heart_depth), turn), Tissue.VESSEL)
    spine = 0.62 * inner_depth
    _draw_spine(rng, canvas, spine, inner_depth, wall)
    canvas.paint(canvas.ellipse((-3, spine - 30), (9, 7)), Tissue.MUSCLE)
    canvas.paint(canvas.ellipse((26, spine - 20), (12.5, 12.5)), Tissue.VESSEL)
    canvas.paint(canvas.ellipse((0, -inner_depth - 0.3 * wall), (20, 5)), Tissue.MARROW)
    lung = (canvas.labels == Tissue.LUNG) | (inside & (canvas.labels == Tissue.VESSEL) & (heart > 1.3) & ~mediastinum)
    truth: dict[str, Any] = {"heart_enlarged": enlarged}
    truth.update(_draw_effusion(rng, canvas, lung))
    truth.update(_draw_nodules(rng, canvas, lung & (canvas.labels != Tissue.EFFUSION)))
    return canvas, truth


def _draw_ribs(
    rng: np.random.Generator, canvas: SliceCanvas, depth: np.ndarray, at: float, half_width: float, half_depth: float
) -> None:
    around = np.arctan2(canvas.v * np.float32(half_width / half_depth), canvas.u)
    # Oblique ribs are cut into arcs; the gaps between them differ from side to side.
    arcs = np.sin(around * np.float32(rng.integers(9, 13)) + np.float32(rng.uniform(0, 6))) > rng.uniform(-0.1, 0.3)
    off = np.abs(depth - np.float32(at))
    # Cut along the thorax, its spine and sternum keep their own bone.
    arcs &= np.abs(canvas.u) > 0.2 * half_width
    canvas.paint(arcs & (off < 4.2), Tissue.CORTICAL_BONE)
    canvas.paint(arcs & (off < 2.0), Tissue.MARROW)


def _draw_spine(rng: np.random.Generator, canvas: SliceCanvas, at: float, inner_depth: float, wall: float) -> None:
    body = rng.uniform(15, 19)
    canvas.paint(canvas.ellipse((0, at + 30), (46, 22)), Tissue.MUSCLE)
    canvas.paint(canvas.ellipse((0, at), (body * 1.15, body)), Tissue.CORTICAL_BONE)
    canvas.paint(canvas.ellipse((0, at), (body * 1.15 - 2, body - 2)), Tissue.MARROW)
    for sign in (1, -1):
        canvas.paint(canvas.ellipse((sign * 22, at + body + 8), (20, 5), sign * 18), Tissue.CORTICAL_BONE)
    canvas.paint(canvas.ellipse((0, at + body + 8), (13, 11)), Tissue.CORTICAL_BONE)
    canvas.paint(canvas.ellipse((0, at + body + 6), (9, 7)), Tissue.CSF)
    canvas.paint(canvas.ellipse((0, at + body + 6), (5, 4)), Tissue.WHITE_MATTER)
    canvas.paint(canvas.ellipse((0, at + body + 24), (3.5, 14)), Tissue.CORTICAL_BONE)


def _draw_effusion(rng: np.random.Generator, canvas: SliceCanvas, lung: np.ndarray) -> dict[str, Any]:
    """Fluid in the lowest part of one lung of a person lying on the back."""
    if rng.random() < 0.5:
        return {"effusion": False, "effusion_side": "none", "effusion_size": "none"}
    side, sign = (("left", 1), ("right", -1))[int(rng.integers(2))]
    amount = str(rng.choice(list(EFFUSION_HEIGHT_MM)))
    height = rng.uniform(*EFFUSION_HEIGHT_MM[amount])
    half = lung & (canvas.u * sign > 0)
    lowest = float(canvas.v[half].max())
    # The surface climbs along the chest wall: the meniscus.
    surface = np.float32(lowest - height) - np.float32(0.0012) * (canvas.u - np.float32(sign * 30)) ** 2
    canvas.paint(half & (canvas.v > surface), Tissue.EFFUSION)
    return {"effusion": True, "effusion_side": side, "effusion_size": amount}


def _draw_nodules(rng: np.random.Generator, canvas: SliceCanvas, lung: np.ndarray) -> dict[str, Any]:
    wanted = int(rng.integers(4))
    drawn: list[dict[str, Any]] = []
    taken: list[tuple[float, float, float]] = []
    for _ in range(wanted):
        bin_name = str(rng.choice(list(NODULE_DIAMETER_MM)))
        diameter = float(rng.uniform(*NODULE_DIAMETER_MM[bin_name]))
        centre = canvas.place(rng, lung, diameter / 2 + 2, taken, gap_mm=8)
        if centre is None:
            # A lung mostly full of fluid may only have room for a small one.
            bin_name, diameter = "small", float(rng.uniform(*NODULE_DIAMETER_MM["small"]))
            centre = canvas.place(rng, lung, diameter / 2, taken, gap_mm=6)
        if centre is None:
            break
        taken.append((*centre, diameter / 2))
        stretch = rng.uniform(0.92, 1.08)
        canvas.paint(canvas.ellipse(centre, (diameter / 2 * stretch, diameter / 2 / stretch)), Tissue.NODULE)
        row, column = canvas.pixel_of(centre)
        side = "left" if centre[0] > 0 else "right"
        drawn.append({"row": row, "column": column, "diameter_mm": round(diameter, 1), "size": bin_name, "side": side})
    left = sum(nodule["side"] == "left" for nodule in drawn)
    right = len(drawn) - left
    return {
        "nodule_count": len(drawn),
        "nodule_size": drawn[0]["size"] if len(drawn) == 1 else None,
        "more_nodules": "left" if left > right else "right" if right > left else "equal",
        "nodules": drawn,
    }

"""The axial upper abdomen: liver, spleen, kidneys, stomach, bowel, spine, and lesions with known truth.

Kidney findings: a stone (13-17 mm) in the collecting system or a cyst
(24-36 mm) on the kidney's edge. Kidneys differ by a factor of 1.6 in width and height, or not at all.
Liver lesion sizes: small 19-22 mm, large 29-36 mm.
"""

from typing import Any

import numpy as np

from healthgpt.phantoms.slice_canvas import SliceCanvas, smooth_field
from healthgpt.phantoms.tissues import Tissue

LESION_DIAMETER_MM = {"small": (19.0, 22.0), "large": (29.0, 36.0)}


def draw_abdomen(rng: np.random.Generator, size: int) -> tuple[SliceCanvas, dict[str, Any]]:
    """An abdominal slice of ``size`` pixels: its canvas and its findings."""
    half_width = rng.uniform(145, 190)
    half_depth = half_width * rng.uniform(0.7, 0.88)
    spacing = 2 * half_width / (size * rng.uniform(0.84, 0.97))
    canvas = SliceCanvas(rng, size, spacing, tilt_degrees=5.0, warp_mm=4.0)
    fat = rng.uniform(6, 30)
    wall = fat + rng.uniform(8, 13)
    depth = canvas.outline_depth(half_width, half_depth, 0.92 * half_depth, rng.uniform(2.15, 2.5))
    canvas.paint(depth > 0, Tissue.SKIN)
    canvas.paint(depth > 2, Tissue.FAT)
    canvas.paint(depth > fat, Tissue.MUSCLE)
    _draw_ribs(rng, canvas, depth, 0.5 * (fat + wall), half_width)
    inside = depth > wall
    canvas.paint(inside, Tissue.FAT)
    a, b = half_width - wall, 0.96 * half_depth - wall
    _draw_back(rng, canvas, b, half_depth, fat)
    _draw_bowel(rng, canvas, inside, a, b)
    _draw_stomach(rng, canvas, depth > wall + 3, a, b)
    liver = _draw_liver(rng, canvas, depth > wall + 2, a, b)
    larger, kidneys = _draw_kidneys(rng, canvas, a, b)
    canvas.paint(
        canvas.ellipse((0.8 * a, 0.18 * b), (0.15 * a, 0.36 * b), rng.uniform(-5, 15)) & (depth > wall + 3),
        Tissue.SPLEEN,
    )
    truth: dict[str, Any] = {"larger_kidney": larger}
    truth.update(_draw_kidney_finding(rng, canvas, kidneys))
    truth.update(_draw_liver_lesions(rng, canvas, liver & (canvas.labels == Tissue.LIVER)))
    return canvas, truth


def _draw_ribs(rng: np.random.Generator, canvas: SliceCanvas, depth: np.ndarray, at: float, half_width: float) -> None:
    around = np.arctan2(canvas.v, canvas.u)
    arcs = np.sin(around * np.float32(rng.integers(12, 17)) + np.float32(rng.uniform(0, 6))) > rng.uniform(0.6, 0.9)
    arcs &= (np.abs(canvas.u) > 0.4 * half_width) & (np.abs(depth - np.float32(at)) < 3.2)
    canvas.paint(arcs, Tissue.CORTICAL_BONE)


def _draw_back(rng: np.random.Generator, canvas: SliceCanvas, b: float, half_depth: float, fat: float) -> None:
    """Vertebra, psoas and back muscles, aorta and vena cava."""
    at, body = 0.42 * b, rng.uniform(18, 23)
    for sign in (1, -1):
        canvas.paint(canvas.ellipse((sign * 34, at + body + 16), (30, 22), sign * 8), Tissue.MUSCLE)
        canvas.paint(canvas.ellipse((sign * (body + 14), at + 4), (14, 17), -sign * 15), Tissue.MUSCLE)
    canvas.paint(canvas.ellipse((0, at), (body * 1.15, body)), Tissue.CORTICAL_BONE)
    canvas.paint(canvas.ellipse((0, at), (body * 1.15 - 2, body - 2)), Tissue.MARROW)
    for sign in (1, -1):
        canvas.paint(canvas.ellipse((sign * 26, at + body + 6), (20, 4), sign * 12), Tissue.CORTICAL_BONE)
        canvas.paint(canvas.ellipse((sign * 8, at + body + 18), (5, 12), sign * 25), Tissue.CORTICAL_BONE)
    canvas.paint(canvas.ellipse((0, at + body + 9), (9, 8)), Tissue.CSF)
    canvas.paint(canvas.ellipse((0, at + body + 30), (3.5, 14)), Tissue.CORTICAL_BONE)
    canvas.paint(canvas.ellipse((14, at - body - 11), (10.5, 10.5)), Tissue.VESSEL)
    canvas.paint(canvas.ellipse((-20, at - body - 8), (12, 9)), Tissue.VESSEL)


def _draw_bowel(rng: np.random.Generator, canvas: SliceCanvas, inside: np.ndarray, a: float, b: float) -> None:
    """Loops in front of the spine: level sets of a smooth field, some of them holding gas."""
    loops = smooth_field(rng, canvas.samples, 20)
    filling = smooth_field(rng, canvas.samples, 13)
    front = inside & (canvas.ellipse_radius((0.15 * a, -0.3 * b), (0.85 * a, 0.62 * b)) < 1)
    canvas.paint(front & (loops > rng.uniform(-0.3, 0.4)), Tissue.BOWEL)
    canvas.paint(front & (loops > 0.7) & (filling > rng.uniform(0.2, 0.8)), Tissue.AIR)
    canvas.paint(front & (loops > 0.7) & (filling < -1.0), Tissue.FLUID)
    colon = canvas.ellipse_radius((0.72 * a, -0.12 * b), (0.15 * a, 0.18 * b))
    canvas.paint(inside & (colon < 1), Tissue.BOWEL)
    canvas.paint(inside & (colon < 0.7) & (loops > -0.2), Tissue.AIR)


def _draw_stomach(rng: np.random.Generator, canvas: SliceCanvas, inside: np.ndarray, a: float, b: float) -> None:
    if rng.random() < 0.3:
        return
    centre = (rng.uniform(0.3, 0.42) * a, -0.48 * b)
    stomach = canvas.ellipse_radius(centre, (rng.uniform(0.26, 0.36) * a, 0.36 * b), rng.uniform(-20, 10))
    canvas.paint(inside & (stomach < 1), Tissue.BOWEL)
    # Lying on the back, gas rises to the front above a level surface.
    canvas.paint(inside & (stomach < 0.78), Tissue.FLUID if rng.random() < 0.5 else Tissue.BOWEL)
    canvas.paint(inside & (stomach < 0.78) & (canvas.v < centre[1] + rng.uniform(-0.2, 0.1) * b), Tissue.AIR)


def _draw_kidneys(
    rng: np.random.Generator, canvas: SliceCanvas, a: float, b: float
) -> tuple[str, dict[str, tuple[float, float, float]]]:
    """Both kidneys; returns which is larger and (u, v, mean radius) of each."""
    larger = str(rng.choice(["left", "right", "equal"]))
    radius = rng.uniform(25, 29)
    found = {}
    for sign, side in ((1, "left"), (-1, "right")):
        # Ratio of widths 1.6: a shrunken kidney beside a swollen one.
        own = radius * (1.0 if larger == "equal" else 1.2 if larger == side else 0.75)
        centre = (sign * (0.5 * a + rng.uniform(-4, 4)), (0.34 + rng.uniform(-0.04, 0.04)) * b)
        turn = sign * rng.uniform(15, 40)
        canvas.paint(canvas.ellipse(centre, (own * 0.88 + 5, own * 1.1 + 5), turn), Tissue.FAT)
        canvas.paint(canvas.ellipse(centre, (own * 0.88, own * 1.1), turn), Tissue.KIDNEY)
        sinus = (centre[0] - sign * 0.38 * own, centre[1] - 0.12 * own)
        canvas.paint(canvas.ellipse(sinus, (own * 0.46, own * 0.36), turn), Tissue.FAT)
        found[side] = (*centre, own)
    return larger, found


def _draw_liver(rng: np.random.Generator, canvas: SliceCanvas, inside: np.ndarray, a: float, b: float) -> np.ndarray:
    right = canvas.ellipse((-0.56 * a, -0.16 * b), (rng.uniform(0.42, 0.5) * a, 0.66 * b), rng.uniform(0, 14))
    left = canvas.ellipse((-0.12 * a, -0.56 * b), (rng.uniform(0.28, 0.5) * a, rng.uniform(0.2, 0.3) * b), -8)
    liver = inside & (right | left) & (canvas.labels != Tissue.MARROW)
    canvas.paint(liver, Tissue.LIVER)
    branches = np.abs(smooth_field(rng, canvas.samples, 8))
    canvas.paint(liver & (branches < 0.06) & (smooth_field(rng, canvas.samples, 9) > 0.5), Tissue.VESSEL)
    return liver


def _draw_kidney_finding(
    rng: np.random.Generator, canvas: SliceCanvas, kidneys: dict[str, tuple[float, float, float]]
) -> dict[str, Any]:
    kind = str(rng.choice(["none", "stone", "cyst"]))
    if kind == "none":
        return {"kidney_finding": "none", "kidney_side": "none"}
    side, sign = (("left", 1), ("right", -1))[int(rng.integers(2))]
    u, v, radius = kidneys[side]
    if kind == "stone":
        half = rng.uniform(6.5, 8.5)
        canvas.paint(canvas.ellipse((u - sign * 0.35 * radius, v), (half, half * 0.9)), Tissue.STONE)
    else:
        half = rng.uniform(12, 18)
        canvas.paint(
            canvas.ellipse((u + sign * 0.45 * radius, v + rng.choice([-0.5, 0.6]) * radius), (half, half)), Tissue.CYST
        )
    return {"kidney_finding": kind, "kidney_side": side}


def _draw_liver_lesions(rng: np.random.Generator, canvas: SliceCanvas, liver: np.ndarray) -> dict[str, Any]:
    wanted = int(rng.integers(4))
    drawn: list[dict[str, Any]] = []
    taken: list[tuple[float, float, float]] = []
    for _ in range(wanted):
        bin_name = str(rng.choice(["small", "large"])) if wanted == 1 else "small"
        diameter = float(rng.uniform(*LESION_DIAMETER_MM[bin_name]))
        centre = canvas.place(rng, liver, diameter / 2 + 3, taken)
        if centre is None:
            break
        taken.append((*centre, diameter / 2))
        canvas.paint(canvas.ellipse(centre, (diameter / 2, diameter / 2)), Tissue.LIVER_LESION)
        row, column = canvas.pixel_of(centre)
        drawn.append({"row": row, "column": column, "diameter_mm": round(diameter, 1), "size": bin_name})
    return {
        "liver_lesion_count": len(drawn),
        "liver_lesion_size": drawn[0]["size"] if len(drawn) == 1 else None,
        "liver_lesions": drawn,
    }

"""The axial pelvis: bladder, hip or iliac bones, sacrum, muscles, rectum, and lesions with known truth.

Bladder widths: small 40-48 mm, medium 62-72 mm, large 92-108 mm (a femoral head measures 46 mm).
Bladder tumours measure 16-20 mm and sit on the wall; a lytic bone lesion measures 17-22 mm.
"""

from typing import Any

import numpy as np

from healthgpt.phantoms.slice_canvas import SliceCanvas, smooth_field
from healthgpt.phantoms.tissues import Tissue

BLADDER_WIDTH_MM = {"small": (40.0, 48.0), "medium": (62.0, 72.0), "large": (92.0, 108.0)}


def draw_pelvis(rng: np.random.Generator, size: int) -> tuple[SliceCanvas, dict[str, Any]]:
    """A pelvic slice of ``size`` pixels: its canvas and its findings."""
    half_width = rng.uniform(160, 195)
    half_depth = half_width * rng.uniform(0.6, 0.72)
    spacing = 2 * half_width / (size * rng.uniform(0.84, 0.97))
    canvas = SliceCanvas(rng, size, spacing, tilt_degrees=5.0, warp_mm=4.0)
    fat = rng.uniform(8, 26)
    depth = canvas.outline_depth(half_width, half_depth, half_depth, rng.uniform(2.1, 2.4))
    # Buttocks: thicker fat at the back, thinned by muscle at the sides.
    layer = fat * (1 + 0.6 * (canvas.v > 0) * canvas.v / half_depth)
    canvas.paint(depth > 0, Tissue.SKIN)
    canvas.paint(depth > 2, Tissue.FAT)
    canvas.paint(depth > layer, Tissue.MUSCLE)
    streaks = np.abs(smooth_field(rng, canvas.samples, 15))
    canvas.paint((depth > layer) & (streaks < 0.09), Tissue.FAT)
    a, b = half_width - fat, half_depth - fat
    cavity = canvas.ellipse((0, -0.16 * b), (0.44 * a, 0.6 * b)) & (depth > layer + 8)
    canvas.paint(cavity, Tissue.FAT)
    level = str(rng.choice(["hips", "iliac"]))
    bones = _draw_hips(rng, canvas, a, b) if level == "hips" else _draw_iliac(rng, canvas, a, b)
    _draw_bowel(rng, canvas, cavity, b, level)
    truth: dict[str, Any] = {"level": level}
    truth.update(_draw_bladder(rng, canvas, b))
    truth.update(_draw_bone_lesion(rng, canvas, bones))
    return canvas, truth


def _bone(
    canvas: SliceCanvas, centre: tuple[float, float], half: tuple[float, float], turn: float = 0.0, shell: float = 2.6
) -> None:
    canvas.paint(canvas.ellipse(centre, half, turn), Tissue.CORTICAL_BONE)
    canvas.paint(canvas.ellipse(centre, (half[0] - shell, half[1] - shell), turn), Tissue.MARROW)


def _draw_hips(rng: np.random.Generator, canvas: SliceCanvas, a: float, b: float) -> dict[str, tuple[float, float]]:
    """Femoral heads in their sockets, trochanters, pubis in front, coccyx behind; returns the heads' centres."""
    radius = rng.uniform(22, 24)
    heads = {}
    for sign, side in ((1, "left"), (-1, "right")):
        centre = (sign * 0.56 * a, -0.02 * b)
        heads[side] = centre
        canvas.paint(canvas.ellipse((centre[0], -0.68 * b), (0.2 * a, 0.1 * b)), Tissue.FAT)
        canvas.paint(canvas.ellipse((centre[0] - sign * 16, -0.6 * b), (9, 9)), Tissue.VESSEL)
        canvas.paint(canvas.ellipse((centre[0] + sign * 4, -0.62 * b), (9, 9)), Tissue.VESSEL)
        _bone(canvas, (centre[0] + sign * 34, centre[1] + 14), (14, 17), sign * 20)
        _bone(canvas, (centre[0] + sign * 22, centre[1] + 8), (16, 9), sign * 25)
        # The socket: front and back pillars on the inner side of the head.
        _bone(canvas, (centre[0] - sign * 22, centre[1] - 19), (10, 20), sign * 30)
        _bone(canvas, (centre[0] - sign * 21, centre[1] + 24), (10, 21), -sign * 28)
        canvas.paint(canvas.ellipse(centre, (radius + 3, radius + 3)), Tissue.MUSCLE)
        _bone(canvas, centre, (radius, radius), shell=2.2)
    _bone(canvas, (0, 0.7 * b), (14, 7))
    return heads


def _draw_iliac(rng: np.random.Generator, canvas: SliceCanvas, a: float, b: float) -> dict[str, tuple[float, float]]:
    """Iliac wings and sacrum; returns the wings' centres."""
    wings = {}
    for sign, side in ((1, "left"), (-1, "right")):
        turn = -sign * rng.uniform(22, 34)
        centre = (sign * 0.56 * a, 0.1 * b)
        wings[side] = centre
        _bone(canvas, centre, (13.0, 0.52 * b), turn)
        canvas.paint(canvas.ellipse((centre[0] - sign * 20, -0.25 * b), (16, 22), turn), Tissue.MUSCLE)
    _bone(canvas, (0, 0.44 * b), (0.28 * a, 0.16 * b))
    canvas.paint(canvas.ellipse((0, 0.56 * b), (9, 5)), Tissue.CSF)
    for sign in (1, -1):
        canvas.paint(canvas.ellipse((sign * 0.12 * a, 0.42 * b), (4, 5)), Tissue.FAT)
    return wings


def _draw_bowel(rng: np.random.Generator, canvas: SliceCanvas, cavity: np.ndarray, b: float, level: str) -> None:
    loops = smooth_field(rng, canvas.samples, 20)
    canvas.paint(cavity & (canvas.v < -0.1 * b) & (loops > rng.uniform(0.0, 0.6)), Tissue.BOWEL)
    canvas.paint(cavity & (canvas.v < -0.2 * b) & (loops > rng.uniform(1.0, 1.5)), Tissue.AIR)
    rectum, half = (rng.uniform(-8, 8), 0.36 * b if level == "hips" else 0.2 * b), rng.uniform(13, 20)
    canvas.paint(canvas.ellipse(rectum, (half, half)), Tissue.BOWEL)
    if rng.random() < 0.5:
        canvas.paint(canvas.ellipse((rectum[0], rectum[1] - 2), (half * 0.55, half * 0.5)), Tissue.AIR)


def _draw_bladder(rng: np.random.Generator, canvas: SliceCanvas, b: float) -> dict[str, Any]:
    tumours = int(rng.integers(4))
    # Two or more tumours need room; the shares below still make each bladder size equally common.
    shares = [2 / 3, 1 / 6, 1 / 6] if tumours < 2 else [0.0, 0.5, 0.5]
    bin_name = str(rng.choice(list(BLADDER_WIDTH_MM), p=shares))
    half = rng.uniform(*BLADDER_WIDTH_MM[bin_name]) / 2
    tall = half * rng.uniform(0.72, 0.9)
    centre = (rng.uniform(-5, 5), -0.3 * b + rng.uniform(-4, 4))
    radius = canvas.ellipse_radius(centre, (half, tall))
    canvas.paint(canvas.ellipse(centre, (half + 7, tall + 7)), Tissue.FAT)
    canvas.paint(canvas.ellipse(centre, (half + 3, tall + 3)), Tissue.MUSCLE)
    lumen = radius < 1
    canvas.paint(lumen, Tissue.FLUID)
    # Tumours grow from the wall at angles well apart.
    start = rng.uniform(0, 2 * np.pi)
    for index in range(tumours):
        angle = start + 2 * np.pi * index / max(tumours, 1) + rng.uniform(-0.25, 0.25)
        size = rng.uniform(8, 10)
        at = (centre[0] + (half - 0.55 * size) * np.cos(angle), centre[1] + (tall - 0.55 * size) * np.sin(angle))
        canvas.paint(canvas.ellipse(at, (size, size)) & lumen, Tissue.BLADDER_TUMOUR)
    return {"bladder_size": bin_name, "bladder_tumour_count": tumours}


def _draw_bone_lesion(
    rng: np.random.Generator, canvas: SliceCanvas, bones: dict[str, tuple[float, float]]
) -> dict[str, Any]:
    if rng.random() < 0.5:
        return {"bone_lesion": False, "bone_lesion_side": "none"}
    side = str(rng.choice(["left", "right"]))
    half = rng.uniform(8.5, 11)
    u, v = bones[side]
    centre = (u + rng.uniform(-2, 2), v + rng.uniform(-5, 5))
    canvas.paint(canvas.ellipse(centre, (half, half)), Tissue.LYTIC_LESION)
    return {"bone_lesion": True, "bone_lesion_side": side}

"""The axial head: scalp, skull, folded cortex, ventricles, deep grey matter, and lesions with known truth.

Three levels are drawn: ``ventricles`` (lateral ventricles, thalami), ``convexity`` (above them) and
``base`` (orbits, temporal lobes, cerebellum). Lesion diameters: small 12-18 mm, medium 22-30 mm,
large 36-46 mm; the gaps between the bins keep the answer to "how large" exact.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from healthgpt.phantoms.slice_canvas import SUPERSAMPLING, SliceCanvas, smooth_field
from healthgpt.phantoms.tissues import Tissue

LESION_DIAMETER_MM = {"small": (12.0, 18.0), "medium": (22.0, 30.0), "large": (36.0, 46.0)}
LESIONS = ("haemorrhage", "infarct", "mass")
TILT_DEGREES = 9.0


@dataclass(frozen=True)
class _Skull:
    """Half axes of the head's surface and depths (mm) below it where each layer ends."""

    half_width: float
    half_length: float
    scalp: float
    bone: float
    fluid: float

    @property
    def brain_width(self) -> float:
        return self.half_width - self.fluid

    @property
    def brain_length(self) -> float:
        return self.half_length - self.fluid


def draw_head(rng: np.random.Generator, size: int) -> tuple[SliceCanvas, dict[str, Any]]:
    """A head slice of ``size`` pixels: its canvas and its findings."""
    level = str(rng.choice(["ventricles", "convexity", "base"], p=[0.62, 0.2, 0.18]))
    shrink = {"ventricles": 1.0, "convexity": rng.uniform(0.8, 0.95), "base": rng.uniform(0.94, 1.0)}[level]
    scalp = rng.uniform(3.5, 8.0)
    bone = scalp + rng.uniform(5.5, 9.0)
    skull = _Skull(
        half_width=rng.uniform(67, 78) * shrink,
        half_length=rng.uniform(82, 96) * shrink,
        scalp=scalp,
        bone=bone,
        fluid=bone + rng.uniform(1.5, 4.0),
    )
    spacing = 2 * skull.half_length / (size * rng.uniform(0.76, 0.95))
    canvas = SliceCanvas(rng, size, spacing, tilt_degrees=TILT_DEGREES, warp_mm=2.0)
    depth = canvas.outline_depth(skull.half_width, skull.half_length, skull.half_length, rng.uniform(2.05, 2.35))
    _draw_scalp_and_skull(rng, canvas, skull, depth)
    brain = depth > np.float32(skull.fluid)
    _draw_cortex(rng, canvas, skull, depth, brain, level)
    truth: dict[str, Any] = {
        "level": level,
        "ventricles_enlarged": None,
        "ventricle_size": None,
        "larger_ventricle": None,
    }
    if level == "ventricles":
        truth.update(_draw_ventricles(rng, canvas, skull, brain))
    elif level == "base":
        brain = _draw_base(rng, canvas, skull, depth, brain)
    ventricles = [_ventricle(canvas, skull, sign) for sign in (1, -1)] if level == "ventricles" else []
    truth.update(_draw_lesions(rng, canvas, brain, level))
    for open_before, sign in zip(ventricles, (1, -1), strict=False):
        # Where a lesion covers a ventricle its size can no longer be told.
        if _ventricle(canvas, skull, sign) < 0.93 * open_before:
            truth["larger_ventricle"] = None
    return canvas, truth


def _ventricle(canvas: SliceCanvas, skull: _Skull, sign: int) -> int:
    """Samples of fluid in the middle of one half of the brain."""
    across = canvas.u * np.float32(sign / skull.brain_width)
    down = np.abs(canvas.v) * np.float32(1 / skull.brain_length)
    return int(((across > 0) & (across < 0.55) & (down < 0.6) & (canvas.labels == Tissue.CSF)).sum())


def _draw_scalp_and_skull(rng: np.random.Generator, canvas: SliceCanvas, skull: _Skull, depth: np.ndarray) -> None:
    layers = np.searchsorted(
        np.array([0.0, 1.6, skull.scalp, skull.scalp + 1.9, skull.bone - 1.7, skull.bone], dtype=np.float32),
        depth.ravel(),
    ).reshape(depth.shape)
    order = [Tissue.AIR, Tissue.SKIN, Tissue.FAT, Tissue.CORTICAL_BONE, Tissue.MARROW, Tissue.CORTICAL_BONE, Tissue.CSF]
    canvas.labels[:] = np.array(order, dtype=np.uint8)[layers]
    # Temporalis: the muscle between scalp and skull at the temples.
    temple = (layers == 2) & (np.abs(canvas.v + 18) < 30) & (depth > 2.4)
    if rng.random() < 0.7:
        canvas.paint(temple, Tissue.MUSCLE)


def _draw_cortex(
    rng: np.random.Generator, canvas: SliceCanvas, skull: _Skull, depth: np.ndarray, brain: np.ndarray, level: str
) -> None:
    """White matter under a grey ribbon folded along sulci: radial clefts of varying depth, bent by noise."""
    u, v = canvas.u, canvas.v
    bend = smooth_field(rng, canvas.samples, 11)
    reach = smooth_field(rng, canvas.samples, 7)
    below = depth - np.float32(skull.fluid)
    around = np.arctan2(v * np.float32(skull.half_width / skull.half_length), u)
    clefts = int(rng.integers(9, 14))
    mean_radius = 0.5 * (skull.brain_width + skull.brain_length)
    # Distance (mm) sideways to the nearest cleft; the noise bends and breaks the regular spacing.
    phase = around * np.float32(clefts) + np.float32(2.1) * bend + np.float32(rng.uniform(0, 6))
    phase += np.float32(0.05) * below * reach
    # Over the phase's own slope, so that clefts keep their width however much they bend.
    down, across = np.gradient(phase, np.float32(canvas.spacing_mm / SUPERSAMPLING))
    slope = np.clip(np.sqrt(down**2 + across**2), 0.3 * clefts / mean_radius, 3 * clefts / mean_radius)
    sideways = np.abs(np.arcsin(np.sin(phase))) / slope
    beyond = np.maximum(below - (np.float32(13 if level != "convexity" else 18) + np.float32(6.5) * reach), 0)
    distance = np.sqrt(sideways**2 + beyond**2)
    distance = np.minimum(distance, np.maximum(below, 0))
    # The cleft between the hemispheres, open in front and behind; across the middle the brain is joined.
    middle = np.abs(u + np.float32(1.2) * bend)
    if level == "ventricles":
        joined = np.maximum(np.float32(0.52 * skull.brain_length) - np.abs(v), 0)
        middle = np.sqrt(middle**2 + joined**2)
    distance = np.minimum(distance, middle)
    width = rng.uniform(0.7, 1.9)
    ribbon = width + rng.uniform(2.8, 4.0)
    canvas.paint(brain, Tissue.WHITE_MATTER)
    canvas.paint(brain & (distance < np.float32(ribbon)), Tissue.GREY_MATTER)
    canvas.paint(brain & (distance < np.float32(width)), Tissue.CSF)
    canvas.paint(brain & (middle < np.float32(0.9)) & (below < np.float32(0.55 * mean_radius)), Tissue.FALX)


def _draw_ventricles(rng: np.random.Generator, canvas: SliceCanvas, skull: _Skull, brain: np.ndarray) -> dict[str, Any]:
    """Lateral ventricles, third ventricle, caudate, lentiform nucleus, thalamus and insula."""
    a, b = skull.brain_width, skull.brain_length
    enlarged = bool(rng.random() < 0.5)
    scale = rng.uniform(1.75, 2.4) if enlarged else rng.uniform(0.75, 1.05)
    larger = str(rng.choice(["left", "right", "equal"]))
    # Which side is larger is told by width: 1.7 times the other or more, or equal.
    widths = {
        "left": scale * {"left": 1.3, "right": 0.7, "equal": 1.0}[larger],
        "right": scale * {"right": 1.3, "left": 0.7, "equal": 1.0}[larger],
    }
    drift = rng.uniform(-0.05, 0.05)
    calcified = rng.random() < 0.4  # the choroid plexus
    for sign, side in ((1, "left"), (-1, "right")):
        ventricle = widths[side]
        thick = 0.055 * ventricle
        for tissue, centre, half, turn in (
            (Tissue.GREY_MATTER, (0.17 + 0.8 * thick, -0.2), (0.085, 0.12), -18),
            (Tissue.GREY_MATTER, (0.41, -0.06), (0.11, 0.2), 14),
            (Tissue.GREY_MATTER, (0.17, 0.09), (0.13, 0.15), 20),
        ):
            canvas.paint(
                canvas.ellipse(
                    (sign * centre[0] * a, (centre[1] + drift) * b), (half[0] * a, half[1] * b), sign * turn
                ),
                tissue,
            )
        insula = np.abs(canvas.ellipse_radius((sign * 0.3 * a, (drift - 0.04) * b), (0.37 * a, 0.4 * b)) - 1)
        outer = (canvas.u * sign > 0.5 * a) & (np.abs(canvas.v - (drift - 0.04) * b) < 0.26 * b)
        canvas.paint(outer & (insula < 0.24), Tissue.GREY_MATTER)
        canvas.paint(outer & (insula < 0.07), Tissue.CSF)
        frontal = canvas.ellipse(
            (sign * (0.035 + 1.1 * thick) * a, (drift - 0.27) * b),
            (thick * a, (0.13 + 0.025 * ventricle) * b),
            sign * 16,
        )
        body = canvas.ellipse(
            (sign * (0.26 + 0.3 * thick) * a, (drift + 0.3) * b),
            (1.15 * thick * a, (0.15 + 0.03 * ventricle) * b),
            -sign * 24,
        )
        canvas.paint((frontal | body) & brain & (canvas.u * sign > 0.9), Tissue.CSF)
        if calcified:
            canvas.paint(canvas.ellipse((sign * 0.27 * a, (drift + 0.32) * b), (1.8, 2.4)), Tissue.CORTICAL_BONE)
    third = 0.018 * (1.6 if enlarged else 1.0) * rng.uniform(0.8, 1.3)
    canvas.paint(canvas.ellipse((0, (drift + 0.06) * b), (third * a, 0.13 * b)), Tissue.CSF)
    return {
        "ventricles_enlarged": enlarged,
        "ventricle_size": "enlarged" if enlarged else "normal",
        "larger_ventricle": larger,
    }


def _draw_base(
    rng: np.random.Generator, canvas: SliceCanvas, skull: _Skull, depth: np.ndarray, brain: np.ndarray
) -> np.ndarray:
    """Orbits and nose in front, temporal lobes, petrous ridges, brain stem and cerebellum; returns the brain."""
    a, b = skull.half_width, skull.half_length
    inside = depth > 2.0
    behind = canvas.v - np.float32(-0.36 * b) - np.float32(0.1 * b) * np.cos(canvas.u * np.float32(3.1 / a))
    face = inside & (behind < 0)
    canvas.paint(face & (depth > 5), Tissue.FAT)
    for sign in (1, -1):
        canvas.paint(canvas.ellipse((sign * 0.44 * a, -0.55 * b), (0.33 * a, 0.26 * b)) & face, Tissue.CORTICAL_BONE)
        canvas.paint(canvas.ellipse((sign * 0.44 * a, -0.57 * b), (0.28 * a, 0.23 * b)) & face, Tissue.FAT)
        canvas.paint(canvas.ellipse((sign * 0.46 * a, -0.68 * b), (12.5, 12.5)) & inside, Tissue.MUSCLE)
        canvas.paint(canvas.ellipse((sign * 0.46 * a, -0.68 * b), (11.0, 11.0)) & inside, Tissue.VITREOUS)
        for turn in (8, 32):  # rectus muscles and the optic nerve between them
            canvas.paint(
                canvas.ellipse((sign * (0.3 + 0.008 * turn) * a, -0.5 * b), (2.0, 12.0), sign * turn) & face,
                Tissue.MUSCLE,
            )
    canvas.paint(canvas.ellipse((0, -0.62 * b), (0.17 * a, 0.3 * b)) & inside, Tissue.CORTICAL_BONE)
    canvas.paint(canvas.ellipse((0, -0.62 * b), (0.13 * a, 0.26 * b)) & inside, Tissue.AIR)
    canvas.paint((np.abs(canvas.u) < 1.2) & face, Tissue.CORTICAL_BONE)
    # The sphenoid wings close the skull between the orbits and the temporal lobes.
    canvas.paint((np.abs(behind) < 2.2) & (depth > skull.scalp), Tissue.CORTICAL_BONE)
    posterior = canvas.ellipse((0, 0.42 * b), (0.62 * a, 0.44 * b)) & brain
    canvas.paint(posterior, Tissue.GREY_MATTER)
    folia = np.sin(canvas.ellipse_radius((0, 0.1 * b), (0.62 * a, 0.62 * b)) * np.float32(14) + canvas.u * 0.02)
    canvas.paint(posterior & (folia > 0.75), Tissue.CSF)
    for sign in (1, -1):
        canvas.paint(canvas.ellipse((sign * 0.3 * a, 0.42 * b), (0.2 * a, 0.15 * b), sign * 25), Tissue.WHITE_MATTER)
        petrous = canvas.ellipse((sign * 0.52 * a, 0.06 * b), (0.33 * a, 0.055 * b), -sign * 24)
        canvas.paint(petrous & inside, Tissue.CORTICAL_BONE)
        if rng.random() < 0.6:
            canvas.paint(canvas.ellipse((sign * 0.72 * a, 0.14 * b), (0.1 * a, 0.05 * b)) & inside, Tissue.AIR)
    canvas.paint(canvas.ellipse((0, 0.06 * b), (0.23 * a, 0.19 * b)), Tissue.CSF)
    canvas.paint(canvas.ellipse((0, 0.08 * b), (0.2 * a, 0.15 * b)), Tissue.WHITE_MATTER)
    canvas.paint(canvas.ellipse((0, 0.27 * b), (0.08 * a, 0.045 * b)), Tissue.CSF)
    bone_free = (canvas.labels == Tissue.WHITE_MATTER) | (canvas.labels == Tissue.GREY_MATTER)
    return brain & (bone_free | (canvas.labels == Tissue.CSF))


def _draw_lesions(rng: np.random.Generator, canvas: SliceCanvas, brain: np.ndarray, level: str) -> dict[str, Any]:
    """Up to three lesions of one kind; a third of the slices has none."""
    kind = str(rng.choice(["none", *LESIONS], p=[3 / 9, 2 / 9, 2 / 9, 2 / 9]))
    wanted = 0 if kind == "none" else int(rng.choice([1, 2, 3], p=[0.5, 0.25, 0.25]))
    # In the base, and with company, a large lesion would not fit.
    bins = ["small", "medium", "large"] if wanted == 1 and level != "base" else ["small"]
    ripple = smooth_field(rng, canvas.samples, 14)
    away_from_midline = brain & (np.abs(canvas.u) > 5)
    drawn: list[dict[str, Any]] = []
    taken: list[tuple[float, float, float]] = []
    for _ in range(wanted):
        bin_name = str(rng.choice(bins))
        diameter = float(rng.uniform(*LESION_DIAMETER_MM[bin_name]))
        centre = canvas.place(rng, away_from_midline, diameter / 2 + 1, taken)
        if centre is None:
            break
        taken.append((*centre, diameter / 2))
        _draw_lesion(canvas, kind, centre, diameter / 2, brain, ripple)
        row, column = canvas.pixel_of(centre)
        side = "left" if centre[0] > 0 else "right"
        drawn.append({"row": row, "column": column, "diameter_mm": round(diameter, 1), "size": bin_name, "side": side})
    if not drawn:
        kind = "none"
    sides = {lesion["side"] for lesion in drawn}
    return {
        "lesion": kind,
        "lesion_count": len(drawn),
        "lesion_side": "none" if not sides else sides.pop() if len(sides) == 1 else "both",
        "lesion_size": drawn[0]["size"] if len(drawn) == 1 and level != "base" else None,
        "lesions": drawn,
    }


def _draw_lesion(
    canvas: SliceCanvas,
    kind: str,
    centre: tuple[float, float],
    radius: float,
    brain: np.ndarray,
    ripple: np.ndarray,
) -> None:
    distance = np.sqrt((canvas.u - np.float32(centre[0])) ** 2 + (canvas.v - np.float32(centre[1])) ** 2)
    wavy = distance * (1 + np.float32(0.07) * ripple)
    same_half = brain & (canvas.u * np.float32(np.sign(centre[0])) > 2)
    # Oedema spreads through white matter and leaves the ventricles and clefts open.
    spared = canvas.labels != Tissue.CSF
    if kind == "infarct":
        canvas.paint(same_half & (wavy < radius), Tissue.INFARCT)
        return
    spread = radius * (1.2 if kind == "haemorrhage" else 1.4) + 1.5
    canvas.paint(same_half & spared & (wavy * (1 + np.float32(0.12) * ripple) < spread), Tissue.OEDEMA)
    if kind == "haemorrhage":
        canvas.paint(same_half & (wavy < radius), Tissue.HAEMORRHAGE)
        return
    canvas.paint(same_half & (wavy < radius), Tissue.TUMOUR_RIM)
    canvas.paint(same_half & (wavy < max(0.6 * radius, radius - 6)), Tissue.NECROSIS)

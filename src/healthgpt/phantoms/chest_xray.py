"""The chest X-ray phantom: random patients, Beer-Lambert projection, questions and report.

``make_case(seed)`` draws anatomy and disease, projects ``thorax`` thicknesses with Beer and Lambert's
law, adds scatter (a broad veil) and photon noise, and shows the film as MONOCHROME2 (bone white).
Every finding is drawn independently and balanced; lesions keep clear of what would hide them.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from healthgpt.phantoms.case import Case
from healthgpt.phantoms.cxr_questions import ask
from healthgpt.phantoms.cxr_report import write_report
from healthgpt.phantoms.thorax import (
    SIDES,
    Anatomy,
    Disease,
    Nodule,
    Thicknesses,
    cavity_edges,
    consolidation_centre,
    project,
    unit_grid,
)

SEED_STREAM = 201
FIELD_MM = 325.0

ATTENUATION_PER_MM = {"soft": 0.0195, "lung": 0.0052, "bone": 0.030}
"""Effective linear attenuation near 65 keV (NIST XCOM: water 0.0193/mm; lung at a density of 0.27;
bone is what a mineral chord adds to the tissue it lies in)."""

ENLARGED_ABOVE = 0.5
"""Cardiothoracic ratio above which a heart is enlarged on a frontal film."""


LARGE_EFFUSION_MM = 70.0
"""Height above the costophrenic angle that parts small effusions from large ones."""


@dataclass(frozen=True)
class Exposure:
    """How the film was taken and shown."""

    photons: float  # mean unattenuated count per pixel
    scatter: float  # veil as a fraction of the primary mean
    gamma: float
    equalise: float  # 0 linear .. 1 fully histogram-equalised
    sharpen: float  # unsharp masking of the processed film
    black: float  # display percentile shown black
    white: float
    blur: float  # focal spot and detector, pixels at 128
    floor: float  # grey level of the blackest point
    ceiling: float  # grey level of the whitest point


def draw_anatomy(rng: np.random.Generator, portable: bool) -> Anatomy:
    """A patient; ``portable`` ones lie: shallower lungs, wider shoulders, scapulae over the lungs."""
    half_width = rng.uniform(118, 142)
    breath = rng.uniform(0.8, 0.95) if portable else rng.uniform(0.92, 1.1)
    height = rng.uniform(205, 235) * breath
    apex = -0.5 * height - 8.0
    dome_right = 0.5 * height - 25.0
    dome_left = dome_right + rng.uniform(2, 16)
    return Anatomy(
        half_width=half_width,
        apex=apex,
        dome_right=dome_right,
        dome_left=dome_left,
        dome_height=rng.uniform(32, 46),
        depth=rng.uniform(165, 215),
        wall=rng.uniform(10, 30),
        mediastinum=rng.uniform(24, 32),
        aorta=rng.uniform(14, 19),
        rib_spacing=rng.uniform(23, 29),
        rib_slope=rng.uniform(26, 44),
        rib_phase=rng.uniform(0, 1),
        rib_density=rng.uniform(0.45, 0.95),
        breasts=rng.uniform(15, 45) if rng.random() < 0.4 else 0.0,
        bubble=rng.uniform(14, 30) if rng.random() < 0.5 else 0.0,
        shoulders=apex + rng.uniform(-38, -8),
        arms=rng.uniform(4, 40) if rng.random() < 0.5 else 200.0,
        scapulae=rng.uniform(0.5, 1.0) if portable else rng.uniform(0.0, 0.4),
        rotation=rng.normal(0, 0.05),
    )


def _balanced_side(rng: np.random.Generator, sides: tuple[str, ...]) -> str:
    return str(rng.choice(sides)) if rng.random() < 0.5 else "none"


def draw_disease(rng: np.random.Generator, anatomy: Anatomy) -> Disease:
    """Independent findings: half of the cases have each; 0 to 3 nodules where nothing hides them.

    The heart is clearly normal (cardiothoracic ratio 0.38 to 0.47) or clearly enlarged (0.55 to
    0.66). Effusions are small (38 to 54 mm above the costophrenic angle) or large (85 to 110 mm);
    a consolidation on the side of a large effusion lies in the upper zone, where it can be seen.
    """
    ratio = rng.uniform(0.55, 0.66) if rng.random() < 0.5 else rng.uniform(0.38, 0.47)
    effusion = _balanced_side(rng, ("left", "right", "both"))
    large = rng.random() < 0.5
    height = 0.0 if effusion == "none" else float(rng.uniform(85, 110) if large else rng.uniform(38, 54))
    pneumothorax = _balanced_side(rng, ("left", "right"))
    consolidation = _balanced_side(rng, ("left", "right"))
    zone = str(rng.choice(("upper", "lower")))
    if effusion in (consolidation, "both") and height > LARGE_EFFUSION_MM:
        zone = "upper"
    disease = Disease(
        cardiothoracic_ratio=ratio,
        heart_left_share=rng.uniform(0.62, 0.70),
        effusion=effusion,
        effusion_height=height,
        pneumothorax=pneumothorax,
        pneumothorax_depth=float(rng.uniform(28, 44)) if pneumothorax != "none" else 0.0,
        consolidation=consolidation,
        consolidation_zone=zone if consolidation != "none" else "none",
        consolidation_radius=float(rng.uniform(36, 48)),
        consolidation_density=float(rng.uniform(0.45, 0.7)),
    )
    nodules = _draw_nodules(rng, anatomy, disease, int(rng.integers(0, 4)))
    return replace(disease, nodules=nodules)


def _draw_nodules(rng: np.random.Generator, anatomy: Anatomy, disease: Disease, count: int) -> tuple[Nodule, ...]:
    """``count`` nodules of 11 to 15 mm radius in aerated lung, apart from each other and from other disease."""
    nodules: list[Nodule] = []
    heart_left = disease.heart_left_share * disease.cardiothoracic_ratio * 2.0 * anatomy.half_width
    heart_right = disease.cardiothoracic_ratio * 2.0 * anatomy.half_width - heart_left
    for _ in range(400):
        if len(nodules) == count:
            break
        side = str(rng.choice(("left", "right")))
        sign = SIDES[side]
        radius = float(rng.uniform(11, 15))
        inset = disease.pneumothorax_depth if disease.pneumothorax == side else 0.0
        bottom = anatomy.dome(sign) - radius - 8.0
        if disease.has_effusion(side):
            bottom = min(bottom, anatomy.dome(sign) + anatomy.dome_height - disease.effusion_height - radius - 8.0)
        y = float(rng.uniform(anatomy.apex + inset + 40.0, max(bottom, anatomy.apex + inset + 60.0)))
        medial, lateral = (float(edge[0]) for edge in cavity_edges(anatomy, np.array([y]), inset))
        if y > anatomy.apex + 0.45 * (anatomy.angle - anatomy.apex):
            medial = max(medial, heart_left if side == "left" else heart_right)
        low, high = medial + radius + 6.0, lateral - radius - 7.0
        if high <= low:
            continue
        x = sign * float(rng.uniform(low, high))
        if disease.consolidation == side:
            cx, cy = consolidation_centre(anatomy, disease)
            if np.hypot(x - cx, y - cy) < 1.25 * disease.consolidation_radius + radius + 4.0:
                continue
        if all(np.hypot(x - other.x, y - other.y) > radius + other.radius + 14.0 for other in nodules):
            nodules.append(Nodule(side, x, y, radius))
    return tuple(nodules)


def draw_exposure(rng: np.random.Generator) -> Exposure:
    """An exposure between a crisp department film and a grainy bedside one."""
    return Exposure(
        photons=float(np.exp(rng.uniform(np.log(2e4), np.log(4e5)))),
        scatter=rng.uniform(0.15, 0.6),
        gamma=rng.uniform(0.75, 1.3),
        equalise=rng.uniform(0.0, 0.6),
        sharpen=rng.uniform(0.0, 0.6),
        black=rng.uniform(0.5, 4.0),
        white=rng.uniform(97.5, 99.8),
        blur=rng.uniform(0.35, 0.7),
        floor=max(rng.uniform(-0.15, 0.2), 0.0),
        ceiling=min(rng.uniform(0.8, 1.1), 1.0),
    )


def detect(thicknesses: Thicknesses, exposure: Exposure, size: int) -> np.ndarray:
    """Relative detector signal: exp(-sum mu t) (Beer-Lambert), focal blur, and a broad scatter veil."""
    mu = ATTENUATION_PER_MM
    path = mu["soft"] * thicknesses.soft + mu["lung"] * thicknesses.lung + mu["bone"] * thicknesses.bone
    primary = ndimage.gaussian_filter(np.exp(-path), exposure.blur * size / 128.0)
    coarse = primary[:: size // 32, :: size // 32]
    veil = ndimage.zoom(ndimage.gaussian_filter(np.minimum(coarse, 0.25), 3.0), size / coarse.shape[0], order=1)
    return primary + exposure.scatter * veil


def show(signal: np.ndarray, exposure: Exposure, wires: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Logarithm of the signal as a MONOCHROME2 film in [0, 1]; levels are set from ``reference``."""
    film, levels = -np.log(np.maximum(signal, 1e-6)), -np.log(reference)
    inside = levels[levels > 0.5]
    low, high = np.percentile(inside, (exposure.black, exposure.white))
    scale = 1.0 / max(high - low, 1e-3)
    histogram = np.cumsum(np.histogram(np.clip((inside - low) * scale, 0, 1), bins=64, range=(0, 1))[0])
    film = (film - low) * scale
    if exposure.sharpen > 0:
        film = film + exposure.sharpen * (film - ndimage.gaussian_filter(film, film.shape[0] / 16))
    film = np.clip(film + wires, 0.0, 1.0)
    equalised = np.interp(film, np.linspace(0, 1, 65), np.concatenate(([0.0], histogram / histogram[-1])))
    film = (1.0 - exposure.equalise) * film + exposure.equalise * equalised
    film = exposure.floor + (exposure.ceiling - exposure.floor) * film**exposure.gamma
    return np.clip(film, 0.0, 1.0).astype(np.float32)


def _wires(rng: np.random.Generator, size: int, portable: bool) -> np.ndarray:
    """Monitoring leads and catheters as thin bright curves: present on most bedside films."""
    film = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(0, 3)) if portable and rng.random() < 0.6 else 0):
        points = np.linspace(rng.uniform(-0.1, 1.1, 2), rng.uniform(0.2, 0.8, 2), 4) * size
        points[1:3] += rng.normal(0, 0.12 * size, (2, 2))
        t = np.linspace(0, 1, 3 * size)[:, None]
        curve = sum(weight * t**k * (1 - t) ** (3 - k) * points[k] for k, weight in enumerate((1.0, 3.0, 3.0, 1.0)))
        rows, columns = np.asarray(curve).astype(int).T
        inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
        film[rows[inside], columns[inside]] = rng.uniform(0.12, 0.4)
    return ndimage.gaussian_filter(film, 0.5 * size / 128.0) if film.any() else film


def _smooth_field(rng: np.random.Generator, size: int) -> np.ndarray:
    """Unit-variance random field with structure from 6 to 25 mm, the grain of lung parenchyma."""
    fine = ndimage.zoom(rng.normal(0, 1, (size // 2, size // 2)), 2, order=1)
    coarse = ndimage.zoom(rng.normal(0, 1, (16, 16)), size / 16, order=1)
    field = ndimage.gaussian_filter(fine, size / 128) + coarse
    return (field / field.std()).astype(np.float32)


def draw_lungs(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """What ``thorax.project`` fills lungs with: (size, size) grain and (2, 3, 64) vessel calibres in mm."""
    branches = rng.gamma(2.0, 2.8, (2, 3, 64)).astype(np.float32)
    return _smooth_field(rng, size), branches


def findings_of(disease: Disease) -> dict:
    """Findings as the report states them: the keys of ``cxr_report.NORMAL``."""
    sides = [nodule.side for nodule in disease.nodules]
    size = "none" if disease.effusion == "none" else "large" if disease.effusion_height > LARGE_EFFUSION_MM else "small"
    return {
        "cardiomegaly": disease.cardiothoracic_ratio > ENLARGED_ABOVE,
        "effusion": disease.effusion,
        "effusion_size": size,
        "pneumothorax": disease.pneumothorax,
        "consolidation": disease.consolidation,
        "consolidation_zone": disease.consolidation_zone,
        "nodules_left": sides.count("left"),
        "nodules_right": sides.count("right"),
    }


def make_case(seed: int, size: int = 128) -> Case:
    """One frontal chest X-ray; the same seed gives the same case at any time.

    ``image`` and ``clean``: (size, size) float32 in [0, 1], bone white. ``size`` must be a multiple of
    32. ``truth`` holds ``cxr_report.NORMAL``'s keys, ``cardiothoracic_ratio``, ``nodules``,
    ``view`` (pa, ap) and ``nodule_pixels`` (row, column, radius in pixels).
    """
    rng = np.random.default_rng([seed, SEED_STREAM])
    portable = bool(rng.random() < 0.5)
    anatomy = draw_anatomy(rng, portable)
    disease = draw_disease(rng, anatomy)
    exposure = draw_exposure(rng)
    zoom = rng.uniform(0.92, 1.12)
    roll = rng.normal(0, 0.035)
    cosine, sine = math.cos(roll), math.sin(roll)
    x, y = unit_grid(size)
    field = FIELD_MM * zoom
    shift_x, shift_y = rng.normal(0, 8), rng.normal(0, 8)
    deepest = anatomy.dome_left + anatomy.dome_height
    shift_y = min(max(shift_y, 12.0 - field / 2 - anatomy.apex), field / 2 - deepest - 10.0)  # both lungs in view
    px, py = x * field - shift_x, y * field - shift_y
    along, down = cosine * px + sine * py, cosine * py - sine * px
    thicknesses = project(anatomy, disease, along, down, *draw_lungs(rng, size))
    signal = detect(thicknesses, exposure, size)
    counts = rng.poisson(signal * exposure.photons) + 1.0
    wires = _wires(rng, size, portable)
    clean = show(signal, exposure, wires, signal)
    image = show(counts / exposure.photons, exposure, wires, signal)
    findings = findings_of(disease)
    pixels = []
    for nodule in disease.nodules:
        nx = cosine * nodule.x - sine * nodule.y + shift_x
        ny = sine * nodule.x + cosine * nodule.y + shift_y
        row, column = (float(value / field * size + size / 2 - 0.5) for value in (ny, nx))
        pixels.append([round(row, 1), round(column, 1), round(nodule.radius / field * size, 2)])
    truth = {
        **findings,
        "cardiothoracic_ratio": round(float(disease.cardiothoracic_ratio), 4),
        "nodules": len(disease.nodules),
        "nodule_pixels": pixels,
        "view": "ap" if portable else "pa",
    }
    return Case(
        modality="x-ray",
        seed=seed,
        region="chest",
        image=image,
        clean=clean,
        truth=truth,
        questions=ask(truth, rng),
        report=write_report(findings, rng),
        pixel_spacing_mm=float(field / size),
    )

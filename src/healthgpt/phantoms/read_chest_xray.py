"""The chest X-ray reader: findings measured back from pixels alone, by fitting the thorax model.

The film is explained as a smooth function of the path length through a parametric thorax: pose,
chest size, diaphragm, heart width, fluid, collapsed lung and consolidation are its parameters, found by
damped Gauss-Newton steps from the best of a bank of random patients. Nodules are blobs in what the
fit leaves over.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from healthgpt.errors import ImageError
from healthgpt.phantoms.chest_xray import ATTENUATION_PER_MM, ENLARGED_ABOVE
from healthgpt.phantoms.thorax import (
    SIDES,
    Anatomy,
    Grid,
    bubble_chord,
    cavity_chord,
    cavity_edges,
    heart_chord,
    trunk_chord,
    unit_grid,
)

READ_SIZE = 128
FIT_SIZE = 32
STARTS = 2
"""Bank entries that are fitted; the cheaper explanation wins."""

FLUID_MM = {"right": 34.0, "left": 38.0}
LARGE_FLUID_MM = 80.0
COLLAPSE_MM = 18.0
PATCH_DENSITY = {"upper": 0.42, "lower": 0.47}
NODULE_STRENGTH = 0.058
HEART_BIAS = 0.035
"""Decision levels, set on 160 training seeds; the fit overestimates deep fluid and wide hearts a little."""

NOMINAL_FIELD_MM = 325.0
"""Field of view assumed for the fit: a drawing has no scale, so millimetres are relative to it."""

PARAMETERS = {
    # name: prior mean and standard deviation
    "shift_x": (0.0, 9.0),
    "shift_y": (0.0, 9.0),
    "roll": (0.0, 0.04),
    "half_width": (130.0, 12.0),
    "height": (212.0, 20.0),
    "dome_drop": (0.0, 2.0),
    "dome_lift": (9.0, 4.0),
    "dome_height": (39.0, 4.0),
    "depth": (190.0, 20.0),
    "wall": (20.0, 7.0),
    "mediastinum": (28.0, 3.0),
    "shoulders": (-23.0, 10.0),
    "heart": (0.5, 0.09),
    "heart_left": (0.66, 0.025),
    "effusion_right": (15.0, 40.0),
    "effusion_left": (15.0, 40.0),
    "air_right": (6.0, 14.0),
    "air_left": (6.0, 14.0),
    "upper_right": (0.05, 0.25),
    "upper_left": (0.05, 0.25),
    "lower_right": (0.05, 0.25),
    "lower_left": (0.05, 0.25),
    "breasts": (6.0, 15.0),
    "bubble": (6.0, 10.0),
}
NAMES = tuple(PARAMETERS)
PRIOR = np.array(list(PARAMETERS.values()))
NON_NEGATIVE = np.array([name.startswith(("effusion", "air", "upper", "lower", "breasts", "bubble")) for name in NAMES])


Patients = dict[str, np.ndarray]
"""Parameters by name, each (patients, 1, 1) float32."""


def _patients(theta: np.ndarray) -> Patients:
    """(patients, parameters) as named columns that broadcast over a grid."""
    columns = np.atleast_2d(theta).astype(np.float32)[:, :, None, None]
    return {name: columns[:, index] for index, name in enumerate(NAMES)}


def _anatomy(value: Patients) -> Anatomy:
    apex = -0.5 * value["height"] - 8.0
    dome_right = 0.5 * value["height"] - 25.0 + value["dome_drop"]
    return Anatomy(
        half_width=value["half_width"],
        apex=apex,
        dome_right=dome_right,
        dome_left=dome_right + value["dome_lift"],
        dome_height=value["dome_height"],
        depth=value["depth"],
        wall=value["wall"],
        mediastinum=value["mediastinum"],
        aorta=16.5,
        rib_spacing=26.0,
        rib_slope=35.0,
        rib_phase=0.0,
        rib_density=0.85,
        breasts=value["breasts"],
        bubble=value["bubble"],
        shoulders=apex + value["shoulders"],
        arms=200.0,
        scapulae=0.3,
        rotation=0.0,
    )


def _patient_grid(value: Patients, size: int) -> tuple[Grid, Grid]:
    x, y = unit_grid(size)
    px, py = x * NOMINAL_FIELD_MM - value["shift_x"], y * NOMINAL_FIELD_MM - value["shift_y"]
    cosine, sine = np.cos(value["roll"]), np.sin(value["roll"])
    return cosine * px + sine * py, cosine * py - sine * px


def _path(value: Patients, size: int) -> Grid:
    """Attenuation along the beam, (patients, size, size): soft tissue, lung, air and the mean of bone."""
    anatomy = _anatomy(value)
    x, y = _patient_grid(value, size)
    heart = heart_chord(anatomy, value["heart"], value["heart_left"], x, y)
    lung_total, dense_total, air_total = np.zeros_like(x), np.zeros_like(x), bubble_chord(anatomy, x, y)
    height = anatomy.angle - anatomy.apex
    for name, side in SIDES.items():
        cavity = np.maximum(cavity_chord(anatomy, side, x, y) - heart, 0.0)
        inset = value[f"air_{name}"]
        lung = np.minimum(cavity, np.maximum(cavity_chord(anatomy, side, x, y, inset) - heart, 0.0))
        dense = np.minimum(inset / 30.0, 1.0) * 0.25 * lung
        for zone, share in (("upper", 0.28), ("lower", 0.6)):
            cx, cy = side * (0.58 * anatomy.half_width - 0.5 * inset), anatomy.apex + share * height + 0.4 * inset
            squared = ((x - cx) / 42.0) ** 2 + ((y - cy) / 38.0) ** 2
            dense = dense + value[f"{zone}_{name}"] * np.clip(1.35 - squared, 0.0, 1.0) * lung
        medial, lateral = cavity_edges(anatomy, y)
        u = np.clip((side * x - medial) / np.maximum(lateral - medial, 1.0), 0.0, 1.0)
        bottom = anatomy.dome(side) + anatomy.dome_height
        climb = np.maximum(1.0 - inset / 20.0, 0.0)
        level = bottom - value[f"effusion_{name}"] * (1.0 - 0.4 * climb * (1.0 - u**2))
        dry = np.clip(0.5 - (y - level) / 9.0, 0.0, 1.0)
        lung_total += lung * dry
        dense_total += dense * dry
        air_total += (cavity - lung) * dry
    body = trunk_chord(anatomy, x, y)
    aerated = np.maximum(lung_total - dense_total, 0.0)
    soft = np.where(body > 0, np.maximum(body - aerated - air_total, np.minimum(body, 30.0)), 0.0)
    spine = 11.0 * np.clip((17.0 - np.abs(x)) / 6.0 + 0.5, 0.0, 1.0) * np.minimum(body / 40.0, 1.0)
    mu = ATTENUATION_PER_MM
    return mu["soft"] * soft + mu["lung"] * aerated + mu["bone"] * spine


def _explain(paths: np.ndarray, film: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The film as the best mixture of a constant, the path and its scatter-compressed logarithm.

    ``paths``: (patients, pixels); ``film``, ``weight``: (pixels,). Returns (patients, pixels).
    """
    compressed = -np.log(np.exp(-paths) + 0.02)
    columns = np.stack([np.ones_like(paths), paths, compressed], axis=2).astype(np.float64)
    weighted = columns * weight[:, None]
    gram = weighted.transpose(0, 2, 1) @ columns + 1e-6 * np.eye(3)
    mixture = np.linalg.solve(gram, (weighted.transpose(0, 2, 1) @ film)[:, :, None])
    return (columns @ mixture)[:, :, 0]


@cache
def _bank(count: int = 700) -> tuple[np.ndarray, np.ndarray]:
    """Random patients of the prior and their centred, normalised paths at ``FIT_SIZE``."""
    rng = np.random.default_rng(7)
    theta = rng.normal(PRIOR[:, 0], PRIOR[:, 1], (count, len(NAMES)))
    sick = rng.random((count, len(NAMES))) < 0.4
    theta = np.where(NON_NEGATIVE, np.abs(theta) * sick, theta)
    views = [_bank_view(path) for path in _path(_patients(theta), FIT_SIZE)]
    return theta, np.stack(views)


def _bank_view(picture: np.ndarray) -> np.ndarray:
    """A picture as centred ranks of unit norm, so that exposure does not matter."""
    ranks = np.argsort(np.argsort(picture.ravel())).astype(np.float32)
    ranks -= ranks.mean()
    return ranks / np.linalg.norm(ranks)


def _fit(picture: np.ndarray, start: np.ndarray, noise: float, steps: int) -> tuple[np.ndarray, float]:
    """Damped Gauss-Newton on film residuals and prior; returns parameters and cost.

    ``picture``: (size, size); ``noise``: standard deviation of what the model leaves out (ribs, vessels),
    relative to the film's range.
    """
    size = picture.shape[0]
    x, y = unit_grid(size)
    weight = np.where(np.hypot(x, 0.9 * y) < 0.47, 1.0, 0.35).ravel().astype(np.float64)
    film = (picture / max(float(np.ptp(picture)), 1e-3)).ravel()
    scale = np.sqrt(weight) / (noise * size / FIT_SIZE)

    def residuals(theta: np.ndarray) -> np.ndarray:
        paths = _path(_patients(theta), size).reshape(len(theta), -1)
        difference = (film - _explain(paths, film, weight)) * scale
        return np.concatenate([difference, (theta - PRIOR[:, 0]) / PRIOR[:, 1]], axis=1)

    deltas = 0.12 * PRIOR[:, 1]
    theta, damping = start.copy(), 0.3
    current = residuals(theta[None])[0]
    cost = float(current @ current)
    for _ in range(steps):
        jacobian = ((residuals(theta + np.diag(deltas)) - current) / deltas[:, None]).T
        normal = jacobian.T @ jacobian
        gradient = jacobian.T @ current
        trials = []
        for factor in (0.2, 1.0, 5.0, 25.0):
            step = np.linalg.solve(normal + factor * damping * np.diag(np.diag(normal)), -gradient)
            trial = theta + np.clip(step, -1.5 * PRIOR[:, 1], 1.5 * PRIOR[:, 1])
            trials.append(np.where(NON_NEGATIVE, np.maximum(trial, 0.0), trial))
        proposed = residuals(np.stack(trials))
        costs = np.einsum("ij,ij->i", proposed, proposed)
        best = int(np.argmin(costs))
        if costs[best] >= cost:
            break
        settled = cost - costs[best] < 0.002 * cost
        theta, current, cost = trials[best], proposed[best], float(costs[best])
        damping = float(np.clip(damping * (0.2, 1.0, 5.0, 25.0)[best], 1e-4, 30.0))
        if settled:
            break
    return theta, cost


def _shrunk(image: np.ndarray, size: int) -> np.ndarray:
    factor = image.shape[0] // size
    return image.reshape(size, factor, size, factor).mean(axis=(1, 3)).astype(np.float64)


def fit_thorax(image: np.ndarray) -> dict[str, float]:
    """The parameters of the thorax that explains a (128, 128) film in [0, 1] best, and ``cost``."""
    small = _shrunk(image, FIT_SIZE)
    theta, views = _bank()
    order = np.argsort(-(views @ _bank_view(small)))[:STARTS]
    coarse = min((_fit(small, theta[index], 0.07, 9) for index in order), key=lambda fit: fit[1])
    fine = _shrunk(image, 2 * FIT_SIZE)
    best, cost = _fit(fine, coarse[0], 0.07, 4)
    for side, level in FLUID_MM.items():
        # a little fluid and a flat diaphragm look alike on the way: try the other explanation too
        index = NAMES.index(f"effusion_{side}")
        if 15.0 < best[index] < 70.0:
            other = best.copy()
            other[index] = 0.0 if best[index] > level else 55.0
            other[NAMES.index("dome_height")] = PARAMETERS["dome_height"][0]
            other, other_cost = _fit(fine, other, 0.07, 4)
            if other_cost < cost:
                best, cost = other, other_cost
    return {**dict(zip(NAMES, best.tolist(), strict=True)), "cost": cost}


def _leftover(image: np.ndarray, value: dict[str, float]) -> tuple[np.ndarray, np.ndarray, Grid]:
    """What the fit leaves over, the weight of aerated lung in it (0..1), and x in the patient.

    The residual is divided by the fitted step from lung to soft tissue, so that it does not depend on
    exposure.
    """
    theta = np.array([[value[name] for name in NAMES]])
    patient = _patients(theta)
    anatomy = _anatomy(patient)
    x, y = _patient_grid(patient, READ_SIZE)
    film = image.ravel().astype(np.float64)
    expected = _explain(_path(patient, READ_SIZE).reshape(1, -1), film, np.ones_like(film))
    residual = image - expected.reshape(image.shape)
    heart = heart_chord(anatomy, patient["heart"], patient["heart_left"], x, y)
    room = np.zeros_like(x)
    height = anatomy.angle - anatomy.apex
    for name, side in SIDES.items():
        inset = patient[f"air_{name}"]
        chord = np.maximum(cavity_chord(anatomy, side, x, y, inset) - heart, 0.0)
        level = anatomy.dome(side) + anatomy.dome_height - patient[f"effusion_{name}"]
        free = np.clip(chord / 45.0, 0.0, 1.0) * (y < level - 6.0)
        for zone, share in (("upper", 0.28), ("lower", 0.6)):
            if value[f"{zone}_{name}"] > PATCH_DENSITY[zone]:
                cx, cy = side * (0.58 * anatomy.half_width - 0.5 * inset), anatomy.apex + share * height + 0.4 * inset
                free = free * (np.hypot(x - cx, y - cy) > 54.0)
        room = np.maximum(room, free)
    room = room[0]
    lung = image[room > 0.5]
    contrast = np.percentile(image, 97) - (np.percentile(lung, 30) if lung.size else 0.0)
    return residual / max(float(contrast), 0.05), room, x[0]


class Blob(NamedTuple):
    """A round spot in aerated lung, in pixels; see ``find_nodules`` for its strength."""

    row: int
    column: int
    strength: float
    side: str


def find_nodules(image: np.ndarray, value: dict[str, float]) -> list[Blob]:
    """Round spots in the aerated lung of a film fitted by ``value``.

    Strength is the weaker of the two principal curvatures at nodule scale: high for balls, low for the
    ridges that ribs and vessels are.
    """
    residual, room, x = _leftover(image, value)
    level = float(np.median(residual[room > 0.5])) if (room > 0.5).any() else 0.0
    # what is not lung takes the lung's own level, so that its border is no edge
    filled = room * residual + (1.0 - room) * level
    sigma = 2.6
    rr = ndimage.gaussian_filter(filled, sigma, order=(2, 0))
    cc = ndimage.gaussian_filter(filled, sigma, order=(0, 2))
    rc = ndimage.gaussian_filter(filled, sigma, order=(1, 1))
    weaker = -(sigma**2) * (0.5 * (rr + cc) + np.sqrt(0.25 * (rr - cc) ** 2 + rc**2))
    strength = np.where(room > 0.5, weaker, 0.0)
    peaks = (strength == ndimage.maximum_filter(strength, 7)) & (strength > 0)
    return [
        Blob(int(row), int(column), float(strength[row, column]), "left" if x[row, column] > 0 else "right")
        for row, column in zip(*np.nonzero(peaks), strict=True)
    ]


def measure(image: np.ndarray) -> dict[str, Any]:
    """Main findings of a frontal chest film, from pixels alone.

    ``image``: (128, 128), bone white, any linear grey scale. Keys as in the truth of
    ``chest_xray.make_case``: the findings of ``cxr_report.NORMAL``, ``cardiothoracic_ratio`` and
    ``nodules``. Raises ``ImageError`` for another shape or an image without contrast.
    """
    if image.shape != (READ_SIZE, READ_SIZE) or float(np.ptp(image)) < 1e-3:
        raise ImageError(
            "the chest X-ray reader cannot measure this image",
            found=f"shape {image.shape}, grey range {float(np.ptp(image)) if image.size else 0.0:.3f}",
            allowed=f"({READ_SIZE}, {READ_SIZE}) grey with visible contrast",
            next_step="resize the film to 128 x 128 grey pixels first",
        )
    value = fit_thorax(image)
    heights = {side: value[f"effusion_{side}"] for side in SIDES}
    wet = [side for side in SIDES if heights[side] > FLUID_MM[side]]
    effusion = "both" if len(wet) == 2 else wet[0] if wet else "none"
    airy = max(SIDES, key=lambda side: value[f"air_{side}"])
    patches = {(side, zone): value[f"{zone}_{side}"] / least for side in SIDES for zone, least in PATCH_DENSITY.items()}
    patch = max(patches, key=lambda place: patches[place])
    side, zone = patch if patches[patch] > 1.0 else ("none", "none")
    nodules = [found.side for found in find_nodules(image, value) if found.strength > NODULE_STRENGTH]
    ratio = value["heart"] - HEART_BIAS
    return {
        "cardiomegaly": ratio > ENLARGED_ABOVE,
        "effusion": effusion,
        "effusion_size": "none" if not wet else "large" if max(heights.values()) > LARGE_FLUID_MM else "small",
        "pneumothorax": airy if value[f"air_{airy}"] > COLLAPSE_MM else "none",
        "consolidation": side,
        "consolidation_zone": zone,
        "nodules_left": nodules.count("left"),
        "nodules_right": nodules.count("right"),
        "nodules": len(nodules),
        "cardiothoracic_ratio": round(ratio, 3),
    }

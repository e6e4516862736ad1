"""Colour fundus photographs: light reflected through layers of melanin, blood and lesions.

Each pixel is R = gain * base * exp(-sum of optical densities) per channel, the diffuse reflectance
of a layered retina with double-pass Beer-Lambert absorption (Preece & Claridge, IEEE TMI 23(9), 2004).
Melanin falls off as wavelength^-3.33, haemoglobin absorbs green and blue far more than red (Prahl's
tables), macular pigment absorbs blue only.

Conventions: the disc lies on the nasal side, so a disc in the image's right half is a right eye and in
its left half a left eye. ``upper`` and ``lower`` are halves of the image about the fovea.

Bins: cup-to-disc ratio (of diameters) ``small`` 0.25-0.42, ``large`` 0.62-0.80; haemorrhages are blots of
5-9 px at 128 px. Microaneurysms (dots under 2.5 px) may accompany them and are not counted.
"""

from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from healthgpt.phantoms import fundus_words, vessel_tree
from healthgpt.phantoms.case import Case
from healthgpt.phantoms.soft_shapes import apart, pixel_grid, smooth_field, soft_step, stamp

_MODALITY_SEED = 7011

# Relative double-pass optical density in the camera's R, G, B (about 620, 540, 460 nm).
MELANIN = np.array([0.36, 0.57, 0.98], np.float32)
HAEMOGLOBIN = np.array([0.16, 0.95, 0.88], np.float32)
MACULAR_PIGMENT = np.array([0.0, 0.05, 1.0], np.float32)
RETINAL_RADIUS_MM = 7.0
"""Half the width of a 45-50 degree field on the retina (about 0.29 mm a degree)."""


def _field_of_view(rng: np.random.Generator, size: int) -> tuple[np.ndarray, float, np.ndarray]:
    """Aperture (size, size) in [0, 1], its radius in px and its centre; often cut above and below."""
    rows, columns = pixel_grid(size)
    radius = size * rng.uniform(0.395, 0.49)
    centre = (size - 1) / 2 + rng.uniform(-0.01, 0.01, 2) * size
    rho = np.hypot(rows - centre[0], columns - centre[1])
    aperture = np.clip(radius - rho + 0.5, 0, 1)
    if rng.random() < 0.5:
        half_height = radius * rng.uniform(0.8, 0.92)
        aperture = aperture * np.clip(half_height - np.abs(rows - centre[0]) + 0.5, 0, 1)
    if rng.random() < 0.5:  # the camera's orientation notch
        notch = np.hypot(rows - (centre[0] - radius * 0.53), columns - (centre[1] + radius * 0.86)) < size * 0.022
        aperture = np.maximum(aperture, notch)
    return aperture.astype(np.float32), radius, centre


def _draw_findings(rng: np.random.Generator) -> dict[str, Any]:
    """Which findings the eye has; retinopathy in half of the eyes."""
    truth: dict[str, Any] = {
        "eye": "right" if rng.random() < 0.5 else "left",
        "cup": "large" if rng.random() < 0.5 else "small",
        "retinopathy": bool(rng.random() < 0.5),
        "haemorrhages": 0,
        "exudates": False,
        "exudate_half": None,
        "cotton_wool": False,
    }
    truth["cup_to_disc"] = round(
        float(rng.uniform(0.62, 0.8) if truth["cup"] == "large" else rng.uniform(0.25, 0.42)), 2
    )
    if truth["retinopathy"]:
        truth["haemorrhages"] = int(rng.choice(4, p=[0.1, 0.3, 0.3, 0.3]))
        truth["exudates"] = bool(truth["haemorrhages"] == 0 or rng.random() < 0.667)
        truth["cotton_wool"] = bool(rng.random() < 0.6)
        if truth["exudates"]:
            truth["exudate_half"] = "upper" if rng.random() < 0.5 else "lower"
    return truth


def make_case(seed: int, size: int = 128) -> Case:
    """One eye, macula-centred.

    ``image`` and ``clean``: (size, size, 3) RGB, float32 in [0, 1], black outside the field of view.
    ``truth``: eye, cup, cup_to_disc, retinopathy, haemorrhages, exudates, exudate_half, cotton_wool,
    and ``disc`` / ``fovea`` positions (row, column) as fractions of ``size``.
    """
    rng = np.random.default_rng([seed, _MODALITY_SEED])
    truth = _draw_findings(rng)
    aperture, radius, centre = _field_of_view(rng, size)
    rows, columns = pixel_grid(size)
    unit = size / 128

    nasal = 1.0 if truth["eye"] == "right" else -1.0
    fovea = centre + radius * np.array([rng.uniform(-0.04, 0.12), -nasal * rng.uniform(-0.02, 0.1)])
    disc = fovea + radius * np.array([rng.uniform(-0.16, 0.04), nasal * rng.uniform(0.64, 0.76)])
    disc[1] = centre[1] + np.clip(disc[1] - centre[1], -0.76 * radius, 0.76 * radius)
    disc_radius = radius * rng.uniform(0.125, 0.165)
    truth["disc"] = [round(float(v) / size, 4) for v in disc]
    truth["fovea"] = [round(float(v) / size, 4) for v in fovea]

    # melanin and choroid: broad mottling, in some eyes a tigroid pattern of choroidal vessels
    melanin = rng.uniform(0.45, 1.25) * (1 + 0.07 * smooth_field(rng, size, 6) + 0.03 * smooth_field(rng, size, 26))
    if rng.random() < 0.25:
        network = 1 - 2 * np.minimum(np.abs(smooth_field(rng, size, 13)), 1)
        melanin = melanin - rng.uniform(0.06, 0.2) * network
    to_fovea = np.hypot(rows - fovea[0], columns - fovea[1]) / radius
    fovea_depth = rng.uniform(0.25, 0.75)
    pit = np.exp(-((to_fovea / rng.uniform(0.11, 0.17)) ** 2))
    melanin = melanin + fovea_depth * (pit + 0.25 * np.exp(-((to_fovea / 0.32) ** 2)))
    pigment = 0.35 * fovea_depth * pit
    blood = rng.uniform(0.3, 0.75) * (1 + 0.05 * smooth_field(rng, size, 4))

    # optic disc: no pigment epithelium, a vascular rim, a pale cup
    stretch = rng.uniform(1.0, 1.14)
    rho_disc = np.hypot((rows - disc[0]) / stretch, columns - disc[1]) / disc_radius
    disc_mask = soft_step(rho_disc, 2.0 * unit / disc_radius)
    cup_radius = disc_radius * truth["cup_to_disc"]
    cup_centre = disc + rng.normal(0, 0.03, 2) * disc_radius
    rho_cup = np.hypot((rows - cup_centre[0]) / stretch, columns - cup_centre[1]) / cup_radius
    cup_mask = soft_step(rho_cup, 1.8 * unit / cup_radius) * disc_mask
    peripapillary = np.exp(-np.maximum(rho_disc - 1, 0) * 3.0) * (1 - disc_mask)
    melanin = (melanin - rng.uniform(0.0, 0.25) * peripapillary) * (1 - disc_mask)
    blood = blood * (1 - disc_mask) + disc_mask * (rng.uniform(0.42, 0.65) * (1 - cup_mask))

    # the vessels enter on the nasal wall of the cup and leave its temporal side bare
    entry = cup_centre + np.array([0.0, nasal * rng.uniform(0.35, 0.6) * disc_radius])
    arteries, veins = vessel_tree.grow(rng, entry, fovea, radius, unit * rng.uniform(1.7, 2.6))
    artery_map, vein_map = (vessel_tree.thickness_map(tree, size) for tree in (arteries, veins))
    contrast = rng.uniform(0.55, 1.0)
    # arterial blood is oxygenated: it hides less red and lets the reflex through
    vessels = contrast * (0.6 * artery_map + 0.95 * vein_map) * (1 - 0.6 * cup_mask - 0.2 * disc_mask)

    lesion_blood, exudate, wool = _lesions(rng, truth, size, radius, centre, fovea, disc, disc_radius, vessels)

    density = (
        melanin[..., None] * MELANIN
        + (blood + vessels + lesion_blood)[..., None] * HAEMOGLOBIN
        + pigment[..., None] * MACULAR_PIGMENT
    )
    base = np.array([1.0, 0.98, 0.86], np.float32)
    retina = base * np.exp(-np.maximum(density, 0.0))
    retina += exudate[..., None] * (np.array([1.0, 0.88, 0.40], np.float32) - retina)
    retina += wool[..., None] * (np.array([0.98, 0.92, 0.84], np.float32) - retina)

    clean = _photograph(rng, retina, aperture, radius, centre, disc_mask, size)
    noise = rng.standard_normal((size, size, 3), dtype=np.float32)
    amount = rng.uniform(0.004, 0.025)
    image = clean + noise * amount * (np.sqrt(np.maximum(clean, 0.0)) + 0.1)
    image = np.clip(image, 0, 1).astype(np.float32)
    return Case(
        modality="fundus",
        seed=seed,
        region="retina",
        image=image,
        clean=clean,
        truth=truth,
        questions=fundus_words.questions(rng, truth),
        report=fundus_words.report(rng, truth),
        pixel_spacing_mm=round(RETINAL_RADIUS_MM / radius, 4),
    )


def _lesions(
    rng: np.random.Generator,
    truth: dict[str, Any],
    size: int,
    radius: float,
    centre: np.ndarray,
    fovea: np.ndarray,
    disc: np.ndarray,
    disc_radius: float,
    vessels: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blood of haemorrhages, and coverage by exudate and by cotton wool; each (size, size)."""
    unit = size / 128
    lesion_blood, exudate, wool = (np.zeros((size, size), np.float32) for _ in range(3))
    if not truth["retinopathy"]:
        return lesion_blood, exudate, wool
    taken = [[*disc, disc_radius + 7 * unit], [*fovea, 0.24 * radius]]
    bounds = (
        (centre[0] - 0.8 * radius, centre[1] - 0.85 * radius),
        (centre[0] + 0.8 * radius, centre[1] + 0.85 * radius),
    )

    def in_field(row: float, column: float) -> bool:
        rise = abs(row - centre[0])
        return rise < 0.72 * radius and np.hypot(rise, column - centre[1]) < 0.84 * radius

    if truth["exudates"]:
        direction = -1 if truth["exudate_half"] == "upper" else 1
        temporal = np.sign(fovea[1] - disc[1])
        heart = fovea + radius * np.array([direction * rng.uniform(0.3, 0.42), temporal * rng.uniform(-0.15, 0.4)])
        count = int(rng.integers(7, 16))
        spots = heart + rng.normal(0, 0.085 * radius, (count, 2))
        beyond = (spots[:, 0] - fovea[0]) * direction  # the cluster stays in its half
        spots[:, 0] += direction * np.maximum(0.1 * radius - beyond, 0)
        radii = unit * rng.uniform(0.9, 2.4, (count, 1)) * np.array([1.0, 0.8])
        stamp(exudate, spots, radii, rng.uniform(0, np.pi, count), rng.uniform(0.7, 1.0, count), edge_px=unit)
        taken.append([*heart, 0.26 * radius])
    if truth["cotton_wool"]:
        tuft = apart(rng, 1, 1, *bounds, np.array(taken), allowed=in_field, attempts=200)
        axes = unit * rng.uniform(3.8, 5.6, (len(tuft), 1)) * np.array([1.0, rng.uniform(0.65, 0.9)])
        stamp(wool, tuft, axes, rng.uniform(0, np.pi, len(tuft)), np.full(len(tuft), 0.8), edge_px=4.0 * unit)
        truth["cotton_wool"] = bool(len(tuft))
        taken.extend([row, column, 10 * unit] for row, column in tuft)
    # blots are kept off vessels, where nobody could tell them apart at this resolution
    crowded = gaussian_filter(vessels, 2.2 * unit)

    def on_bare_retina(row: float, column: float) -> bool:
        return in_field(row, column) and crowded[int(row), int(column)] < 0.1

    blots = apart(rng, truth["haemorrhages"], 13 * unit, *bounds, np.array(taken), allowed=on_bare_retina, attempts=200)
    truth["haemorrhages"] = len(blots)
    truth["retinopathy"] = bool(len(blots) or truth["exudates"] or truth["cotton_wool"])
    axes = unit * rng.uniform(2.6, 4.3, (len(blots), 1)) * np.array([1.0, 0.85])
    stamp(
        lesion_blood,
        blots,
        axes,
        rng.uniform(0, np.pi, len(blots)),
        rng.uniform(1.0, 1.6, len(blots)),
        edge_px=1.4 * unit,
        wobble=rng.normal(0, 0.07, (len(blots), 2)),
    )
    dots = apart(rng, int(rng.integers(0, 4)), 6 * unit, *bounds, np.array(taken), allowed=on_bare_retina)
    stamp(lesion_blood, dots, np.full((len(dots), 2), 0.8 * unit), np.zeros(len(dots)), np.full(len(dots), 0.6))
    return lesion_blood, exudate, wool


def _photograph(
    rng: np.random.Generator,
    retina: np.ndarray,
    aperture: np.ndarray,
    radius: float,
    centre: np.ndarray,
    disc_mask: np.ndarray,
    size: int,
) -> np.ndarray:
    """Flash, vignetting, media haze, white balance and lens blur; float32 in [0, 1], black outside."""
    rows, columns = pixel_grid(size)
    flash = centre + rng.normal(0, 0.14, 2) * radius
    falloff = np.hypot(rows - flash[0], columns - flash[1]) / radius
    light = 1.0 / (1.0 + rng.uniform(0.1, 0.55) * falloff**2) ** 2
    balance = np.array([rng.uniform(0.85, 1.15), rng.uniform(0.7, 0.93), rng.uniform(0.2, 1.0)], np.float32)
    if rng.random() < 0.1:  # a few cameras give a pink image
        balance = np.array([1.25, 0.72, 0.85], np.float32)
    tone = retina[disc_mask < 0.01].mean(axis=0)
    exposure = rng.uniform(0.5, 0.95) / float(tone[0] * balance[0])
    photo = retina * (balance * exposure) * light[..., None]
    haze = rng.uniform(0.0, 0.16)
    veil = np.array([0.85, 0.55, 0.25], np.float32) * rng.uniform(0.5, 0.9)
    photo = photo * (1 - haze) + haze * veil * light[..., None]
    if rng.random() < 0.25:  # stray light: a bright crescent at the rim
        angle = rng.uniform(0, 2 * np.pi)
        lean = ((rows - centre[0]) * np.sin(angle) + (columns - centre[1]) * np.cos(angle)) / radius
        glow = np.clip((lean - 0.72) / 0.28, 0, 1) ** 1.5 * rng.uniform(0.1, 0.4)
        photo += glow[..., None] * np.array([0.9, 0.7, 0.45], np.float32)
    photo = 1 - np.exp(-photo * 1.25) if rng.random() < 0.4 else photo  # some cameras roll highlights off
    blur = rng.uniform(0.2, 0.9) * size / 128
    photo = gaussian_filter(photo, (blur, blur, 0), truncate=2.5)
    return np.clip(photo * aperture[..., None], 0, 1).astype(np.float32)

"""OCT phantoms: a spectral-domain B-scan of the macula from backscatter in depth.

Image formation: each layer of ``retina`` has a mean backscatter; light is attenuated on its way down and
back (single scattering, Beer-Lambert; Schmitt et al., Phys Med Biol 38, 1993), less under vessels;
sensitivity rolls off with depth; speckle is fully developed with exponential intensity, averaged over
frames (gamma distributed); shot noise sets the floor; the display is logarithmic.
"""

import numpy as np
from scipy import ndimage

from healthgpt.phantoms import oct_words, retina
from healthgpt.phantoms.case import Case
from healthgpt.phantoms.retina import LAYERS, Retina

SEED_CONSTANT = 7002
SAMPLES_PER_PIXEL = 2
"""Depth is sampled twice as finely as the picture, then averaged in pairs."""

VITREOUS_DB, FLUID_DB, DRUSE_DB, MEMBRANE_DB = -46.0, -44.0, -12.0, -1.0


def make_case(seed: int, size: int = 128) -> Case:
    """One OCT B-scan; the same for the same seed.

    The image is (size, size) grey, float32 in [0, 1]: vitreous above, choroid below. The scan is 6 mm
    wide; ``truth["axial_spacing_um"]`` is the height of a picture element, ``pixel_spacing_mm`` its width.
    ``truth``: the findings of ``retina.grow``. Left and right are halves of the scan.
    """
    rng = np.random.default_rng([seed, SEED_CONSTANT])
    width_mm = float(rng.uniform(5.8, 6.2))
    depth_um = float(rng.uniform(1150, 1300))
    x_mm = (np.arange(size) + 0.5) / size * width_mm - width_mm / 2
    eye = retina.grow(rng, x_mm)
    base_um = depth_um * float(rng.uniform(0.30, 0.36))
    height = _heights_um(size, depth_um) - base_um - eye.centre_line[None, :]
    backscatter, loss = _maps(rng, eye, height, x_mm)
    image, clean = _detect(rng, backscatter, loss, depth_um / (SAMPLES_PER_PIXEL * size))
    truth = {**eye.findings, "axial_spacing_um": round(depth_um / size, 3)}
    return Case(
        modality="oct",
        seed=seed,
        region="eye",
        image=image,
        clean=clean,
        truth=truth,
        questions=oct_words.questions(rng, truth),
        report=oct_words.report(rng, truth),
        pixel_spacing_mm=width_mm / size,
    )


def _heights_um(size: int, depth_um: float) -> np.ndarray:
    """Height in um above the lower border of every depth sample, shape (2 size, 1)."""
    samples = SAMPLES_PER_PIXEL * size
    return depth_um * (1 - (np.arange(samples) + 0.5) / samples)[:, None]


def _maps(rng: np.random.Generator, eye: Retina, height: np.ndarray, x_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Backscatter in dB and round-trip loss in dB per um; ``height`` in um above Bruch's membrane."""
    shape = height.shape
    contrast = rng.uniform(0.85, 1.05)
    # Cumulative layer index: how many boundaries lie above each sample.
    levels = np.array([VITREOUS_DB, *(contrast * (db + 1) - 1 for *_, db in LAYERS), 0.0])
    losses = np.array([0.0, *([0.010] * (len(LAYERS) - 1)), 0.12, 0.022])
    layer = np.zeros(shape, np.intp)
    for boundary in eye.boundaries:
        layer += height < boundary[None, :]
    backscatter, loss = levels[layer], losses[layer]
    choroid = layer == len(LAYERS) + 1
    texture = ndimage.zoom(rng.standard_normal((24, 20)), (shape[0] / 24, shape[1] / 20), order=1)
    choroid_um = rng.uniform(180, 320)
    vessels = 7.0 * (texture < -0.5) * (height > -choroid_um)
    choroid_db = rng.uniform(-11, -7) + 1.2 * texture - vessels - 3.0 * (height < -choroid_um)
    backscatter = np.where(choroid, choroid_db, backscatter)
    deposit = (height < eye.drusen[None, :]) & (height > 0)
    backscatter = np.where(deposit, DRUSE_DB, backscatter)
    fluid = (height > eye.fluid[0][None, :]) & (height < eye.fluid[1][None, :])
    for x, up, half_width, half_height in eye.cysts:
        fluid |= ((x_mm[None, :] - x) / half_width) ** 2 + ((height - up) / half_height) ** 2 < 1
    backscatter = np.where(fluid, FLUID_DB, backscatter)
    loss = np.where(fluid, 0.0, loss)
    above = height - eye.boundaries[0][None, :]
    membrane = (above > -4) & (above < eye.membrane[None, :] - 4) & (eye.membrane[None, :] > 0)
    backscatter = np.where(membrane, MEMBRANE_DB, backscatter)
    limiting = np.abs(height - eye.boundaries[6][None, :]) < 5
    backscatter = np.where(limiting & ~fluid, backscatter + 5, backscatter)
    shadow = np.zeros(shape[1])
    for _ in range(int(rng.integers(1, 5))):
        place, radius = rng.uniform(x_mm[0], x_mm[-1]), rng.uniform(0.04, 0.08)
        if abs(place) < 0.7:
            continue  # the fovea has no vessels
        column = int(np.argmin(np.abs(x_mm - place)))
        up = eye.boundaries[1, column]
        lumen = ((x_mm[None, :] - place) / radius) ** 2 + ((height - up) / 30) ** 2 < 1
        backscatter = np.where(lumen, -6.0, backscatter)
        shadow += rng.uniform(4, 9) * np.exp(-(((x_mm - place) / (0.8 * radius)) ** 2))
    loss = loss + np.where(np.abs(above + 40) < 20, shadow[None, :] / 40, 0)
    backscatter = backscatter + 1.0 * ndimage.zoom(
        rng.standard_normal((32, 24)), (shape[0] / 32, shape[1] / 24), order=1
    ) * (layer > 0)
    return backscatter, loss


def _detect(
    rng: np.random.Generator, backscatter: np.ndarray, loss: np.ndarray, step_um: float
) -> tuple[np.ndarray, np.ndarray]:
    """The B-scan as acquired and its speckle-free, noise-free mean, both (size, size) float32 in [0, 1]."""
    samples = backscatter.shape[0]
    depth = np.linspace(0, 1, samples)[:, None]
    roll_off = rng.uniform(0, 5) * depth**2
    illumination = ndimage.zoom(rng.uniform(-2.5, 1.0, 5), backscatter.shape[1] / 5, order=1)[None, :]
    signal = 10 ** ((backscatter - np.cumsum(loss, axis=0) * step_um - roll_off + illumination) / 10)
    signal = ndimage.gaussian_filter(signal, (rng.uniform(0.7, 1.1), rng.uniform(0.35, 0.6)))
    frames = float(rng.uniform(1.2, 6.0))
    floor = 10 ** (rng.uniform(-42, -35) / 10)
    speckled = signal * rng.gamma(frames, 1 / frames, signal.shape) + floor * rng.gamma(
        frames, 1 / frames, signal.shape
    )
    speckled = ndimage.gaussian_filter(speckled, (0.4, 0.4))
    range_db, gain_db = rng.uniform(36, 43), rng.uniform(-4, 2)
    return _display(speckled, range_db, gain_db), _display(signal + 1e-9, range_db, gain_db)


def _display(intensity: np.ndarray, range_db: float, gain_db: float) -> np.ndarray:
    """Logarithmic grey scale over ``range_db``, pairs of depth samples averaged."""
    shown = np.clip(1 + (10 * np.log10(intensity) + gain_db) / range_db, 0, 1)
    return (0.5 * (shown[0::2] + shown[1::2])).astype(np.float32)

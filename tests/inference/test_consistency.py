"""Drawings fitted to measurements: what was measured well is kept, noise is not copied, a right drawing stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from healthgpt.imaging.degrade import truncate_kspace
from healthgpt.inference.consistency import fit_picture, fitted, measured_part, noise_floor

SIDE = 96
WHOLE = (slice(None), slice(None))


def truth(seed=0):
    """A body with soft-edged organs on black air, in [0, 255]."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    image = np.where(rows**2 + columns**2 < 0.35**2, 120.0, 0.0)
    for _ in range(5):
        row, column = rng.uniform(-0.2, 0.2, 2)
        image[(rows - row) ** 2 + (columns - column) ** 2 < rng.uniform(0.03, 0.1) ** 2] = rng.uniform(40, 240)
    return gaussian_filter(image, 0.6)


def measured(image):
    return truncate_kspace(image / 255).astype(np.float64) * 255


def wrong(image, seed=0):
    """A drawing of ``image`` with wrong brightness inside and edges displaced by a pixel."""
    return np.clip(np.roll(image, 1, axis=1) * np.random.default_rng(seed).uniform(0.8, 1.15), 0, 255)


def error(image, reference):
    return float(np.sqrt(np.mean((image - reference) ** 2)))


@given(st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_clean_measurements_are_kept(seed):
    image = truth(seed)
    drawing, given_image = wrong(image, seed), measured(image)
    result = fitted(drawing, given_image)
    assert result.shape == image.shape
    assert result.min() >= 0
    assert result.max() <= 255
    assert error(measured(result), given_image) < 0.35 * error(measured(drawing), given_image)
    assert error(result, image) < min(error(drawing, image), error(given_image, image))


@given(st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_a_perfect_drawing_stays(seed):
    """Within a grey level: the ringing of its own measurement looks a little like a noise floor."""
    image = truth(seed)
    change = error(fitted(image, measured(image)), image)
    assert change < 1
    assert change < 0.2 * error(measured(image), image)


def test_noise_is_not_copied():
    image, rng = truth(), np.random.default_rng(0)
    scan = np.hypot(0.9 * image + 9 * rng.standard_normal(image.shape), 9 * rng.standard_normal(image.shape))
    scan = measured(np.clip(scan, 0, 255))
    result = fitted(image, scan)
    assert noise_floor(image, scan) == pytest.approx(9 * np.sqrt(np.pi / 2), rel=0.2)
    air = image < 1
    assert np.abs(result - image)[air].mean() < 0.15 * np.abs(scan - image)[air].mean()
    assert error(result, image) < 0.4 * error(scan, image)


def test_a_flat_drawing_of_a_flat_measurement():
    flat = np.full((16, 40), 100.0)
    np.testing.assert_allclose(fitted(flat, flat), flat)
    np.testing.assert_allclose(fitted(np.zeros((8, 8)), np.zeros((8, 8))), 0)


@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_any_shape_grey_stays_grey_and_colour_colour(height, width, colour, seed):
    rng = np.random.default_rng(seed)
    drawing = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    given_image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    given_image[0, 0] = (1, 2, 3)
    if not colour:
        given_image[:] = given_image[..., :1]
    before = drawing.copy(), given_image.copy()
    result = fit_picture(drawing, given_image, WHOLE)
    assert result.dtype == np.uint8
    assert result.shape == ((height, width, 3) if colour else (height, width))
    assert np.array_equal(drawing, before[0])
    assert np.array_equal(given_image, before[1])


def test_the_border_is_the_input_s_and_colours_are_apart():
    image = np.rint(truth()).astype(np.uint8)
    drawing = np.stack([np.rint(wrong(truth(), seed)).astype(np.uint8) for seed in range(3)], axis=-1)
    given_image = np.stack([np.rint(measured(image * part)).astype(np.uint8) for part in (1.0, 0.8, 0.5)], axis=-1)
    window = slice(0, SIDE), slice(10, 80)
    result = fit_picture(drawing, given_image, window)
    assert np.array_equal(result[:, :10], given_image[:, :10])
    assert np.array_equal(result[:, 80:], given_image[:, 80:])
    alone = fitted(drawing[window][..., 1].astype(float), given_image[window][..., 1].astype(float))
    assert np.array_equal(result[window][..., 1], np.rint(alone))


@pytest.mark.parametrize(("longest", "part"), [(512, 0.25), (128, 0.25), (64, 0.25), (32, 0.125), (1, 0.5 / 128)])
def test_enlarged_pictures_tell_less(longest, part):
    assert measured_part(longest, 128) == part


def test_what_is_not_measured_stays_drawn():
    """A frequency above the measured part, in an otherwise right drawing, is the drawing's own."""
    image = truth() * 0.5 + 60
    waves = 20 * np.sin(2 * np.pi * 30 * np.arange(SIDE) / SIDE)[None]
    np.testing.assert_allclose(fitted(image + waves, measured(image)), image + waves, atol=1.5)

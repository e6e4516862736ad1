"""Fingerprints: copies stay near, other pictures far, flat pictures near nothing."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage
from scipy.ndimage import gaussian_filter

from healthgpt.errors import ImageError
from healthgpt.imaging.fingerprint import (
    NEAR_DISTANCE,
    fingerprint,
    fingerprints,
    is_flat,
)


def picture(seed: int, height: int = 240, width: int = 300) -> np.ndarray:
    """Soft random shapes with something at every scale, as anatomy has."""
    draw = np.random.default_rng(seed)
    layers = sum(sigma * gaussian_filter(draw.standard_normal((height, width)), sigma) for sigma in (3, 9, 27))
    return np.clip(128 + 45 * layers / layers.std(), 0, 255).astype(np.uint8)


def as_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    PillowImage.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(PillowImage.open(stream))


def resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(PillowImage.fromarray(pixels).resize((width, height)))


def boxed(pixels: np.ndarray, grey: int) -> np.ndarray:
    side = max(pixels.shape)
    square = np.full((side, side), grey, np.uint8)
    top, left = (side - pixels.shape[0]) // 2, (side - pixels.shape[1]) // 2
    square[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return square


def apart(one: np.ndarray, other: np.ndarray) -> int:
    pairs = fingerprints(one)[:, None] ^ fingerprints(other)[None]
    return int(np.bitwise_count(pairs).sum(axis=-1).min())


COPIES = {
    "jpeg": lambda pixels: as_jpeg(pixels, 50),
    "half": lambda pixels: resized(pixels, 150, 120),
    "squashed": lambda pixels: resized(pixels, 224, 224),
    "brighter": lambda pixels: np.clip(pixels.astype(int) + 15, 0, 255).astype(np.uint8),
    "softer": lambda pixels: (pixels * 0.8 + 20).astype(np.uint8),
    "colour": lambda pixels: np.dstack([pixels] * 3),
    "boxed": lambda pixels: boxed(pixels, 0),
    "boxed and re-encoded": lambda pixels: as_jpeg(resized(boxed(pixels, 255), 256, 256), 80),
}


@pytest.mark.parametrize("copy", list(COPIES))
@pytest.mark.parametrize("seed", range(5))
def test_a_copy_is_near(copy, seed):
    assert apart(picture(seed), COPIES[copy](picture(seed))) <= NEAR_DISTANCE


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_other_pictures_are_far(one, other):
    distance = apart(picture(one, 60, 60), picture(other, 60, 60))
    assert distance == 0 if one == other else distance > 3 * NEAR_DISTANCE


def test_a_mirrored_picture_is_another():
    assert apart(picture(0), picture(0)[:, ::-1]) > 3 * NEAR_DISTANCE


def test_the_coefficients_do_not_depend_on_how_finely_a_picture_is_cut():
    pixels = picture(3, 40, 52)
    assert apart(pixels, pixels.repeat(5, axis=0).repeat(3, axis=1)) == 0


@pytest.mark.parametrize("noise", [0, 1])
def test_a_flat_picture_has_the_empty_fingerprint(noise):
    pixels = 90 + np.random.default_rng(0).integers(0, noise + 1, (64, 64))
    assert is_flat(fingerprints(pixels.astype(np.uint8))).all()
    assert not is_flat(fingerprints(picture(0))).any()


def test_a_picture_without_bars_has_one_fingerprint():
    assert fingerprints(picture(0)).shape == (1, 4)
    assert fingerprints(boxed(picture(0), 0)).shape == (2, 4)
    assert fingerprint(picture(0)).dtype == np.uint64


def test_one_pixel_is_flat():
    assert is_flat(fingerprint(np.array([[200]], np.uint8)))


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4)), np.zeros(4, np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_other_arrays_are_refused(pixels):
    with pytest.raises(ImageError, match="fingerprint"):
        fingerprint(pixels)

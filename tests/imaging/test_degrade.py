"""Coarser images: what k-space truncation and the bicubic way keep, what they remove, and that they say which."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthgpt.errors import InputError
from healthgpt.imaging.degrade import bicubic_reduce, degrade, truncate_kspace


def test_low_frequencies_stay_and_high_ones_go():
    across = np.arange(64) / 64
    slow = 0.5 + 0.3 * np.sin(2 * np.pi * 3 * across)
    fast = 0.2 * np.sin(2 * np.pi * 20 * across)
    image = np.tile(slow + fast, (64, 1))
    np.testing.assert_allclose(truncate_kspace(image, 4), np.tile(slow, (64, 1)), atol=1e-5)
    np.testing.assert_allclose(truncate_kspace(image.T, 4), np.tile(slow, (64, 1)).T, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 4, 8]), st.booleans())
def test_shape_range_and_mean_are_kept(seed, factor, colour):
    image = np.random.default_rng(seed).uniform(0.3, 0.7, (48, 40, 3) if colour else (48, 40))
    low = truncate_kspace(image, factor)
    assert low.shape == image.shape
    assert low.dtype == np.float32
    assert low.min() >= 0
    assert low.max() <= 1
    np.testing.assert_allclose(low.mean(), image.mean(), atol=1e-4)
    assert low.std() <= image.std() + 1e-6


def test_truncating_twice_changes_nothing_more():
    image = np.random.default_rng(0).uniform(0.4, 0.6, (64, 64))
    once = truncate_kspace(image, 4)
    np.testing.assert_allclose(truncate_kspace(once, 4), once, atol=1e-5)


@pytest.mark.parametrize("factor", [0, -2, 65])
def test_an_impossible_factor_is_refused(factor):
    with pytest.raises(InputError, match="factor"):
        truncate_kspace(np.zeros((64, 64)), factor)
    with pytest.raises(InputError, match="factor"):
        bicubic_reduce(np.zeros((64, 64)), factor)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 4]), st.booleans(), st.integers(16, 50))
def test_bicubic_keeps_shape_range_and_mean(seed, factor, colour, height):
    image = np.random.default_rng(seed).uniform(0.3, 0.7, (height, 40, 3) if colour else (height, 40))
    low = bicubic_reduce(image, factor)
    assert low.shape == image.shape
    assert low.dtype == np.float32
    assert low.min() >= 0
    assert low.max() <= 1
    assert low.mean() == pytest.approx(image.mean(), abs=0.02)
    if factor == 1:
        np.testing.assert_allclose(low, image, atol=1e-5)
    else:
        assert low.std() < image.std()


def test_bicubic_keeps_a_ramp_and_removes_stripes():
    ramp = np.tile(np.linspace(0.2, 0.8, 64), (64, 1))
    np.testing.assert_allclose(bicubic_reduce(ramp)[:, 8:-8], ramp[:, 8:-8], atol=5e-3)
    stripes = 0.5 + 0.3 * (-1.0) ** np.indices((64, 64)).sum(axis=0)
    assert bicubic_reduce(stripes).std() < 0.02


def test_the_method_is_told():
    image = np.random.default_rng(0).uniform(0, 1, (32, 32))
    for method, function, words in (
        ("k-space", truncate_kspace, "k-space truncation x4"),
        ("bicubic", bicubic_reduce, "bicubic x4"),
    ):
        low, told = degrade(image, method)
        assert told == words
        np.testing.assert_array_equal(low, function(image, 4))

"""Augmentation of pairs: both sides move alike, the same seed does the same, the words say what was done."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthgpt.data.augment import (
    LARGEST_SCALING,
    LARGEST_SHIFT,
    LARGEST_TURN_DEG,
    Augmentation,
    draw_augmentation,
)

seeds = st.integers(0, 2**63 - 1)


def blobs(seed: int, height: int = 60, width: int = 48) -> np.ndarray:
    """Smooth bright spots on black, away from the border."""
    draw = np.random.default_rng(seed)
    y, x = np.indices((height, width))
    picture = np.zeros((height, width))
    for _ in range(4):
        row, column = draw.uniform(0.35, 0.65, 2) * (height, width)
        picture += np.exp(-((y - row) ** 2 + (x - column) ** 2) / 18)
    return np.rint(255 * picture / picture.max()).astype(np.uint8)


@settings(max_examples=40, deadline=None)
@given(seeds, st.booleans())
def test_both_sides_of_a_pair_move_alike(seed, may_flip):
    """Moving a function of a picture is the function of the moved picture: nothing is done to one side alone."""
    drawn = draw_augmentation(seed, may_flip=may_flip)
    source = blobs(seed % 1000)
    moved, negative = drawn.moved(source).astype(int), drawn.moved(source // 2).astype(int)
    assert moved.shape == source.shape
    assert np.abs(moved // 2 - negative).max() <= 1
    colour = drawn.moved(np.stack([source] * 3, axis=-1))
    np.testing.assert_array_equal(colour[..., 1], moved)


@settings(max_examples=40, deadline=None)
@given(seeds, st.booleans())
def test_a_seed_draws_the_same_within_bounds(seed, may_flip):
    drawn = draw_augmentation(seed, may_flip=may_flip)
    assert drawn == draw_augmentation(seed, may_flip=may_flip)
    assert may_flip or not drawn.flip
    assert abs(drawn.turn_deg) <= LARGEST_TURN_DEG
    assert abs(drawn.scale - 1) <= LARGEST_SCALING
    assert max(map(abs, drawn.shift)) <= LARGEST_SHIFT


def test_seeds_differ_and_flip_about_half_the_time():
    drawn = [draw_augmentation(seed, may_flip=True) for seed in range(200)]
    assert len({one.turn_deg for one in drawn}) == 200
    assert 70 < sum(one.flip for one in drawn) < 130


def test_nothing_drawn_changes_nothing():
    source = blobs(1)
    np.testing.assert_array_equal(Augmentation().moved(source), source)
    np.testing.assert_array_equal(Augmentation(flip=True).moved(source), source[:, ::-1])


def test_directions_are_those_the_words_say():
    source = np.zeros((41, 41), np.uint8)
    source[20, 30] = 255  # to the right of the middle
    up = np.unravel_index(Augmentation(turn_deg=90).moved(source).argmax(), source.shape)
    assert up == (10, 20)  # counter-clockwise: it goes up
    assert np.unravel_index(Augmentation(shift=(4 / 41, -7 / 41)).moved(source).argmax(), source.shape) == (13, 34)
    wide = np.zeros((41, 41), np.uint8)
    wide[18:23, 28:33] = 255
    rows, columns = np.nonzero(Augmentation(scale=1.5).moved(wide) > 127)
    assert columns.mean() == pytest.approx(35, abs=0.6)
    assert rows.mean() == pytest.approx(20, abs=0.6)


def test_the_words():
    words = str(Augmentation(True, 3.24, 1.04, (0.021, -0.004)))
    assert words == "augment flip rotate +3.2 deg scale 1.04 shift +2.1 -0.4 %"

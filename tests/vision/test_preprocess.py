"""Display pixels to tower pixels: squares, borders, values."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from healthgpt.vision.preprocess import Preprocessing


@given(st.integers(1, 70), st.integers(1, 70), st.booleans(), st.sampled_from(["pad", "squash"]))
@settings(max_examples=40, deadline=None)
def test_any_picture_becomes_a_square_in_range(height, width, colour, fit):
    shape = (height, width, 3) if colour else (height, width)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    tensor = Preprocessing(size=16, fit=fit)(pixels)
    assert tensor.shape == (3, 16, 16)
    assert tensor.dtype == torch.float32
    assert -1.0 <= float(tensor.min()) <= float(tensor.max()) <= 1.0


def test_padding_keeps_the_aspect_and_fills_with_the_colour():
    wide = np.full((8, 16), 255, dtype=np.uint8)
    square = Preprocessing(size=16, pad_colour=(10, 20, 30)).square(wide)
    assert (square[:4] == (10, 20, 30)).all()
    assert (square[4:12] == 255).all()
    assert (Preprocessing(size=16, fit="squash").square(wide) == 255).all()


def test_a_picture_of_the_right_size_is_untouched():
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert np.array_equal(Preprocessing(size=16).square(pixels), pixels)
    values = Preprocessing(size=16)(pixels)
    assert torch.allclose(values, torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1, atol=1e-6)


def test_settings_it_does_not_know_are_refused():
    with pytest.raises(ValueError, match="Extra inputs"):
        Preprocessing(size=16, surprise=1)


@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([8, 16, 31]))
@settings(max_examples=60, deadline=None)
def test_the_window_holds_the_picture_and_no_border(height, width, size):
    preprocessing = Preprocessing(size=size, pad_colour=(255, 0, 0))
    inside = np.zeros((size, size), dtype=bool)
    inside[preprocessing.window(height, width)] = True
    whole = size * min(height, width) / max(height, width)
    assert abs(inside.sum() / size - whole) <= 2
    assert Preprocessing(size=size, fit="squash").window(height, width) == (slice(0, size), slice(0, size))


def test_the_window_of_a_wide_picture():
    preprocessing = Preprocessing(size=16, pad_colour=(10, 20, 30))
    square = preprocessing.square(np.full((8, 16), 255, dtype=np.uint8))
    assert preprocessing.window(8, 16) == (slice(4, 12), slice(0, 16))
    assert (square[preprocessing.window(8, 16)] == 255).all()

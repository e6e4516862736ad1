"""Windows and percentiles: values to the grey a screen shows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthgpt.imaging.image import Image, Window
from healthgpt.imaging.intensity import WINDOWS, to_display


def hounsfield(values, window=None) -> Image:
    return Image(np.array(values, np.float32), "hounsfield", "ct", window=window)


def test_the_soft_tissue_window_is_the_default():
    assert to_display(hounsfield([[-1000, -160, 40, 240, 3000]])).tolist() == [[0, 0, 128, 255, 255]]


def test_the_files_window_beats_the_table_and_the_callers_beats_both():
    image = hounsfield([[-600, 0, 100]], Window(0, 200))
    assert to_display(image).tolist() == [[0, 128, 255]]
    assert to_display(image, WINDOWS["lung"]).tolist() == [[128, 230, 246]]


def test_display_units_stay_as_they_are():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image((grey / 255).astype(np.float32), "display")
    np.testing.assert_array_equal(to_display(image, Window(0, 1)), grey)


def test_colour_keeps_its_shape():
    assert to_display(Image(np.random.default_rng(0).random((4, 5, 3)), "display")).shape == (4, 5, 3)


def test_outliers_do_not_darken_arbitrary_units():
    values = np.linspace(100, 200, 10_000).reshape(100, 100).astype(np.float32)
    values[0, 0] = 1e9
    shown = to_display(Image(values, "arbitrary"))
    assert abs(int(shown[50, 50]) - 128) <= 3
    assert shown[99, 99] == 255


def test_a_small_bright_spot_on_black_is_shown():
    values = np.zeros((100, 100), np.float32)
    values[3, 4] = 7
    assert to_display(Image(values, "arbitrary"))[3, 4] == 255


def test_values_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match="finite"):
        to_display(Image(np.array([[0, np.nan]]), "arbitrary"))


@given(
    st.floats(-1e6, 1e6), st.floats(0, 1e6), st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=30),
    st.sampled_from(["hounsfield", "arbitrary", "display"]), st.booleans(),
)  # fmt: skip
def test_brighter_values_never_look_darker(centre, width, values, units, windowed):
    ordered = np.sort(np.array([values], np.float32))
    shown = to_display(Image(ordered, units), Window(centre, width) if windowed else None)
    assert shown.dtype == np.uint8
    assert (np.diff(shown.astype(int)) >= 0).all()


@given(st.floats(0.1, 1e3), st.floats(-1e3, 1e3))
def test_arbitrary_units_have_no_scale(gain, offset):
    values = np.random.default_rng(1).random((20, 20))
    plain = to_display(Image(values, "arbitrary")).astype(int)
    scaled = to_display(Image(values * gain + offset, "arbitrary")).astype(int)
    assert np.abs(plain - scaled).max() <= 1

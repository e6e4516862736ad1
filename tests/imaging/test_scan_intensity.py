"""Whole volumes to grey: the same grey as single slices get, one scale for all, what cannot be shown refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scan_files import head_signal, volume_of

from healthgpt.errors import ImageError
from healthgpt.imaging.geometry import body_mask
from healthgpt.imaging.image import Image, Window
from healthgpt.imaging.intensity import WINDOWS, to_display
from healthgpt.imaging.normalise import body_window, ct_grey, to_grey


@pytest.mark.parametrize("name", list(WINDOWS))
def test_a_window_shows_a_volume_as_it_shows_its_slices(name):
    _, ct = head_signal(24)
    volume = volume_of(ct + np.random.default_rng(0).normal(0, 40, ct.shape), units="hounsfield")
    grey = ct_grey(volume, WINDOWS[name])
    assert grey.dtype == np.uint8
    for index in (0, 9, 12):
        single = to_display(Image(volume.values[..., index], "hounsfield"), WINDOWS[name])
        assert np.abs(grey[..., index].astype(int) - single).max() <= 1


@given(st.floats(-500, 500), st.floats(1, 3000), st.lists(st.floats(-4000, 4000, width=32), min_size=2, max_size=9))
def test_grey_rises_with_the_value_and_stays_in_range(centre, width, values):
    ordered = np.sort(np.array(values, np.float32)).reshape(1, 1, -1)
    grey = to_grey(ordered, Window(centre, width)).astype(int)
    assert (np.diff(grey) >= 0).all()
    assert grey[ordered <= centre - width / 2 - 1].sum() == 0
    assert (grey[ordered >= centre + width / 2 + 1] == 255).all()


@pytest.mark.parametrize("side", [40, 130])
def test_percentiles_are_of_the_body_not_of_the_air(side):
    mri, _ = head_signal(side)
    mri = mri + np.abs(np.random.default_rng(0).normal(0, 10, mri.shape))
    wide = np.pad(mri, ((0, 0), (20, 20), (0, 0)))
    windows = [
        body_window(volume, body_mask(volume)) for volume in (volume_of(mri, (3.0,) * 3), volume_of(wide, (3.0,) * 3))
    ]
    assert windows[0].centre == pytest.approx(windows[1].centre, rel=0.02)
    assert windows[0].width == pytest.approx(windows[1].width, rel=0.02)
    assert (to_grey(mri, windows[0])[mri > 850] > 240).all()


def test_the_grey_does_not_depend_on_the_scanners_scale():
    mri, _ = head_signal(30)
    greys = []
    for scale, offset in ((1, 0), (7.5, 0), (0.01, -3)):
        volume = volume_of(mri * scale + offset, (4.0,) * 3)
        greys.append(to_grey(volume.values, body_window(volume, body_mask(volume))).astype(int))
    assert np.abs(greys[1] - greys[0]).max() <= 1
    assert np.abs(greys[2] - greys[0]).max() <= 1


def test_what_cannot_be_scaled_is_refused():
    flat = volume_of(np.full((4, 4, 4), 9))
    with pytest.raises(ImageError, match="no body"):
        body_window(flat, np.zeros((4, 4, 4), bool))
    with pytest.raises(ImageError, match="one value"):
        body_window(flat, np.ones((4, 4, 4), bool))
    with pytest.raises(ImageError, match="not in Hounsfield units; found values from 9 to 9"):
        ct_grey(flat, WINDOWS["brain"])

"""Laws of the strokes: fields are standardised, stamps land where told, scattered points keep apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthgpt.phantoms.soft_shapes import apart, smooth_field, soft_step, stamp


@given(seed=st.integers(0, 10_000), cells=st.integers(3, 30), size=st.sampled_from([64, 96, 128]))
@settings(max_examples=25, deadline=None)
def test_smooth_field_is_standardised_and_smoother_than_noise(seed, cells, size):
    field = smooth_field(np.random.default_rng(seed), size, cells)
    assert field.shape == (size, size)
    assert field.mean() == pytest.approx(0, abs=1e-3)
    assert field.std() == pytest.approx(1, abs=1e-3)
    assert np.diff(field, axis=0).std() < 1.0


@given(
    row=st.floats(-10, 74),
    column=st.floats(-10, 74),
    axis=st.floats(2, 12),
    ratio=st.floats(0.5, 1.0),
    angle=st.floats(0, 3.2),
)
@settings(max_examples=40, deadline=None)
def test_stamp_covers_the_area_of_its_ellipse_even_across_the_border(row, column, axis, ratio, angle):
    canvas = np.zeros((64, 64), np.float32)
    stamp(canvas, np.array([[row, column]]), np.array([[axis, axis * ratio]]), np.array([angle]), np.ones(1))
    area = np.pi * axis * axis * ratio
    assert canvas.max() <= 1
    assert canvas.sum() <= 1.25 * area + 6
    if 16 < row < 48 and 16 < column < 48:
        assert canvas.sum() == pytest.approx(area, rel=0.25, abs=6)


def test_absorbances_add_where_asked_and_merge_otherwise():
    centres, radii = np.array([[16.0, 16.0], [16.0, 18.0]]), np.full((2, 2), 6.0)
    for combine, expected in ((np.add, 2.0), (np.maximum, 1.0)):
        canvas = np.zeros((32, 32), np.float32)
        stamp(canvas, centres, radii, np.zeros(2), np.ones(2), combine=combine)
        assert canvas.max() == pytest.approx(expected)


@given(seed=st.integers(0, 10_000), distance=st.floats(2, 30))
@settings(max_examples=25, deadline=None)
def test_scattered_points_keep_their_distance_and_stay_out_of_taken_places(seed, distance):
    taken = np.array([[32.0, 32.0, 12.0]])
    points = apart(np.random.default_rng(seed), 20, distance, (0.0, 0.0), (64.0, 64.0), taken)
    gaps = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    assert (gaps[~np.eye(len(points), dtype=bool)] >= distance).all()
    assert (np.hypot(*(points - 32.0).T) > 12.0).all()


def test_soft_step_falls_from_one_to_zero():
    rho = np.linspace(0, 2, 201)
    step = soft_step(rho, 0.2)
    assert step[0] == 1
    assert step[-1] == 0
    assert (np.diff(step) <= 0).all()
    assert step[100] == pytest.approx(0.5)

"""Slices, grids, squares and body masks: what goes there comes back, and places in millimetres never move."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_files import head_signal, volume_of
from scipy.spatial.transform import Rotation

from healthgpt.errors import ImageError
from healthgpt.imaging.geometry import (
    ACROSS,
    TO_LPS,
    body_mask,
    display_plane,
    holds_enough,
    itk_transform,
    plane_spacing,
    resample,
    resample_onto,
    same_grid,
    slice_indices,
    to_itk,
    to_square,
)
from healthgpt.imaging.volume import Volume

planes = st.sampled_from(sorted(ACROSS))
angles = st.floats(-180, 180)
shifts = st.floats(-80, 80)


@st.composite
def affines(draw):
    """Any voxel sizes, rotation and place."""
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", [draw(angles) for _ in range(3)], degrees=True).as_matrix()
    affine[:3, :3] = turn * [draw(st.floats(0.3, 5)) for _ in range(3)]
    affine[:3, 3] = [draw(shifts) for _ in range(3)]
    return affine


def placed(values: np.ndarray, affine: np.ndarray) -> Volume:
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return Volume(values.astype(np.float32), (float(x), float(y), float(z)), affine)


@given(planes, st.tuples(*[st.integers(1, 5)] * 3))
def test_slices_stacked_give_the_volume_back(plane, shape):
    values = np.arange(np.prod(shape)).reshape(shape)
    shown = [display_plane(values, plane, index) for index in range(shape[ACROSS[plane]])]
    stacked = np.stack([one.T for one in shown], axis=ACROSS[plane])
    np.testing.assert_array_equal(np.flip(stacked, [axis for axis in range(3) if axis != ACROSS[plane]]), values)


def test_the_patients_left_is_on_the_right_and_head_or_front_are_up():
    values = np.zeros((4, 5, 6))
    values[0, 4, 5] = 1  # left, front, head (x grows to the right)
    np.testing.assert_array_equal(np.argwhere(display_plane(values, "axial", 5)), [[0, 3]])
    np.testing.assert_array_equal(np.argwhere(display_plane(values, "coronal", 4)), [[0, 3]])
    np.testing.assert_array_equal(np.argwhere(display_plane(values, "sagittal", 0)), [[0, 0]])
    volume = volume_of(values, (1.0, 2.0, 3.0))
    assert [plane_spacing(volume, plane) for plane in ("axial", "coronal", "sagittal")] == [(2, 1), (3, 1), (3, 2)]


@given(planes, st.floats(0.1, 30))
def test_slices_keep_their_distance(plane, stride):
    volume = volume_of(np.zeros((9, 10, 11)), (1.0, 2.0, 3.0))
    indices = slice_indices(volume, plane, stride)
    axis = ACROSS[plane]
    assert 0 <= indices[0] <= indices[-1] < volume.values.shape[axis]
    for one, following in pairwise(indices):
        assert abs((following - one) * volume.spacing_mm[axis] - stride) <= max(stride, volume.spacing_mm[axis])
    if stride <= volume.spacing_mm[axis]:
        assert list(indices) == list(range(volume.values.shape[axis]))


def test_the_filter_drops_slices_with_too_little_on_them():
    mask = np.zeros((10, 10), bool)
    mask[:2] = True
    assert holds_enough(mask, 0.2)
    assert not holds_enough(mask, 0.21)
    assert not holds_enough(np.zeros((3, 3), bool), 0.01)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 14))
def test_squares_keep_the_middle(height, width, side):
    pixels = np.arange(1, height * width + 1, dtype=np.uint8).reshape(height, width)
    square = to_square(pixels, side)
    assert square.shape == (side, side)
    assert np.count_nonzero(square) == min(height, side) * min(width, side)
    whole = to_square(pixels)
    assert whole.shape == (max(height, width),) * 2
    assert set(pixels.ravel()) == set(whole[whole > 0])


@settings(deadline=None, max_examples=30)
@given(affines())
def test_itk_puts_voxels_where_the_affine_does(affine):
    volume = placed(np.zeros((4, 5, 6)), affine)
    image = to_itk(volume)
    for index in ((0, 0, 0), (3, 4, 5), (2, 0, 4)):
        there = TO_LPS @ volume.affine @ [*index, 1]
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index), there[:3], atol=1e-6)
        back = np.linalg.inv(volume.affine) @ TO_LPS @ [*image.TransformIndexToPhysicalPoint(index), 1]
        np.testing.assert_allclose(back[:3], index, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(affines(), st.tuples(shifts, shifts, shifts))
def test_transforms_mean_the_same_in_both_conventions(matrix, point):
    turned = itk_transform(matrix).TransformPoint((TO_LPS @ [*point, 1])[:3].tolist())
    np.testing.assert_allclose((TO_LPS @ [*turned, 1])[:3], (matrix @ [*point, 1])[:3], atol=1e-6)


def millimetres(shape, affine) -> np.ndarray:
    """RAS millimetres of every voxel, (3, x, y, z)."""
    indices = np.indices(shape).reshape(3, -1)
    return (affine[:3, :3] @ indices + affine[:3, 3:]).reshape(3, *shape)


@settings(deadline=None, max_examples=20)
@given(affines(), st.tuples(*[st.floats(-0.3, 0.3)] * 3), st.integers(0, 2))
def test_resampling_keeps_every_place(affine, turn, axis):
    """A volume that holds its own millimetres still does on any other grid, whatever moved in between."""
    shape = (9, 10, 11)
    moving = placed(millimetres(shape, affine)[axis], affine)
    fixed_affine = affine.copy()
    fixed_affine[:3, :3] = affine[:3, :3] @ Rotation.from_rotvec(turn).as_matrix() * 0.4
    fixed_affine[:3, 3] = (affine @ [4, 4.5, 5, 1])[:3] - fixed_affine[:3, :3] @ [2, 2, 2]
    fixed = placed(np.zeros((5, 5, 5)), fixed_affine)
    moved = resample_onto(moving, fixed)
    np.testing.assert_allclose(moved.values, millimetres((5, 5, 5), fixed_affine)[axis], atol=2e-3)
    assert same_grid(moved, fixed)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = Rotation.from_rotvec(turn).as_matrix(), (5, -3, 2)
    elsewhere = placed(fixed.values, matrix @ fixed_affine)
    np.testing.assert_allclose(resample_onto(moving, elsewhere, matrix).values, moved.values, atol=2e-3)


@settings(deadline=None, max_examples=20)
@given(affines(), st.tuples(*[st.floats(0.5, 2)] * 3))
def test_resampled_voxels_cover_the_same_field(affine, factors):
    volume = placed(millimetres((12, 12, 12), affine)[1], affine)
    spacing = tuple(float(size * factor) for size, factor in zip(volume.spacing_mm, factors, strict=True))
    other = resample(volume, spacing)
    np.testing.assert_allclose(np.linalg.norm(other.affine[:3, :3], axis=0), spacing, rtol=1e-6)
    # The outer corner of the first voxel stays.
    corners = [one.affine @ [-0.5, -0.5, -0.5, 1] for one in (volume, other)]
    np.testing.assert_allclose(*corners, atol=1e-6)
    inner = (slice(2, -2),) * 3
    if min(other.values[inner].shape):
        wanted = millimetres(other.values.shape, other.affine)[1]
        np.testing.assert_allclose(other.values[inner], wanted[inner], atol=2e-3)


def test_resampling_to_the_same_size_changes_nothing_and_nonsense_is_refused():
    values = np.random.default_rng(0).normal(size=(6, 7, 8))
    volume = volume_of(values, (1.0, 2.0, 3.0))
    np.testing.assert_allclose(resample(volume, (1.0, 2.0, 3.0)).values, values, atol=1e-5)
    for spacing in ((0.0, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, float("nan"), 1.0), (1e-4, 1e-4, 1e-4)):
        with pytest.raises(ImageError, match="cannot be resampled"):
            resample(volume, spacing)


def test_beyond_the_field_is_air_in_hounsfield_units_and_dark_otherwise():
    fixed = volume_of(np.zeros((4, 4, 4)))
    for units, outside in (("hounsfield", -1000), ("arbitrary", 7)):
        moving = volume_of(np.full((2, 2, 2), 7), units=units)
        assert resample_onto(moving, fixed).values[3, 3, 3] == outside


def ball(side: int, radius: float, offset: float = 0.0) -> np.ndarray:
    x, y, z = np.indices((side, side, side)) - (side - 1) / 2
    return (x - offset) ** 2 + y**2 + z**2 < radius**2


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 1000), st.sampled_from([0.9, 1.0, 2.0, 4.0]), st.floats(18, 25))
def test_the_mask_of_a_noisy_hollow_ball_is_the_ball(seed, spacing, radius):
    draw = np.random.default_rng(seed)
    solid = ball(60, radius)
    signal = np.where(solid, 300.0, 0.0)
    signal[ball(60, radius / 3)] = 5.0  # a hole
    signal[ball(60, radius / 4, radius / 2)] = 900.0  # a bright spot
    noise = draw.normal(0, 12, (2, 60, 60, 60))
    mri = volume_of(np.hypot(signal + noise[0], noise[1]), (spacing,) * 3)
    ct = volume_of(np.where(signal > 100, 40.0, -1000.0) + noise[0], (spacing,) * 3, units="hounsfield")
    for volume in (mri, ct):
        mask = body_mask(volume)
        assert mask.shape == solid.shape
        assert 2 * (mask & solid).sum() / (mask.sum() + solid.sum()) > (0.92 if spacing < 2 else 0.97)
        assert mask[ball(60, radius / 3)].all()


def test_only_the_largest_piece_counts_and_a_thin_table_is_cut_off():
    values = np.full((60, 60, 30), -1000.0)
    values[15:45, 20:50] = 30.0
    values[5:55, 18:19] = 100.0  # a table, one voxel thick, with a gap of one voxel
    values[52:58, 52:58] = 50.0
    mask = body_mask(volume_of(values, (2.0, 2.0, 2.0), units="hounsfield"))
    assert mask[20:40, 25:45].all()
    assert not mask[53:57, 53:57].any()
    assert not mask[5:12, 18].any()


def test_a_scan_of_three_slices_has_a_body():
    values = np.zeros((40, 40, 3))
    values[10:30, 12:28] = 80
    assert body_mask(volume_of(values, (2.0, 2.0, 6.0))).sum() == pytest.approx(20 * 16 * 3, rel=0.02)


def test_a_flat_volume_has_no_body():
    assert not body_mask(volume_of(np.full((5, 6, 7), 3.0))).any()


def test_the_body_of_a_head_is_the_head_in_both_modalities():
    mri, ct = head_signal()
    head = ct > -500
    for volume in (volume_of(mri, (4.0,) * 3), volume_of(ct, (4.0,) * 3, units="hounsfield")):
        mask = body_mask(volume)
        assert 2 * (mask & head).sum() / (mask.sum() + head.sum()) > 0.97

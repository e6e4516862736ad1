"""Registration: known movements are undone, the same every time, and pairs that do not belong together say so."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scan_files import head_signal, volume_of
from scipy.spatial.transform import Rotation

from healthgpt.errors import ImageError
from healthgpt.imaging.geometry import body_mask, same_grid
from healthgpt.imaging.registration import GOOD_QUALITY, Registration, fit_in_place, register
from healthgpt.imaging.volume import Volume, read_volume
from healthgpt.sources.ct_mr_atlas import cormack_to_hounsfield

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
TURN_DEG, SHIFT_MM = (8.0, -5.0, 10.0), (12.0, -15.0, 9.0)


@pytest.fixture
def data() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"the real data packs are not at {DATA}")
    return DATA


@pytest.fixture(scope="module")
def head() -> tuple[Volume, Volume]:
    """MR and CT of one phantom head, 4 mm."""
    mri, ct = head_signal()
    noise = np.random.default_rng(0).normal(size=mri.shape)
    centre = np.eye(4)
    centre[:3, 3] = -94
    volumes = volume_of(mri + 15 * np.abs(noise), (4.0,) * 3), volume_of(ct + 8 * noise, (4.0,) * 3, units="hounsfield")
    return tuple(replace(volume, affine=centre @ volume.affine) for volume in volumes)


def movement(turn_deg=TURN_DEG, shift_mm=SHIFT_MM) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix(), shift_mm
    return matrix


def moved_by(volume: Volume, matrix: np.ndarray) -> Volume:
    return replace(volume, affine=matrix @ volume.affine)


def error_mm(found: Registration, truth: np.ndarray, moving: Volume) -> float:
    """Mean distance over the body between where a point was put and where it belongs."""
    voxels = np.argwhere(body_mask(moving))[::37]
    points = moving.affine @ np.c_[voxels, np.ones(len(voxels))].T
    return float(np.linalg.norm(((found.matrix - truth) @ points)[:3], axis=0).mean())


def test_a_scan_and_itself_stay_where_they_are(head):
    found = register(head[0], head[0])
    turn = Rotation.from_matrix(found.matrix[:3, :3]).magnitude()
    assert np.rad2deg(turn) < 0.5
    assert error_mm(found, np.eye(4), head[0]) < 0.5
    assert found.fit.quality > 0.95


def test_a_known_movement_is_undone_across_modalities_and_twice_alike(head):
    mri, ct = head
    away = moved_by(ct, movement())
    found = register(away, mri)
    assert error_mm(found, np.linalg.inv(movement()), away) < 2.0
    assert same_grid(found.moved, mri)
    assert fit_in_place(away, mri).quality < GOOD_QUALITY < found.fit.quality
    assert np.array_equal(register(away, mri).matrix, found.matrix)


def test_a_scan_far_away_is_found_by_its_body(head):
    mri, ct = head
    shift = movement((0, 0, 0), (300, -200, 400))
    found = register(moved_by(ct, shift), mri)
    assert error_mm(found, np.linalg.inv(shift), moved_by(ct, shift)) < 2.0


def test_two_scans_that_do_not_belong_together_fall_below_the_threshold(head):
    box = np.full((40, 40, 40), -1000.0)
    box[6:34, 10:30, :] = 50 + 30 * np.random.default_rng(0).normal(size=(28, 20, 40))
    box[18:22, 12:16, :] = 700
    other = volume_of(box, (5.0,) * 3, units="hounsfield")
    assert register(other, head[0]).fit.quality < GOOD_QUALITY


def test_a_scan_of_nothing_is_refused(head):
    with pytest.raises(ImageError, match="shows nothing"):
        register(volume_of(np.zeros((20, 20, 20))), head[0])


def hounsfield(path: Path) -> Volume:
    atlas = read_volume(path)
    return replace(atlas, values=cormack_to_hounsfield(atlas.values), units="hounsfield", modality="ct")


def test_the_real_heads(data):
    """Averages of different people: aligned to about 3 mm by their makers, so the known movement is measured against
    where the same pair comes to lie without it."""
    ct = hounsfield(data / "ct_mr_atlas" / "scct.nii.gz")
    flair = read_volume(data / "ct_mr_atlas" / "gg-flair-181-asym-8mmFWHM.nii.gz")
    assert fit_in_place(ct, flair).quality > GOOD_QUALITY
    there = register(ct, flair)
    away = moved_by(ct, movement())
    found = register(away, flair)
    assert error_mm(found, there.matrix @ np.linalg.inv(movement()), away) < 2.0
    assert error_mm(found, np.linalg.inv(movement()), away) < 4.0
    assert found.fit.quality > GOOD_QUALITY
    assert fit_in_place(away, flair).quality < GOOD_QUALITY


def test_a_real_abdomen_is_no_head(data):
    abdomen = read_volume(data / "ct_volumes" / "example_ct.nii.gz")
    flair = read_volume(data / "ct_mr_atlas" / "gg-flair-181-asym-8mmFWHM.nii.gz")
    assert register(abdomen, flair).fit.quality < GOOD_QUALITY / 2

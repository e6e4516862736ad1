"""The recipe from scans to slices: published layouts come out aligned and told, bad scans and pairs are refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from scan_files import affine_of, head_signal, write_nifti

from healthgpt.data.augment import SYMMETRIC_REGIONS
from healthgpt.data.scans import MisalignedPairError, ScanSettings, low_resolution, slices_of_scan
from healthgpt.errors import DataError, ImageError, InputError
from healthgpt.imaging.degrade import truncate_kspace
from healthgpt.imaging.volume import read_volume
from healthgpt.sources.ct_mr_atlas import cormack_to_hounsfield

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
SETTINGS = ScanSettings(stride_mm=8, smallest_side=32)
GRID = affine_of((4, 4, 4), (-94, -94, -94))


@pytest.fixture
def data() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"the real data packs are not at {DATA}")
    return DATA


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> dict[str, Path]:
    """A patient of the SynthRAD2023 layout: mr, ct and mask on one grid."""
    folder = tmp_path_factory.mktemp("Task1") / "brain" / "1BA001"
    folder.mkdir(parents=True)
    mri, ct = head_signal()
    noise = np.random.default_rng(0).normal(size=mri.shape)
    return {
        "mri": write_nifti(folder / "mr.nii.gz", mri + 15 * np.abs(noise), GRID),
        "ct": write_nifti(folder / "ct.nii.gz", ct + 8 * noise, GRID),
        "mask": write_nifti(folder / "mask.nii.gz", ct > -500, GRID),
    }


def cut(volumes, settings=SETTINGS, region="brain", seed=0):
    return slices_of_scan(volumes, region=region, settings=settings, name="1BA001", seed=seed)


def test_a_published_pair_stays_in_place_and_loses_what_is_outside_its_mask(pair):
    result = cut(pair)
    assert result.registration == "none"
    assert result.fit.quality > 0.9
    assert len(result.slices) > 10
    mask = read_volume(pair["mask"]).values > 0
    for one in result.slices:
        assert set(one.pixels) == {"mri", "ct"}
        assert {pixels.shape for pixels in one.pixels.values()} == {(48, 48)}
        assert {pixels.dtype for pixels in one.pixels.values()} == {np.dtype(np.uint8)}
        outside = ~mask[::-1, ::-1, one.index].T
        assert not one.pixels["mri"][outside].any()
        assert not one.pixels["ct"][outside].any()
        # Bone is white in CT and dark in MR; the brain is grey in both.
        bone = one.pixels["ct"] == 255
        assert one.pixels["mri"][bone].mean() < 80
    told = " | ".join(result.slices[0].transforms)
    for words in ("left in place", "published mask", "ct window head (centre 40", "mri percentiles", "axial slice"):
        assert words in told


def test_a_moved_ct_is_registered_only_where_that_is_allowed(pair, tmp_path):
    _, ct = head_signal()
    moved = GRID.copy()
    moved[:3, 3] += (20, -14, 17)
    volumes = {"mri": pair["mri"], "ct": write_nifti(tmp_path / "ct.nii.gz", ct, moved)}
    result = cut(volumes)
    assert result.registration in ("rigid", "affine")
    assert "ct registered to mri" in result.slices[0].transforms[0]
    aligned = {one.index: one.pixels["ct"].astype(int) for one in cut(pair).slices}
    for one in result.slices:
        assert np.abs(one.pixels["ct"] - aligned[one.index]).mean() < 8
    with pytest.raises(MisalignedPairError, match=r"1BA001.*quality 0\.\d.*allowed: quality 0\.4 or more") as caught:
        cut(volumes, replace_settings(registration="never"))
    assert caught.value.fit.quality < 0.4
    assert isinstance(caught.value, DataError)


def replace_settings(**changes) -> ScanSettings:
    return SETTINGS.model_copy(update=changes)


def test_a_pair_of_two_regions_is_refused(pair, tmp_path):
    box = np.full((40, 40, 40), -1000.0)
    box[6:34, 10:30, :] = 50 + 30 * np.random.default_rng(0).normal(size=(28, 20, 40))
    box[18:22, 12:16, :] = 700
    with pytest.raises(MisalignedPairError):
        cut({"mri": pair["mri"], "ct": write_nifti(tmp_path / "ct.nii.gz", box, affine_of((5, 5, 5)))})


@pytest.mark.parametrize(("plane", "shape"), [("axial", 48), ("coronal", 48), ("sagittal", 48)])
def test_every_plane(pair, plane, shape):
    result = cut({"mri": pair["mri"]}, replace_settings(plane=plane))
    assert result.fit is None
    assert all(one.pixels["mri"].shape == (shape, shape) for one in result.slices)
    assert f"{plane} slice" in " ".join(result.slices[0].transforms)


def test_stride_filter_and_size(pair):
    every = cut({"mri": pair["mri"]}, replace_settings(stride_mm=4, min_foreground=0.0))
    assert [one.index for one in every.slices] == list(range(48))
    assert {one.index % 2 for one in cut({"mri": pair["mri"]}).slices} == {1}
    full = cut({"mri": pair["mri"]}, replace_settings(stride_mm=4, min_foreground=0.3))
    assert 0 < len(full.slices) < len(cut({"mri": pair["mri"]}, replace_settings(stride_mm=4)).slices)
    small = cut({"mri": pair["mri"]}, replace_settings(longest_side=32))
    assert small.slices[0].pixels["mri"].shape == (32, 32)
    with pytest.raises(ImageError, match="too coarse; found slices of 48 pixels"):
        cut({"mri": pair["mri"]}, replace_settings(smallest_side=64))
    with pytest.raises(DataError, match="no slice with enough"):
        cut({"mri": pair["mri"]}, replace_settings(min_foreground=0.99))


def test_thick_slices_get_square_pixels_and_spacing_resamples(tmp_path):
    mri, _ = head_signal()
    path = write_nifti(tmp_path / "IXI002-Guys-0828-T1.nii.gz", mri[:, :, ::2], affine_of((4, 4, 8)))
    coronal = cut({"mri": path}, replace_settings(plane="coronal"))
    assert coronal.slices[0].pixels["mri"].shape == (48, 48)
    fine = cut({"mri": path}, replace_settings(spacing_mm=3.0))
    assert fine.slices[0].pixels["mri"].shape == (64, 64)
    assert "mri resampled to 3 mm, linear" in fine.slices[0].transforms


def test_copies_move_both_sides_alike_and_are_the_same_every_time(pair):
    settings = replace_settings(stride_mm=40, augmentations=2)
    result, again, other = cut(pair, settings), cut(pair, settings), cut(pair, settings, seed=1)
    assert [one.copy for one in result.slices[:3]] == [0, 1, 2]
    for one, same, different in zip(result.slices, again.slices, other.slices, strict=True):
        assert one.transforms == same.transforms
        for role in ("mri", "ct"):
            np.testing.assert_array_equal(one.pixels[role], same.pixels[role])
        assert (one.transforms == different.transforms) == (one.copy == 0)
        if one.copy:
            assert one.transforms[-1].startswith("augment ")
            heads = [one.pixels["mri"] > 25, one.pixels["ct"] > 25]
            # Skull and fat differ, the outline does not.
            rows = [np.flatnonzero(head.any(axis=1)) for head in heads]
            assert abs(int(rows[0][0]) - int(rows[1][0])) <= 3


def test_only_regions_alike_on_both_sides_are_mirrored(pair):
    settings = replace_settings(stride_mm=8, augmentations=3)
    flips = {
        region: any(" flip " in one.transforms[-1] for one in cut({"mri": pair["mri"]}, settings, region).slices)
        for region in ("brain", "abdomen")
    }
    assert flips == {"brain": True, "abdomen": False}
    assert "chest" not in SYMMETRIC_REGIONS
    sagittal = cut({"mri": pair["mri"]}, settings.model_copy(update={"plane": "sagittal"}))
    assert not any(" flip " in one.transforms[-1] for one in sagittal.slices)


@pytest.mark.parametrize(("method", "words"), [("k-space", "k-space truncation x4"), ("bicubic", "bicubic x4")])
def test_the_way_to_low_resolution_is_told(pair, method, words):
    sharp = cut({"mri": pair["mri"]}).slices[5].pixels["mri"]
    coarse, told = low_resolution(sharp, replace_settings(sr_method=method))
    assert told == words
    assert coarse.shape == sharp.shape
    assert coarse.dtype == np.uint8
    if method == "k-space":
        np.testing.assert_array_equal(coarse, np.rint(truncate_kspace(sharp / np.float32(255)) * 255))


def test_bad_scans_are_refused_with_their_reason(pair, tmp_path):
    whole = pair["mri"].read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    flat = write_nifti(tmp_path / "flat.nii.gz", np.zeros((48, 48, 48)), GRID)
    for volumes, told in (
        ({"mri": tmp_path / "cut.nii.gz"}, "truncated|damaged"),
        ({"mri": flat}, "shows nothing"),
        ({"mri": pair["mri"], "ct": flat}, "shows nothing"),
        ({"ct": pair["mri"]}, "not in Hounsfield units"),
        ({"mri": pair["mri"], "mask": flat}, "empty mask"),
        ({"mask": pair["mask"]}, "no scan"),
        ({"mri": tmp_path / "absent.nii.gz"}, "no file"),
    ):
        with pytest.raises(InputError, match=told):
            cut(volumes)


@pytest.mark.parametrize(
    "wrong",
    [
        {"plane": "oblique"},
        {"stride_mm": 0},
        {"ct_windows": {"brain": "brian"}},
        {"mri_percentiles": (99, 1)},
        {"x": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        ScanSettings(**wrong)


def test_real_scans(data, tmp_path):
    t1 = cut({"mri": data / "mri_t1_fnndsc" / "sag_mprage_t1.nii.gz"}, ScanSettings(stride_mm=12))
    assert len(t1.slices) > 12
    assert t1.slices[0].pixels["mri"].shape == (256, 256)
    trunk = cut({"ct": data / "ct_volumes" / "example_ct.nii.gz"}, ScanSettings(stride_mm=12), "abdomen")
    assert all(20 < one.pixels["ct"].mean() < 200 for one in trunk.slices)
    atlas = read_volume(data / "ct_mr_atlas" / "scct.nii.gz")
    ct = replace(atlas, values=cormack_to_hounsfield(atlas.values))
    volumes = {
        "ct": write_nifti(tmp_path / "ct.nii.gz", ct.values, ct.affine),
        "mri": data / "ct_mr_atlas" / "gg-flair-181-asym-8mmFWHM.nii.gz",
    }
    heads = cut(volumes, ScanSettings(stride_mm=12))
    assert heads.registration == "none"
    assert heads.fit.quality > 0.7

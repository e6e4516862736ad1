"""The packs of scans and single pictures: CT and MR volumes, Visible Human, single slices, DICOM, scikit-image."""

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from healthgpt.errors import DataError
from healthgpt.imaging.volume import read_volume
from healthgpt.record import Sample
from healthgpt.sources import (
    ct_volumes,
    dicom_samples,
    fundus_histology,
    mri_slices,
    mri_volumes,
    visible_human,
)


def pictures(samples: list[Sample]) -> dict[str, np.ndarray]:
    return {s.record.provenance.original_id: s.image for s in samples if s.record.task == "reconstruct"}  # type: ignore[misc]


def check_held_out(samples: list[Sample], apart: int) -> None:
    """Each volume has all three splits, and slices of two splits are at least ``apart`` slice numbers from each other.

    The slice number is the digits at the end of the name."""
    volumes: dict[str, dict[int, str]] = {}
    for sample in samples:
        volume, number = re.fullmatch(r"(.*?)(\d+)", sample.record.provenance.original_id).groups()  # type: ignore[union-attr]
        volumes.setdefault(volume, {})[int(number)] = sample.record.split
    for splits in volumes.values():
        assert set(splits.values()) == {"train", "validation", "test"}
        for (below, first), (above, second) in pairwise(sorted(splits.items())):
            assert first == second or above - below >= apart


def test_ct_volumes(packs: Path, lawful: Callable[[list[Sample]], None]) -> None:
    samples = list(ct_volumes.samples(packs))
    lawful(samples)
    regions = {s.record.response for s in samples if s.record.kind == "region"}
    assert regions == {"abdomen", "pelvis", "chest", "head"}
    held_out = [s for s in samples if s.record.split == "test"]
    assert {s.record.response for s in held_out if s.record.kind == "region"} == regions
    check_held_out(samples, apart=2)
    shown = pictures(samples)
    # The average brain stands on black, as a head CT does, although its file holds 0 HU around it.
    assert all(image[0, 0] == 0 for name, image in shown.items() if name.startswith("ct_brain_atlas"))
    assert not [name for name in shown if "example_ct_sm" in name or "head_fixed" in name]


def test_left_out_ct_volume_is_a_copy(packs: Path) -> None:
    # Why example_ct_sm is left out: as another patient it could leak into another split.
    whole = read_volume(packs / "ct_volumes" / "example_ct.nii.gz").values
    piece = read_volume(packs / "ct_volumes" / "example_ct_sm.nii.gz").values
    assert np.array_equal(whole[:, :, 82:112], piece)


def test_mr_volumes(packs: Path, lawful: Callable[[list[Sample]], None]) -> None:
    for name, groups in (("mri_misc", 4), ("mri_t1_fnndsc", 7)):
        source = mri_volumes.SOURCES[name]
        assert source.samples is not None
        samples = list(source.samples(packs))
        lawful(samples)
        assert len({s.record.provenance.group for s in samples}) == groups
        sharpened = [s for s in samples if s.record.task == "super-resolution"]
        assert sharpened
        assert all(max(s.target.shape) >= 100 for s in sharpened if s.target is not None)


def test_t1_head_is_held_out_by_slab_and_its_dicom_slices_left_out(packs: Path) -> None:
    samples = list(mri_volumes.samples("mri_t1_fnndsc", packs))
    # Taken every 5 slices of 0.86 mm: one left out between two slabs.
    check_held_out(samples, apart=10)
    assert {s.record.split for s in samples if s.record.task == "super-resolution"} == {"train", "validation", "test"}
    assert {s.record.provenance.original_id.split("/")[0] for s in samples} == {"sag_mprage_t1"}


def test_visible_human(packs: Path, lawful: Callable[[list[Sample]], None]) -> None:
    samples = list(visible_human.samples(packs))
    lawful(samples)
    shown = pictures(samples)
    # 50 slices from neck to vertex, less one between every two slabs.
    assert len(shown) == 40
    check_held_out(samples, apart=8)
    assert all(image.shape == (256, 256) and image.max() == 255 for image in shown.values())


def test_single_mr_slices(packs: Path, lawful: Callable[[list[Sample]], None]) -> None:
    samples = list(mri_slices.samples(packs))
    lawful(samples)
    shown = pictures(samples)
    assert len(shown) == 9
    assert not [name for name in shown if "simple" in name or "VisibleWoman" in name]


def test_dicom_files(packs: Path, lawful: Callable[[list[Sample]], None]) -> None:
    samples = list(dicom_samples.samples(packs))
    lawful(samples)
    shown = pictures(samples)
    assert len(shown) == 34
    assert sum(name.startswith("ct_series_siemens_j2k/") for name in shown) == 20
    # RG3 is MONOCHROME1: once inverted, the shin bone is bright and the air beside the leg dark.
    leg = shown["RG3"]
    assert leg[:, 115:130].mean() > leg[:, 70:80].mean() + 100
    assert {s.record.kind for s in samples if s.record.provenance.group == "dicom_samples/US1"} >= {"modality"}


def test_missing_series_is_named(tmp_path: Path) -> None:
    (tmp_path / "dicom_samples").mkdir()
    with pytest.raises(DataError, match="CTImage"):
        list(dicom_samples.samples(tmp_path))


def test_fundus_and_histology(packs: Path, lawful: Callable[[list[Sample]], None]) -> None:
    samples = list(fundus_histology.samples(packs))
    lawful(samples)
    assert {s.record.response for s in samples if s.record.kind == "modality"} == {"fundus photograph", "microscopy"}
    assert len({s.record.provenance.licence for s in samples}) == 3

"""Volumes to a data set: what each slice becomes, and pairs and volumes that are quarantined with their reason."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from scan_files import affine_of, head_signal, write_nifti

from healthgpt.data.build import LocalWorkers, build
from healthgpt.data.scans import ScanSettings
from healthgpt.data.settings import BuildSettings
from healthgpt.data.shards import records_of

GRID = affine_of((4, 4, 4), (-94, -94, -94))
SCANS = ScanSettings(stride_mm=24, smallest_side=32, registration="never")


def write_pair(folder: Path, shift_mm: float = 0.0) -> None:
    """A patient in the layout of SynthRAD2023, the CT ``shift_mm`` away from where it belongs."""
    folder.mkdir(parents=True)
    mri, ct = head_signal()
    moved = GRID.copy()
    moved[:3, 3] += shift_mm
    write_nifti(folder / "mr.nii.gz", mri, GRID)
    write_nifti(folder / "ct.nii.gz", ct, moved)
    write_nifti(folder / "mask.nii.gz", ct > -500, GRID)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("downloads")
    brains = root / "synthrad2023" / "Task1" / "brain"
    write_pair(brains / "1BA001")
    write_pair(brains / "1BA005", shift_mm=40)
    heads = root / "ixi" / "IXI-T1"
    heads.mkdir(parents=True)
    mri, _ = head_signal()
    write_nifti(heads / "IXI002-Guys-0828-T1.nii.gz", mri, GRID)
    whole = (heads / "IXI002-Guys-0828-T1.nii.gz").read_bytes()
    (heads / "IXI012-HH-1211-T1.nii.gz").write_bytes(whole[: len(whole) // 2])
    folder = root / "set"
    sources = {"ixi": root / "ixi", "synthrad2023": root / "synthrad2023"}
    build(folder, BuildSettings(sources=sources, scans=SCANS, max_quarantined=0.6), LocalWorkers())
    return folder


def test_every_slice_gives_conversions_super_resolution_reconstruction_and_questions(built: Path) -> None:
    records = list(records_of(built))
    tasks = {name: Counter(r.task for r in records if r.provenance.source == name) for name in ("ixi", "synthrad2023")}
    slices = tasks["synthrad2023"]["ct-to-mri"]
    assert slices > 3
    assert tasks["synthrad2023"] == {
        "ct-to-mri": slices, "mri-to-ct": slices, "super-resolution": slices, "reconstruct": 2 * slices,
        "mri": 2 * slices, "ct": 2 * slices,
    }  # fmt: skip
    heads = tasks["ixi"]["super-resolution"]
    assert tasks["ixi"] == {"super-resolution": heads, "reconstruct": heads, "mri": 3 * heads}
    assert {record.response for record in records if record.kind == "contrast"} == {"T1-weighted"}
    assert {record.provenance.group for record in records} == {"ixi/IXI002", "synthrad2023/1BA001"}


def test_both_sides_of_a_pair_lie_on_one_grid_and_say_what_was_done(built: Path) -> None:
    for record in records_of(built):
        told = " | ".join(record.provenance.transforms)
        assert "axial slice" in told
        if record.task == "super-resolution":
            assert "k-space truncation x4" in told
        if record.task in ("ct-to-mri", "mri-to-ct"):
            assert "pair left in place" in told
        if record.target_image is not None:
            sizes = []
            for name in (record.image, record.target_image):
                with PillowImage.open(built / str(name)) as picture:
                    sizes.append(np.asarray(picture).shape)
            assert sizes[0] == sizes[1]


def test_a_pair_that_does_not_fit_and_a_cut_volume_are_quarantined(built: Path) -> None:
    rows = [json.loads(line) for line in (built / "quarantine.jsonl").read_text().splitlines()]
    reasons = {row["file"].split("/")[-2 if "brain" in row["file"] else -1]: row["reason"] for row in rows}
    assert set(reasons) == {"IXI012-HH-1211-T1.nii.gz", "1BA005"}
    assert "do not lie over each other" in reasons["1BA005"]
    assert "quality 0." in reasons["1BA005"]

"""IXI, SynthRAD2023 and BIDS as published: one row a volume, groups by person, companions found."""

import json
from pathlib import Path

from published_rows import read_all

from healthgpt.sources import bids, ixi, synthrad
from healthgpt.sources.entry import Pair, Scan


def put(folder: Path, *names: str) -> None:
    """Empty files: what a source yields depends on names alone."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def scans(entries: list) -> dict[str, Scan]:
    assert all(isinstance(one, Scan) for one in entries)
    return {one.original_id: one for one in entries}


def test_ixi_names_become_scans_grouped_by_subject(tmp_path: Path) -> None:
    put(
        tmp_path, "IXI-T1/IXI002-Guys-0828-T1.nii.gz", "IXI-T2/IXI002-Guys-0828-T2.nii.gz",
        "IXI-PD/IXI014-HH-1236-PD.nii.gz", "IXI-PD/IXI016-IOP-0697-T2.nii.gz", "IXI-T1/notes.nii.gz",
        "IXI-MRA/IXI002-Guys-0828-MRA.nii.gz", "IXI.xls",
    )  # fmt: skip
    entries, damaged, oddities = read_all(ixi.SOURCE, tmp_path)
    found = scans(entries)
    assert found.keys() == {"IXI002-Guys-0828-T1", "IXI002-Guys-0828-T2", "IXI014-HH-1236-PD", "IXI016-IOP-0697-T2"}
    first = found["IXI002-Guys-0828-T1"]
    assert first.volumes == {"mri": "IXI-T1/IXI002-Guys-0828-T1.nii.gz"}
    assert (first.group, first.split, first.region, first.facts) == ("IXI002", None, "head", {"contrast": "T1"})
    assert found["IXI002-Guys-0828-T2"].group == first.group
    assert len(damaged) == 1
    assert "notes.nii.gz" in damaged[0]
    assert oddities == {"contrast other than the folder's": 1}


def test_synthrad_finds_ct_and_mask_beside_the_mri(tmp_path: Path) -> None:
    put(
        tmp_path, *(f"Task1/brain/1BA001/{name}.nii.gz" for name in ("mr", "ct", "mask")),
        *(f"Task1/pelvis/1PC098/{name}.nii.gz" for name in ("mr", "ct")),
        *(f"Task1_val/brain/1BB012/{name}.nii.gz" for name in ("mr", "mask")),
        *(f"synthRAD2025_Task1_Train/Task1/{region}/1{region}A001/{name}.mha"
          for region in ("AB", "HN", "TH") for name in ("mr", "ct", "mask")),
        "Task1/brain/overview/1BA001_train.png", "Task1/brain/overview/mr.nii.gz",
    )  # fmt: skip
    entries, damaged, oddities = read_all(synthrad.SOURCE, tmp_path)
    found = scans(entries)
    assert {name: one.region for name, one in found.items()} == {
        "1BA001": "head", "1PC098": "pelvis", "1BB012": "head", "1ABA001": "abdomen", "1HNA001": "head",
        "1THA001": "chest",
    }  # fmt: skip
    brain = "Task1/brain/1BA001"
    assert found["1BA001"].volumes == {
        "mri": f"{brain}/mr.nii.gz", "ct": f"{brain}/ct.nii.gz", "mask": f"{brain}/mask.nii.gz",
    }  # fmt: skip
    assert found["1THA001"].volumes["ct"] == "synthRAD2025_Task1_Train/Task1/TH/1THA001/ct.mha"
    assert found["1BA001"].split is None
    assert (found["1BB012"].split, set(found["1BB012"].volumes)) == ("validation", {"mri", "mask"})
    assert oddities == {"no ct beside the MRI": 1, "no mask beside the MRI": 1}
    assert len(damaged) == 1
    assert "overview" in damaged[0]


def test_synthrad_slices_of_the_real_pack_are_pairs_both_ways(packs: Path) -> None:
    folder = packs / "nc_synthrad2023_brain_slices"
    entries, damaged, oddities = read_all(synthrad.SOURCE, folder)
    cases = [path for path in (folder / "brain").iterdir() if path.is_dir()]
    assert len(cases) == 24
    assert len(entries) == len(cases) * 3 * 2
    assert (damaged, oddities) == ([], {})
    assert all(isinstance(one, Pair) for one in entries)
    assert {one.group for one in entries} == {path.name for path in cases}
    assert len({one.original_id for one in entries}) == len(entries)
    for one in entries:
        assert (folder / one.image).is_file()
        assert (folder / one.target).is_file()
        assert ("/mri_" in one.image) == (one.task == "mri-to-ct")


def test_bids_takes_facts_and_licence_from_the_study(tmp_path: Path) -> None:
    put(
        tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T1w.json",
        "sub-02/ses-a/anat/sub-02_ses-a_acq-3d_run-1_T2w.nii.gz", "sub-02/ses-b/anat/sub-02_ses-b_FLAIR.nii",
        "sub-03/anat/sub-03_defacemask.nii.gz", "sub-03/anat/sub-04_T1w.nii.gz",
        "sub-03/anat/sub-03_bp-spine_T2w.nii.gz", "derivatives/x/sub-01/anat/sub-01_T1w.nii.gz",
        "sub-01/func/sub-01_task-rest_bold.nii.gz",
    )  # fmt: skip
    (tmp_path / "dataset_description.json").write_text(json.dumps({"Name": "A study", "License": "CC0"}))
    (tmp_path / "participants.tsv").write_text(
        "participant_id \tage\tsex\nsub-01\t21\tF\n02\t26,9\tmale\nsub-03\tn/a\tn/a\n"
    )
    entries, damaged, oddities = read_all(bids.SOURCE, tmp_path)
    found = scans(entries)
    assert {name: one.facts for name, one in found.items()} == {
        "sub-01_T1w": {"contrast": "T1", "age": "21", "sex": "female"},
        "sub-02_ses-a_acq-3d_run-1_T2w": {"contrast": "T2", "age": "26,9", "sex": "male"},
        "sub-02_ses-b_FLAIR": {"contrast": "FLAIR", "age": "26,9", "sex": "male"},
        "sub-03_bp-spine_T2w": {"contrast": "T2"},
    }
    assert {one.group for one in found.values()} == {"sub-01", "sub-02", "sub-03"}
    assert {one.licence for one in found.values()} == {"CC0"}
    assert found["sub-03_bp-spine_T2w"].region == ""
    assert oddities == {"not an anatomical image: defacemask": 1}
    assert len(damaged) == 1
    assert "sub-04" in damaged[0]


def test_bids_without_its_top_files_still_reads(tmp_path: Path) -> None:
    put(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    entries, damaged, oddities = read_all(bids.SOURCE, tmp_path)
    assert len(entries) == 1
    assert damaged == []
    assert oddities == {"no licence stated": 1, "participant not in participants.tsv": 1}

"""ROCO in its three layouts, lines taken from the published files and the rest built as described."""

from pathlib import Path

from published_rows import read_all

from healthgpt.sources import roco
from healthgpt.sources.entry import Question

ARCHIVE = "wget -r ftp://ftp.ncbi.nlm.nih.gov/pub/pmc/oa_package/ab/cd/{}.tar.gz"


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def reasons(damaged: list[str]) -> list[str]:
    return [reason.partition(" ")[2] for reason in damaged]


def test_version_one_joins_captions_with_licences_and_download_lists(tmp_path: Path) -> None:
    radiology, figures = tmp_path / "data/validation/radiology", tmp_path / "data/train/non-radiology"
    write(
        radiology / "captions.txt",
        "ROCO_00020\t Axial computed tomography scan of the pelvis, catheter in situ (arrow).",
        "ROCO_00027\t Postoperative anteroposterior radiograph of the pelvis.",
        'ROCO_00082\t "Graft host junction" synechia on UBM\twith a tab',
        "ROCO_00184\t Case 2, tibial fracture.",
        "ROCO_00186\t ",
        "ROCO_99999\t Nowhere.",
    )
    write(
        radiology / "licences.txt",
        "ROCO_ID,PMC_ID,CC",
        "ROCO_00020,PMC3970251_CRIONM2014-931546.003.jpg,CC BY",
        "ROCO_00186,PMC3654115_kcj-43-265-g003.jpg,CC BY-NC",
    )
    write(
        radiology / "dlinks.txt",
        f"ROCO_00027\t{ARCHIVE.format('PMC2766744')} -P x\tcios-1-176-g005.jpg",
        f"ROCO_00184\t{ARCHIVE.format('PMC3912782')}\tjkaoms-39-257-g006.jpg",
        "a line of something else",
    )
    write(figures / "captions.txt", "ROCO_00005\t Flow chart of CT scans.")
    write(figures / "licences.txt", "ROCO_ID,PMC_ID,CC", "ROCO_00005,PMC1_a.jpg,NO-CC CODE")
    entries, damaged, oddities = read_all(roco.SOURCE, tmp_path)
    questions = {one.original_id: one for one in entries if isinstance(one, Question)}
    assert {name: (one.images[0], one.task, one.split, one.licence) for name, one in questions.items()} == {
        "ROCO_00005": ("data/train/non-radiology/images/PMC1_a.jpg", "other", "train", "NO-CC CODE"),
        "ROCO_00020": (
            "data/validation/radiology/images/PMC3970251_CRIONM2014-931546.003.jpg", "ct", "validation", "CC BY",
        ),
        "ROCO_00027": ("data/validation/radiology/images/PMC2766744_cios-1-176-g005.jpg", "x-ray", "validation", ""),
        "ROCO_00184": (
            "data/validation/radiology/images/PMC3912782_jkaoms-39-257-g006.jpg", "other", "validation", "",
        ),
    }  # fmt: skip
    assert {(one.question, one.kind) for one in questions.values()} == {("", "caption")}
    assert questions["ROCO_00027"].answer == " Postoperative anteroposterior radiograph of the pelvis."
    assert reasons(damaged) == [
        "3 cells where the table has 2 columns", "no caption", "its image is neither in licences.txt nor in dlinks.txt",
    ]  # fmt: skip
    assert oddities == {"caption padded with blanks": 4}


def test_the_copy_with_csv_tables(tmp_path: Path) -> None:
    for name, short in (("train", "train"), ("validation", "val"), ("test", "test")):
        write(
            tmp_path / f"all_data/{name}/radiology/{short}data.csv",
            "id,name,caption",
            f'ROCO_{name},PMC2_{name}.jpg,"MRI, sagittal."',
            ",PMC2_x.jpg,none",
        )
    entries, damaged, _ = read_all(roco.SOURCE, tmp_path)
    assert [(one.images[0], one.task, one.split) for one in entries if isinstance(one, Question)] == [
        (f"all_data/{name}/radiology/images/PMC2_{name}.jpg", "mri", name) for name in ("train", "validation", "test")
    ]
    assert reasons(damaged) == ["no id"] * 3


def test_version_two_knows_modalities_and_finds_its_images(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "train_images").mkdir()
    write(
        tmp_path / "test_captions.csv",
        "ID,Caption",
        "ROCOv2_2023_test_000003,Digitally subtracted angiogram of the superior rectal artery",
        'ROCOv2_2023_test_000027,"Longitudinal echography, the ring annuloplasty."',
        "ROCOv2_2023_test_000028,The whole body F18-FDG PET/CT tomography scan",
        "ROCOv2_2023_test_000030, The typical chest X-ray finding",
        "ROCOv2_2023_test_000031,",
    )
    write(
        tmp_path / "test_concepts_manual.csv",
        "ID,CUIs",
        "ROCOv2_2023_test_000003,C0002978",
        "ROCOv2_2023_test_000027,C0041618",
        "ROCOv2_2023_test_000028,",
        "ROCOv2_2023_test_000030,C1306645;C0817096;C1999039",
    )
    write(tmp_path / "train_captions.csv", "ID,Caption", "ROCOv2_2023_train_000001,Chest CT")
    write(tmp_path / "train_concepts_manual.csv", "ID,CUIs", "ROCOv2_2023_train_000001,C0040405;C0041618")
    write(tmp_path / "valid_captions.csv", "ID,Caption", "ROCOv2_2023_valid_000001,Chest CT")
    entries, damaged, oddities = read_all(roco.SOURCE, tmp_path)
    assert [(one.images[0], one.task, one.split) for one in entries if isinstance(one, Question)] == [
        ("train_images/ROCOv2_2023_train_000001.jpg", "other", "train"),
        ("valid/ROCOv2_2023_valid_000001.jpg", "ct", "validation"),
        ("test/ROCOv2_2023_test_000003.jpg", "x-ray", "test"),
        ("test/ROCOv2_2023_test_000027.jpg", "ultrasound", "test"),
        ("test/ROCOv2_2023_test_000028.jpg", "other", "test"),
        ("test/ROCOv2_2023_test_000030.jpg", "x-ray", "test"),
    ]
    assert reasons(damaged) == ["no caption"]
    assert oddities == {"caption padded with blanks": 1}

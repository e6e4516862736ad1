"""MIMIC-CXR from a release built field by field: frontal views, the split by subject, text as written."""

import gzip
from pathlib import Path

import pytest
from published_rows import read_all

from healthgpt.errors import DataError
from healthgpt.sources import mimic_cxr

HEADER = (
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,"
    "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning\n"
)
REPORT = "                                 FINAL REPORT\n EXAMINATION:  CHEST (PA AND LAT)\n\n FINDINGS:  ___ Clear.\n"


def metadata(*rows: tuple[str, str, str, str]) -> str:
    return HEADER + "".join(f"{one},{two},{three},CHEST,{view},3056,2544,21800506,213014.531,CHEST,,Erect\n"
                            for one, two, three, view in rows)  # fmt: skip


ROWS = (
    ("02aa804e-bde0afdd", "10000032", "50414267", "PA"), ("174413ec-4ec4c1f7", "10000032", "50414267", "LATERAL"),
    ("2a2277a9-b0ded155", "10000764", "57375967", "AP"), ("e084de3b-be89b11e", "10000764", "57375967", ""),
    ("68b5c4b1-227d0485", "11111111", "50000001", "AP"), ("f2b7bc5b-1c15bb5d", "10000032", "59999999", "PA"),
    ("a1b2c3d4-00000000", "1000x", "50414267", "PA"),
)  # fmt: skip


def write_release(folder: Path, *, packed: bool, reports: str, ending: str = ".jpg") -> None:
    """The files of a release with three studies, of which one has no report and one a subject outside the split."""
    split = "dicom_id,study_id,subject_id,split\n" + "".join(
        f"{one},{study},{subject},{'test' if subject == '10000764' else 'train'}\n"
        for one, subject, study, _ in ROWS
        if subject in ("10000032", "10000764")
    )
    for name, text in ((mimic_cxr.METADATA, metadata(*ROWS)), (mimic_cxr.SPLIT, split)):
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / name).write_text(text)
    for place, text in (("p10/p10000032/s50414267", REPORT), ("p10/p10000764/s57375967", "Caf\xe9")):
        path = folder / reports / f"{place}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("cp1252"))
        (folder / "files" / place).mkdir(parents=True, exist_ok=True)
        (folder / "files" / place / f"image{ending}").touch()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("reports", mimic_cxr.REPORT_FOLDERS)
@pytest.mark.parametrize("ending", [".jpg", ".dcm"])
def test_frontal_views_with_the_report_of_their_study(tmp_path: Path, packed: bool, reports: str, ending: str) -> None:
    write_release(tmp_path, packed=packed, reports=reports, ending=ending)
    entries, damaged, oddities = read_all(mimic_cxr.SOURCE, tmp_path)
    assert [(one.original_id, one.images, one.text, one.split, one.group) for one in entries] == [
        (
            "s50414267/02aa804e-bde0afdd", (f"files/p10/p10000032/s50414267/02aa804e-bde0afdd{ending}",),
            REPORT, "train", "p10000032",
        ),
        (
            "s57375967/2a2277a9-b0ded155", (f"files/p10/p10000764/s57375967/2a2277a9-b0ded155{ending}",),
            "Caf\xe9", "test", "p10000764",
        ),
    ]  # fmt: skip
    assert [one.split(" ", 1)[1] for one in damaged] == [
        "subject without a split", "no report of the study", "no dicom_id, subject_id or study_id",
    ]  # fmt: skip
    assert oddities == {
        "view not frontal": 1, "no ViewPosition": 1, "bytes that are not UTF-8, read as Windows-1252": 1,
    }  # fmt: skip


def test_a_second_copy_of_the_metadata_is_not_read_again(tmp_path: Path) -> None:
    write_release(tmp_path, packed=True, reports="files")
    write_release(tmp_path, packed=False, reports="files")
    entries, _, oddities = read_all(mimic_cxr.SOURCE, tmp_path)
    assert len(entries) == 2
    assert oddities["in a second copy of the metadata"] == len(ROWS)


@pytest.mark.parametrize("missing", [mimic_cxr.METADATA, mimic_cxr.SPLIT])
def test_missing_tables_are_named(tmp_path: Path, missing: str) -> None:
    write_release(tmp_path, packed=False, reports="files")
    (tmp_path / missing).unlink()
    with pytest.raises(DataError, match=missing):
        read_all(mimic_cxr.SOURCE, tmp_path)


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", "subject_id,split\n1,holdout\n", "subject_id,split\nx,test\n", "\xff"]
)
def test_another_split_file_is_refused(tmp_path: Path, text: str) -> None:
    write_release(tmp_path, packed=False, reports="files")
    (tmp_path / mimic_cxr.SPLIT).write_bytes(text.encode("latin-1"))
    if text == "":
        (tmp_path / mimic_cxr.SPLIT).write_bytes(b"")
    with pytest.raises(DataError, match="published split"):
        read_all(mimic_cxr.SOURCE, tmp_path)


def test_without_reports_says_what_to_unpack(tmp_path: Path) -> None:
    write_release(tmp_path, packed=False, reports="files")
    for path in (tmp_path / "files").rglob("*.txt"):
        path.unlink()
    with pytest.raises(DataError, match=r"mimic-cxr-reports\.zip"):
        read_all(mimic_cxr.SOURCE, tmp_path)


def test_credentials_are_explained() -> None:
    published = mimic_cxr.SOURCE.published
    assert published is not None
    assert published.downloads == ()
    assert "physionet.org" in published.access

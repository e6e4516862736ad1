"""A plain folder: the three layouts, the names their columns may have, and what a wrong table is told."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_rows import read_all

from healthgpt.errors import DataError
from healthgpt.sources import plain_folder
from healthgpt.sources.entry import Pair, Question, Report
from healthgpt.sources.tables import PADDED_HEADER


def table(folder: Path, *lines: str, name: str = "table.csv") -> None:
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def reasons(damaged: list[str]) -> list[str]:
    return [reason.partition(" ")[2] for reason in damaged]


def test_questions_in_csv_with_other_names_and_blanks_in_the_header(tmp_path: Path) -> None:
    table(
        tmp_path,
        " Filename ,QUESTION,gt answer,Options,Modality_Type,Subset,Patient ID,question-type,qid ",
        'a/1.png,"Which side, please?",B,left|right,Chest X-Ray,Train,p1,side,7',
        "a/2.png,Is it?,yes,,MR,dev,,,",
        "a/2.png,Is it?,no,yes|no,Thermography,,p2,,9",
        ",Is it?,no,,,,,,",
        "a/3.png,Is it?,,,,,,,",
        "a/3.png,,no,,,,,,",
        "a/3.png,Is it?,no,,,later,,,",
    )
    entries, damaged, oddities = read_all(plain_folder.SOURCE, tmp_path)
    assert entries == [
        Question(
            "table.csv:7", ("a/1.png",), "Which side, please?", "right", "x-ray", "side", ("left", "right"), "train",
            "p1",
        ),
        Question("table.csv:3", ("a/2.png",), "Is it?", "yes", "mri", "", (), "validation", ""),
        Question("table.csv:9", ("a/2.png",), "Is it?", "no", "other", "", ("yes", "no"), None, "p2"),
    ]  # fmt: skip
    assert reasons(damaged) == ["no image", "no answer", "no question", "unknown split"]
    assert oddities == {PADDED_HEADER: 1, "answer given as a letter": 1, "modality outside the seven": 1}


def test_questions_in_json_lines(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"image": ["a.png", "b.png"], "question": "How many?", "answer": 2, "id": 5},
        {"image": "a.png", "question": "Is it?", "answer": "no", "option_A": "yes", "option_B": "no", "option_C": None},
        {"image": "a.png", "question": "Is it?", "answer": "no", "options": {"A": "yes"}},
        {"image": "a.png", "question": "Which?", "answer": "(D)", "option_A": "x", "option_B": "y", "option_D": "z"},
        {"image": "a.png", "words": "none"},
        ["a.png"],
    ]
    table(tmp_path, *map(json.dumps, rows), name="more.jsonl")
    entries, damaged, oddities = read_all(plain_folder.SOURCE, tmp_path)
    assert [(one.images, one.answer, one.options, one.original_id) for one in entries if isinstance(one, Question)] == [
        (("a.png", "b.png"), 2, (), "more.jsonl:5"),
        (("a.png",), "no", ("yes", "no"), "more.jsonl:2"),
        (("a.png",), "z", ("x", "y", "z"), "more.jsonl:4"),
    ]
    assert reasons(damaged) == [
        "options are neither a list nor parted by '|'", "its columns fit no layout", "not an object",
    ]  # fmt: skip
    assert oddities == {"answer given as a letter": 1}


def test_reports_and_captions(tmp_path: Path) -> None:
    table(tmp_path, "Path,Findings,Impression,case", "1.png,Clear.,Normal.,c1", "2.png,,,c2", name="sections.csv")
    table(tmp_path, "image\treport\tmodality", "3.png\tA cyst.\tCT", "4.png\tClear.\tCXR", name="whole.tsv")
    table(tmp_path, "image_path,Caption", '5.png,"A cat, asleep."', name="words.csv")
    entries, damaged, _ = read_all(plain_folder.SOURCE, tmp_path)
    assert entries == [
        Report("sections.csv:2", ("1.png",), findings="Clear.", impression="Normal.", group="c1"),
        Question("words.csv:2", ("5.png",), "", "A cat, asleep.", "other", "caption"),
        Question("whole.tsv:2", ("3.png",), "", "A cyst.", "ct", "report"),
        Report("whole.tsv:3", ("4.png",), text="Clear."),
    ]
    assert reasons(damaged) == ["no report"]


def test_pairs(tmp_path: Path) -> None:
    table(
        tmp_path,
        "input_image,target_image,task,patient",
        "mr.png,ct.png,mri-to-ct,p1",
        "ct.png,mr.png,CT2MRI,p1",
        "small.png,large.png,Super Resolution,p2",
        "a.png,b.png,colourise,p3",
        "a.png,b.png,report-to-cxr,p3",
        "a.png,,reconstruct,p3",
        "a.png,b.png,,p3",
    )
    entries, damaged, _ = read_all(plain_folder.SOURCE, tmp_path)
    assert entries == [
        Pair("table.csv:2", "mri-to-ct", "mr.png", "ct.png", group="p1"),
        Pair("table.csv:3", "ct-to-mri", "ct.png", "mr.png", group="p1"),
        Pair("table.csv:4", "super-resolution", "small.png", "large.png", group="p2"),
    ]
    assert reasons(damaged) == [
        "unknown task", "report-to-cxr needs image and report, not a pair", "no target_image", "no task",
    ]  # fmt: skip


def test_wrong_columns_are_told_with_what_is_known(tmp_path: Path) -> None:
    table(tmp_path, "image,label", "a.png,7", name="labels.csv")
    with pytest.raises(DataError) as caught:
        read_all(plain_folder.SOURCE, tmp_path)
    message = str(caught.value)
    assert "labels.csv" in message
    assert "found columns image, label" in message
    assert all(layout in message for layout in plain_folder.LAYOUTS)
    table(tmp_path, "image;question;answer", "a.png;b;c", name="labels.csv")
    with pytest.raises(DataError, match="commas between the columns"):
        read_all(plain_folder.SOURCE, tmp_path)
    table(tmp_path, "[1, 2]", name="labels.jsonl")
    (tmp_path / "labels.csv").unlink()
    with pytest.raises(DataError, match=r"labels\.jsonl"):
        read_all(plain_folder.SOURCE, tmp_path)
    table(tmp_path, "image,question,answer", name="labels.csv")
    (tmp_path / "labels.jsonl").unlink()
    assert not read_all(plain_folder.SOURCE, tmp_path).entries


@given(st.data())
def test_every_synonym_in_any_writing_is_its_column(data: st.DataObject) -> None:
    column = data.draw(st.sampled_from(sorted(plain_folder.SYNONYMS)))
    name = data.draw(st.sampled_from(plain_folder.SYNONYMS[column]))
    written = data.draw(st.sampled_from((name, name.upper(), name.replace("_", " ").title(), name.replace("_", "-"))))
    assert plain_folder.columns_of((written,))[column] == written


def test_of_two_names_the_earlier_counts() -> None:
    columns = plain_folder.columns_of(("study_id", "subject_id", "img", "Image"))
    assert (columns["group"], columns["image"]) == ("subject_id", "Image")

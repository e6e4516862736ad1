"""PathVQA as published: pickled and LXMERT form are the same questions, and none is yielded twice."""

import json
import pickle
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from published_rows import read_all

from healthgpt.errors import DataError
from healthgpt.sources import path_vqa
from healthgpt.sources.entry import Question

SPLITS = {"train": "train", "val": "validation", "test": "test"}
LEFT_OUT = "image of the LXMERT form, left out: its split has the pickle"


def lxmert(folder: Path, name: str) -> list[dict[str, Any]]:
    records = json.loads((folder / "lxmert" / f"pvqa_{name}.json").read_text(encoding="utf-8"))
    assert isinstance(records, list)
    return records


def told_by_lxmert(records: list[dict[str, Any]]) -> Counter[tuple[str, str, str]]:
    """(image, question, answer) of each question; padding and case differ between the forms."""
    return Counter(
        (
            f"images/{one['img_id'].split('_')[0]}/{one['img_id']}.jpg",
            question.strip(),
            next(iter(label)).strip().lower(),
        )
        for one in records
        for question, label in zip(one["sentf"]["pvqa"], one["labelf"]["pvqa"], strict=True)
    )


def yielded(source_folder: Path) -> tuple[list[Question], list[str], Counter[str]]:
    entries, damaged, oddities = read_all(path_vqa.SOURCE, source_folder)
    return [entry for entry in entries if isinstance(entry, Question)], damaged, oddities


def test_real_pack_whole(packs: Path) -> None:
    folder = packs / "path_vqa"
    found, damaged, oddities = yielded(folder)
    assert damaged == []
    assert Counter(one.split for one in found) == {"train": 4_900, "validation": 1_666, "test": 1_795}
    assert len({one.original_id for one in found}) == len(found)
    # Training comes from the pickle and is still what the other form says, less padding and case.
    for name, split in SPLITS.items():
        said = Counter(
            (one.images[0], one.question.strip(), str(one.answer).strip().lower())
            for one in found
            if one.split == split
        )
        assert said == told_by_lxmert(lxmert(folder, name))
    assert sum(one.answer != one.answer.strip() for one in found if one.split == "train") == 52
    assert oddities == {LEFT_OUT: 746, "image without questions": 36 + 29}
    kinds = Counter(one.kind for one in found)
    assert kinds["presence"] + kinds["what"] > 0.8 * len(found)
    closed = [one for one in found if str(one.answer).lower() in ("yes", "no")]
    assert sum(one.kind == "presence" for one in closed) > 0.99 * len(closed)


def test_lxmert_form_alone(packs: Path, tmp_path: Path) -> None:
    shutil.copytree(packs / "path_vqa" / "lxmert", tmp_path / "lxmert")
    found, damaged, oddities = yielded(tmp_path)
    assert damaged == []
    assert Counter(one.split for one in found) == {"train": 4_900, "validation": 1_666, "test": 1_795}
    assert oddities == {"image without questions": 104 + 36 + 29}


def image(name: str, questions: Any, labels: Any) -> dict[str, Any]:
    return {"img_id": name, "sentf": {"pvqa": questions}, "labelf": {"pvqa": labels}}


def test_rows_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "qas" / "train").mkdir(parents=True)
    pickled = [
        {"image": "train_0001", "question": "How many cells are there?", "answer": 3},
        {"image": "", "question": "What?", "answer": "a"},
        {"image": "train_0001", "question": "What?"},
        ["train_0001", "What?", "a"],
    ]
    (tmp_path / "qas" / "train" / "train_qa.pkl").write_bytes(pickle.dumps(pickled))
    (tmp_path / "lxmert").mkdir()
    records = [
        image("val_0001", ["What is it?", "Where is it?"], [{"a": 1}, {"b": 1}]),
        image("val_0002", ["What is it?"], []),
        image("val_0003", ["What is it?"], [{}]),
        image("val_0004", "What is it?", [{"a": 1}]),
        {"img_id": "val_0005", "sentf": {}, "labelf": {"pvqa": []}},
        image("val_0006", [], []),
    ]
    (tmp_path / "lxmert" / "pvqa_val.json").write_text(json.dumps(records))
    found, damaged, oddities = yielded(tmp_path)
    assert [(one.original_id, one.kind, one.answer) for one in found] == [
        ("train_0001/1", "count", 3),
        ("val_0001/1", "what", "a"),
        ("val_0001/2", "position", "b"),
    ]
    assert [reason.split(" ", 1)[1] for reason in damaged] == [
        "no image", "no answer", "a list where an object was published", "1 questions and 0 answers",
        "an answer is not an object with the answer as its name", "sentf.pvqa is not a list", "no pvqa",
    ]  # fmt: skip
    assert oddities == {"image without questions": 1}


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "qas" / "train").mkdir(parents=True)
    made = tmp_path / "made"
    (tmp_path / "qas" / "train" / "train_qa.pkl").write_bytes(f"cos\nmkdir\n(V{made}\ntR.".encode())
    with pytest.raises(DataError, match=r"train_qa\.pkl"):
        yielded(tmp_path)
    assert not made.exists()


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Is the cortex thin?", "presence"), ("how much of it is shown?", "count"), ("How is it stained?", "how"),
        ("", "other"), ("Whose arm is it?", "whose"), ("  what ", "what"), ("Name the organ.", "other"),
    ],
)  # fmt: skip
def test_kinds(question: str, kind: str) -> None:
    assert path_vqa.kind_of(question) == kind

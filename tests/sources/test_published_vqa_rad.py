"""VQA-RAD as published: one record becomes the questions of the customary split, no more and no fewer."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from published_rows import read_all

from healthgpt.sources import vqa_rad
from healthgpt.sources.entry import Question

FOLDER = "VQA_RAD Image Folder"


def customary(folder: Path, name: str) -> list[dict[str, Any]]:
    records = json.loads((folder / "data_RAD" / f"{name}set.json").read_text(encoding="utf-8"))
    assert isinstance(records, list)
    return records


def test_the_customary_split_comes_out(packs: Path) -> None:
    folder = packs / "vqa_rad"
    entries, damaged, oddities = read_all(vqa_rad.SOURCE, folder)
    assert damaged == []
    found = [entry for entry in entries if isinstance(entry, Question)]
    for split in ("train", "test"):
        said = Counter(
            (f"{FOLDER}/{one['image_name']}", one["question"], str(one["answer"]), one["phrase_type"] == "frame")
            for one in customary(folder, split)
        )
        ours = Counter(
            (one.images[0], one.question, str(one.answer), one.original_id.endswith("/frame"))
            for one in found
            if one.split == split
        )
        assert ours == said
    assert Counter(one.split for one in found) == {"train": 2_571, "test": 374}
    # All of the release: 1,206 + 591 + 1,267 = 3,064 for training; the pack has a share of each.
    frames = [one for one in found if one.original_id.endswith("/frame")]
    assert len(frames) == 1_062
    assert {one.split for one in frames} == {"train"}
    assert len({one.original_id for one in found}) == len(found) == len(entries)
    records = json.loads((folder / vqa_rad.RELEASE).read_text(encoding="utf-8"))
    assert oddities == {
        "NULL question_frame": sum(one["question_frame"] == "NULL" for one in records),
        "misspelt question_type": sum(one["question_type"].split(",")[0] in ("PRSE", "ATRIB") for one in records),
        "no question_rephrase": sum("question_rephrase" not in one for one in records),
        "answer_type padded with blanks": sum(one["answer_type"].endswith(" ") for one in records),
        "integer answer": sum(isinstance(one["answer"], int) for one in records),
        "qid that is text": 1,
    }


def test_cases_stay_together(packs: Path) -> None:
    folder = packs / "vqa_rad"
    entries = read_all(vqa_rad.SOURCE, folder).entries
    group_of = {entry.images[0].split("/")[-1]: entry.group for entry in entries if isinstance(entry, Question)}
    of_case: dict[str, set[str]] = {}
    for one in json.loads((folder / vqa_rad.RELEASE).read_text(encoding="utf-8")):
        of_case.setdefault(one["image_case_url"], set()).add(group_of[one["image_name"]])
    assert all(len(groups) == 1 for groups in of_case.values())


def test_rows_that_cannot_be_read(tmp_path: Path) -> None:
    whole = {
        "qid": 1, "phrase_type": "freeform", "image_case_url": "case-1", "image_name": "synpic16520.jpg",
        "image_organ": "HEAD", "question": "How many?", "question_frame": "NULL", "question_type": "COUNT",
        "question_rephrase": "NULL", "answer": 2, "answer_type": "OPEN",
    }  # fmt: skip
    rows = [
        whole,
        whole | {"qid": 2, "phrase_type": "test_para", "question_frame": "How many masses?", "answer_type": "OPEN "},
        whole | {"qid": 3, "image_name": ""},
        whole | {"qid": 4, "answer_type": None},
        {name: whole[name] for name in whole if name != "answer"},
        [whole],
    ]
    (tmp_path / vqa_rad.RELEASE).write_text(json.dumps(rows), encoding="utf-8")
    entries, damaged, _ = read_all(vqa_rad.SOURCE, tmp_path)
    found = [(one.original_id, one.split, one.task, one.kind) for one in entries if isinstance(one, Question)]
    assert found == [
        ("qid-1", "train", "ct", "count"),
        ("qid-2", "test", "ct", "count"),
        ("qid-2/frame", "train", "ct", "count"),
    ]
    assert [reason.removeprefix(f"{vqa_rad.RELEASE}:1 ") for reason in damaged] == [
        "no image_name",
        "answer_type is not text",
        "no answer",
        "a list where an object was published",
    ]

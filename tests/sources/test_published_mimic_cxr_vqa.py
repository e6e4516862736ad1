"""MIMIC-CXR-VQA: no real record may be here, so that records are built field by field.

Fields and the form of answers and paths are those of the README and of ``dataset_builder/generate_answer.py`` in
github.com/baeseongsu/mimic-cxr-vqa.
"""

import json
from pathlib import Path
from typing import Any

from published_rows import read_all

from healthgpt.sources import mimic_cxr_vqa
from healthgpt.sources.entry import Question

IMAGE = "34c81443-5a19ccad-7b5e431c-4e1dbb28-42a325c0"


def record(number: int, **given_fields: Any) -> dict[str, Any]:
    fields = {
        "subject_id": "10000032", "study_id": "50414267", "image_path": f"p10/p10000032/s50414267/{IMAGE}.jpg",
        "answer": ["no"], "split": "train", "idx": number, "image_id": IMAGE,
        "question": "Are there signs of both pleural effusion and lung cancer in the left lower lung zone?",
        "content_type": "attribute", "semantic_type": "verify",
        "template": "Are there signs of both ${attribute_1} and ${attribute_2} in the ${object}?",
        "template_program": "program_5",
        "template_arguments": {
            "object": {"0": "left lower lung zone"}, "attribute": {"0": "pleural effusion", "1": "lung cancer"},
            "category": {}, "viewpos": {}, "gender": {},
        },
    }  # fmt: skip
    return fields | given_fields


def write(folder: Path, name: str, records: list[Any]) -> None:
    (folder / "dataset").mkdir(exist_ok=True)
    (folder / "dataset" / f"{name}.json").write_text(json.dumps(records, indent=4))


def test_answers_are_lists(tmp_path: Path) -> None:
    findings = ["atelectasis", "pleural effusion"]
    write(tmp_path, "train", [record(0), record(1, answer=findings, content_type="abnormality", semantic_type="query")])
    write(tmp_path, "valid", [record(0, answer=[], subject_id=10000033), record(1, answer="yes", content_type="?")])
    write(tmp_path, "test", [record(0, image_path=f"files/p10/p10000032/s50414267/{IMAGE}.jpg")])
    # What the repository holds before its script has run is not read.
    unanswered = {name: value for name, value in record(5).items() if name != "answer"}
    write(tmp_path, "_train", [unanswered])
    entries, damaged, oddities = read_all(mimic_cxr_vqa.SOURCE, tmp_path)
    assert damaged == []
    found = [entry for entry in entries if isinstance(entry, Question)]
    assert [(one.original_id, one.answer, one.kind, one.group, one.split) for one in found] == [
        ("train/0", "no", "attribute", "p10000032", "train"),
        ("train/1", "atelectasis, pleural effusion", "abnormality", "p10000032", "train"),
        ("validation/0", "", "attribute", "p10000033", "validation"),
        ("validation/1", "yes", "other", "p10000032", "validation"),
        ("test/0", "no", "attribute", "p10000032", "test"),
    ]
    assert {one.images for one in found} == {(f"files/p10/p10000032/s50414267/{IMAGE}.jpg",)}
    assert {one.task for one in found} == {"x-ray"}
    assert oddities == {
        "empty list of answers": 1,
        "answer that is text and not a list": 1,
        "unknown content_type": 1,
    }


def test_rows_that_cannot_be_read(tmp_path: Path) -> None:
    unanswered = {name: value for name, value in record(5).items() if name != "answer"}
    rows = [
        record(0), unanswered, record(1, answer=None), record(2, answer=["yes", 3]), record(3, image_path=None),
        record(4, image_path=""), [record(5)],
    ]  # fmt: skip
    write(tmp_path, "train", rows)
    entries, damaged, _ = read_all(mimic_cxr_vqa.SOURCE, tmp_path)
    assert [entry.original_id for entry in entries] == ["train/0"]
    assert [reason.split(" ", 1)[1] for reason in damaged] == [
        "no answer", "answer is not a list of texts", "answer is not a list of texts", "image_path is not text",
        "no image_path", "a list where an object was published",
    ]  # fmt: skip


def test_published_counts_add_up() -> None:
    assert sum(table.rows for table in mimic_cxr_vqa.PUBLISHED.tables) == mimic_cxr_vqa.SOURCE.published_questions

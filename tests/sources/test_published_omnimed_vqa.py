"""OmniMedVQA: records built field by field after the data set's cards; its 10.7 GB are not here.

github.com/OpenGVLab/Multi-Modality-Arena and huggingface.co/datasets/foreverbeliever/OmniMedVQA.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from published_rows import read_all

from healthgpt.sources import omnimed_vqa
from healthgpt.sources.entry import Question
from healthgpt.tasks import MODALITIES


def record(number: int, **given_fields: Any) -> dict[str, Any]:
    fields = {
        "dataset": "ACRIMA", "question_id": f"ACRIMA_{number:04d}", "question_type": "Modality Recognition",
        "question": "What imaging technique was employed to obtain this picture?", "gt_answer": "Fundus imaging",
        "image_path": "Images/ACRIMA/Im553_g_ACRIMA.png", "option_A": "PET scan", "option_B": "CT scan",
        "option_C": "Blood test", "option_D": "Fundus imaging", "modality_type": "Fundus Photography",
    }  # fmt: skip
    return fields | given_fields


def write(folder: Path, name: str, records: list[Any]) -> None:
    path = folder / "QA_information" / "Open-access" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records, indent=4))


def yielded(folder: Path) -> tuple[list[Question], list[str], dict[str, int]]:
    entries, damaged, oddities = read_all(omnimed_vqa.SOURCE, folder)
    return [entry for entry in entries if isinstance(entry, Question)], damaged, oddities


@pytest.mark.parametrize("place", ["", "OmniMedVQA/"])
def test_questions_with_their_options(place: str, tmp_path: Path) -> None:
    write(tmp_path / place, "ACRIMA", [record(0)])
    scan = record(1, dataset="Chest CT Scan", modality="CT(Computed Tomography)", gt_answer="Squamous cell carcinoma ",
                  option_A="Squamous cell carcinoma", question_type="Disease Diagnosis",
                  image_path="Images/Chest CT Scan/test/adenocarcinoma/000108 (3).png")  # fmt: skip
    del scan["modality_type"], scan["option_C"]
    scan["option_D"] = None
    write(tmp_path / place, "Chest CT Scan", [scan])
    (tmp_path / place / "QA_information" / "Restricted-access").mkdir()
    (tmp_path / place / "QA_information" / "Restricted-access" / "AIDA.json").write_text(json.dumps([record(9)]))
    (fundus, ct), damaged, oddities = yielded(tmp_path)
    assert damaged == []
    assert fundus == Question(
        original_id="ACRIMA_0000", images=(f"{place}Images/ACRIMA/Im553_g_ACRIMA.png",),
        question="What imaging technique was employed to obtain this picture?", answer="Fundus imaging", task="fundus",
        kind="modality", options=("PET scan", "CT scan", "Blood test", "Fundus imaging"), split="test",
        group="Images/ACRIMA/Im553_g_ACRIMA.png",
    )  # fmt: skip
    assert (ct.task, ct.kind, ct.options) == ("ct", "diagnosis", ("Squamous cell carcinoma", "CT scan"))
    assert ct.images == (f"{place}Images/Chest CT Scan/test/adenocarcinoma/000108 (3).png",)
    assert oddities == {"modality for modality_type": 1, "fewer than four options": 1}


def test_what_is_unknown_is_counted_and_kept(tmp_path: Path) -> None:
    write(tmp_path, "X", [record(0, modality_type="PET", question_type="?"), record(1, gt_answer="None of them")])
    (unknown, openly), damaged, oddities = yielded(tmp_path)
    assert damaged == []
    assert (unknown.task, unknown.kind) == ("other", "other")
    assert openly.options == ()
    assert oddities == {
        "unknown modality": 1,
        "unknown question_type": 1,
        "the right answer is not among the options: asked openly": 1,
    }


def test_rows_that_cannot_be_read(tmp_path: Path) -> None:
    incomplete = record(1)
    del incomplete["gt_answer"]
    write(tmp_path, "X", [record(0), incomplete, record(2, image_path=" "), record(3, question_id=3), "text"])
    found, damaged, _ = yielded(tmp_path)
    assert [one.original_id for one in found] == ["ACRIMA_0000"]
    assert [reason.split(" ", 1)[1] for reason in damaged] == [
        "no gt_answer", "no image_path", "question_id is not text", "a str where an object was published",
    ]  # fmt: skip


def test_every_modality_of_the_task_table_is_tested() -> None:
    assert set(omnimed_vqa.TASKS_OF.values()) == {*MODALITIES, "other"}
    assert len(omnimed_vqa.TASKS_OF) == 12

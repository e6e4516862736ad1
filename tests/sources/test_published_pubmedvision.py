"""PubMedVision, built field by field from the data set's card."""

import json
from pathlib import Path
from typing import Any

from published_rows import read_all
from test_conversation import talk

from healthgpt.sources import pubmedvision
from healthgpt.sources.entry import Question


def figure(number: int, images: int = 1, **given: Any) -> dict[str, Any]:
    row = {
        "image": [f"images/pmc_{number}_{position}.jpg" for position in range(images)],
        "id": f"PubMedVision_InstructionTuning_VQA_{number}",
        "conversations": talk("<image>\nWhat is seen?", "A mass.", "And beside it?", "Oedema."),
        "body_part": "Chest",
        "modality": "Computed Tomography",
    }
    return row | given


def test_instruction_tuning(tmp_path: Path) -> None:
    rows = [
        figure(1), figure(2, images=3), figure(3, modality="Others"), figure(4, modality=None),
        figure(5, image="images/pmc_5_0.jpg", modality="Digital Photography"),
    ]  # fmt: skip
    (tmp_path / "PubMedVision_InstructionTuning_VQA.json").write_text(json.dumps(rows, indent=2))
    entries, damaged, oddities = read_all(pubmedvision.INSTRUCT, tmp_path)
    questions = [entry for entry in entries if isinstance(entry, Question)]
    assert not damaged
    assert len(questions) == 10
    assert len({one.original_id for one in questions}) == 10
    assert questions[0].original_id == "PubMedVision_InstructionTuning_VQA_1#0"
    assert questions[1].question == "And beside it?"
    assert [one.task for one in questions[::2]] == ["ct", "ct", "other", "other", "other"]
    assert questions[2].images == ("images/pmc_2_0.jpg", "images/pmc_2_1.jpg", "images/pmc_2_2.jpg")
    assert [one.group for one in questions[::2]] == ["pmc_1", "pmc_2", "pmc_3", "pmc_4", "pmc_5"]
    assert {(one.kind, one.split) for one in questions} == {("conversation", "train")}
    assert oddities == {
        "several images": 1, "modality outside the seven": 1, "no modality": 1, "image is a name and not a list": 1,
    }  # fmt: skip


def test_alignment_and_rows_that_cannot_be_read(tmp_path: Path) -> None:
    caption = talk("Describe it.", "A mass.")
    rows = [figure(1, conversations=caption), figure(2, image=[]), figure(3, id=None), figure(4, conversations=[]), 7]
    (tmp_path / "PubMedVision_Alignment_VQA.json").write_text(json.dumps(rows))
    entries, damaged, _ = read_all(pubmedvision.ALIGNMENT, tmp_path)
    assert [(one.kind, one.answer) for one in entries if isinstance(one, Question)] == [("caption", "A mass.")]
    assert [reason.partition(" ")[2] for reason in damaged] == [
        "no image", "no id", "the conversation is empty", "not an object",
    ]  # fmt: skip

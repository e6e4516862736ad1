"""VL-Health as released, built from its cards; what the cards do not tell is read or refused with a reason."""

import json
from pathlib import Path
from typing import Any

from published_rows import read_all
from test_conversation import talk

from healthgpt.sources import vl_health
from healthgpt.sources.entry import Pair, Question, Report


def write(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))


def test_comprehension(tmp_path: Path) -> None:
    described = talk("<image>\nCan you describe the image for me?", "Model response")
    write(
        tmp_path / "Alignment/comprehension/train_data.json",
        [{"id": "PubMedVision_1", "image": "/data/images/pmc_1_0.jpg", "conversations": described}],
    )
    write(
        tmp_path / "Instruct/comprehension/OCT.json",
        [
            {"image": "a.png", "conversations": talk("<image>\nWhat is seen?", "A drusen.")},
            {"image": "a.png", "conversations": talk("<image>\nHow large?", "Small.")},
            {"image": "b.png", "conversations": [], "id": 1},
            {"image": "", "modality": "MRI", "conversations": talk("Hello", "Hi"), "id": 2},
            7,
        ],
    )
    (tmp_path / "Alignment/pre_aligned_weights").mkdir()
    (tmp_path / "Alignment/pre_aligned_weights/trainer_state.json").write_text("{}")
    entries, damaged, oddities = read_all(vl_health.SOURCE, tmp_path)
    questions = [one for one in entries if isinstance(one, Question)]
    assert [(one.images, one.task, one.kind, one.split) for one in questions] == [
        # Not made relative by its owner: passed on as it is, for the builder to refuse.
        (("/data/images/pmc_1_0.jpg",), "other", "caption", "train"),
        (("a.png",), "oct", "conversation", "train"),
        (("a.png",), "oct", "conversation", "train"),
        ((), "mri", "conversation", "train"),
    ]
    assert len({one.original_id for one in questions}) == 4
    assert questions[0].original_id.startswith("PubMedVision_1~")
    assert [reason.partition(" ")[2] for reason in damaged] == ["the conversation is empty", "not an object"]
    assert oddities == {"no id": 2, "conversation without an image": 1}


def test_generation(tmp_path: Path) -> None:
    codes = [{"from": "gpt", "value": [17, 4]}]
    row: dict[str, Any] = {"image": "mr.png", "conversations": talk("<image>\nTurn the MRI into a CT.", "")}
    write(
        tmp_path / "generation/train.json",
        [
            row | {"target_image": "ct.png"},
            row,
            row | {"conversations": talk("<image>\nReconstruct the image.")[:1] + codes},
            row | {"task": "sr", "target_image": "sharp.png"},
            {"conversations": talk("Report-to-CXR: Effusion."), "target_image": "cxr.png"},
            row | {"conversations": talk("Improve it."), "target_image": "x.png"},
            row | {"image": ["a.png", "b.png"], "target_image": "x.png"},
            row | {"conversations": codes},
        ],
    )
    entries, damaged, _ = read_all(vl_health.SOURCE, tmp_path)
    assert [(one.task, one.image, one.target) for one in entries if isinstance(one, Pair)] == [
        ("mri-to-ct", "mr.png", "ct.png"),
        ("reconstruct", "mr.png", "mr.png"),
        ("super-resolution", "mr.png", "sharp.png"),
    ]
    assert [(one.text, one.images) for one in entries if isinstance(one, Report)] == [
        ("Report-to-CXR: Effusion.", ("cxr.png",))
    ]
    assert len({one.original_id for one in entries}) == 4
    assert [reason.partition(" ")[2] for reason in damaged] == [
        "the target is not an image (VQ indices?)", "the generation task is not told", "several input images",
        "the conversation does not begin with a human's words",
    ]  # fmt: skip

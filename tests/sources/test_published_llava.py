"""LLaVA-1.5, built field by field from the authors' README."""

import json
from pathlib import Path
from typing import Any

from published_rows import read_all
from test_conversation import talk

from healthgpt.sources import llava
from healthgpt.sources.entry import Question


def read(folder: Path, name: str, rows: list[Any], source: Any) -> tuple[list[Question], list[str], dict[str, int]]:
    (folder / name).write_text(json.dumps(rows))
    entries, damaged, oddities = read_all(source, folder)
    questions = [entry for entry in entries if isinstance(entry, Question)]
    assert len(questions) == len(entries)
    return questions, [reason.partition(" ")[2] for reason in damaged], dict(oddities)


def test_pictures_with_captions(tmp_path: Path) -> None:
    row = {"id": "004539375", "image": "00453/004539375.jpg", "conversations": talk("Describe it.\n<image>", "a room")}
    rows = [row, {"id": "1", "conversations": row["conversations"]}, {**row, "id": ""}, []]
    questions, damaged, oddities = read(tmp_path, "blip_laion_cc_sbu_558k.json", rows, llava.ALIGNMENT)
    assert questions == [
        Question(
            "004539375#0", ("images/00453/004539375.jpg",), "Describe it.\n<image>", "a room", "other", "caption",
            split="train", group="00453/004539375.jpg",
        )
    ]  # fmt: skip
    assert damaged == ["no image", "no id", "no id"]
    assert oddities == {}


def test_conversations_with_and_without_a_picture(tmp_path: Path) -> None:
    picture = {"id": "000000033471", "image": "coco/train2017/000000033471.jpg"}
    rows = [
        {**picture, "conversations": talk("<image>\nWhat colour?", "White.", "Why?", "Paint.")},
        {**picture, "conversations": talk("<image>\nHow many?", "2")},
        {"id": 2_351_342, "image": "vg/VG_100K/2.jpg", "conversations": talk("<image>\nWhere?", "[0.1, 0.2]")},
        {"id": "wgByO4Y_0", "model": "", "conversations": talk("Write a poem.", "No.", "Please.", "Well.")},
        {"id": "empty_0", "model": "", "conversations": []},
        {"id": "odd_0", "model": "", "conversations": talk("Hello", "Hi", first="gpt")},
    ]
    questions, damaged, oddities = read(tmp_path, "llava_v1_5_mix665k.json", rows, llava.INSTRUCT)
    assert len({one.original_id for one in questions}) == len(questions) == 6
    assert [one.images for one in questions[2:]] == [
        ("coco/train2017/000000033471.jpg",), ("vg/VG_100K/2.jpg",), (), (),
    ]  # fmt: skip
    assert {one.group for one in questions[:3]} == {"coco/train2017/000000033471.jpg"}
    assert {one.group for one in questions[4:]} == {"wgByO4Y_0"}
    assert questions[3].original_id.startswith("2351342~")
    assert damaged == ["the conversation is empty", "the conversation begins with gpt"]
    assert oddities == {"id is a number": 1, "conversation without an image": 1}

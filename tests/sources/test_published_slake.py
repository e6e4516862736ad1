"""SLAKE as published: the real question files, English only, every record accounted for."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from published_rows import read_all

from healthgpt.sources import slake
from healthgpt.sources.entry import Question
from healthgpt.tasks import MODALITIES

SPLITS = {"train": "train", "validate": "validation", "test": "test"}


def record(**given_fields: Any) -> dict[str, Any]:
    fields = {
        "img_id": 1, "img_name": "xmlab1/source.jpg", "question": "What modality is used to take this image?",
        "answer": "MRI", "q_lang": "en", "location": "Abdomen", "modality": "MRI", "answer_type": "OPEN",
        "base_type": "vqa", "content_type": "Modality", "triple": ["vhead", "_", "_"], "qid": 0,
    }  # fmt: skip
    return fields | given_fields


def write(folder: Path, name: str, records: list[Any]) -> None:
    path = folder / "Slake1.0" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")


def test_real_pack_whole(packs: Path) -> None:
    entries, damaged, oddities = read_all(slake.SOURCE, packs / "slake")
    assert damaged == []
    told: Counter[tuple[Any, ...]] = Counter()
    left_out = 0
    for name, split in SPLITS.items():
        for one in json.loads((packs / "slake" / "Slake1.0" / f"{name}.json").read_text(encoding="utf-8")):
            left_out += one["q_lang"] == "zh"
            if one["q_lang"] == "en":
                told[split, f"Slake1.0/imgs/{one['img_name']}", one["question"], one["answer"]] += 1
    found = [entry for entry in entries if isinstance(entry, Question)]
    assert Counter((one.split, one.images[0], one.question, one.answer) for one in found) == told
    assert oddities == {"Chinese question, left out": left_out}
    assert Counter(one.split for one in found) == {"train": 4_919, "validation": 903, "test": 519}
    assert len({one.original_id for one in found}) == len(found) == len(entries)
    assert {one.task for one in found} == {"ct", "mri", "x-ray"} < set(MODALITIES)
    assert {one.kind for one in found} == set(slake.KINDS.values())
    # No English test image is known from training; with the Chinese questions most would be.
    images = {split: {one.group for one in found if one.split == split} for split in SPLITS.values()}
    assert [len(images[split]) for split in SPLITS.values()] == [450, 80, 46]
    assert not images["train"] & images["test"]
    assert not images["train"] & images["validation"]
    assert not images["validation"] & images["test"]


def test_rows_that_cannot_be_read(tmp_path: Path) -> None:
    incomplete = record()
    del incomplete["img_name"]
    rows = [
        record(qid=1), incomplete, record(img_name=7), record(img_name=" "), record(q_lang="fr"), 3,
        record(qid=2, q_lang="zh", question="哪个器官?", answer="肝脏"),
        record(qid=3, modality="PET", content_type="?"), record(qid=4, answer=2),
    ]  # fmt: skip
    write(tmp_path, "train", rows)
    entries, damaged, oddities = read_all(slake.SOURCE, tmp_path)
    assert [entry.original_id for entry in entries] == ["qid-1", "qid-3", "qid-4"]
    assert [reason.split(" ", 1)[1] for reason in damaged] == [
        "no img_name", "img_name is not text", "no img_name", "q_lang is 'fr'", "a int where an object was published",
    ]  # fmt: skip
    assert oddities == {"Chinese question, left out": 1, "unknown modality": 1, "unknown content_type": 1}
    assert isinstance(entries[1], Question)
    assert (entries[1].task, entries[1].kind) == ("other", "other")


@pytest.mark.parametrize("name", ["img_name", "question", "answer", "q_lang", "modality", "content_type", "qid"])
def test_every_field_it_needs_is_promised(name: str) -> None:
    assert all(name in table.columns for table in slake.PUBLISHED.tables)

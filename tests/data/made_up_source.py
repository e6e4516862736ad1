"""A source that tests make: JSON lines with questions, and images written beside them."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from healthgpt.sources.base import Source
from healthgpt.sources.entry import BadRowError, Entry, Pair, Question
from healthgpt.sources.layout import Published, Row, Table

NAME = "made_up"


def entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """A question, or a pair where the row names a target."""
    value = row.value
    if value.get("broken"):
        raise BadRowError("broken on purpose")
    if "target" in value:
        yield Pair(
            value["id"], value["task"], value["image"], value["target"], value.get("split"), value.get("group", "")
        )
        return
    yield Question(
        original_id=value["id"],
        images=tuple(value.get("images", [])),
        question=value["question"],
        answer=value["answer"],
        task=value.get("task", "x-ray"),
        kind=value.get("kind", "finding"),
        options=tuple(value.get("options", ())),
        split=value.get("split"),
        group=value.get("group", ""),
    )


SOURCE = Source(
    name=NAME,
    title="A source made by a test",
    licence="CC0 1.0",
    obtain="https://example.org",
    folder=NAME,
    published_images=0,
    published_questions=0,
    published=Published(
        tables=(Table("*.jsonl", "json", columns=("id",)),),
        entries=entries,
        expected=(("*.jsonl", 0, "rows"),),
        splits="as the rows say",
        yields="questions and pairs",
    ),
)


def write_rows(folder: Path, rows: list[dict[str, Any]], name: str = "rows.jsonl") -> Path:
    """Write rows as JSON lines; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def write_picture(path: Path, seed: int, size: int = 96) -> str:
    """A picture of smooth random structure, so that different seeds are no near-duplicates; returns its name."""
    rng = np.random.default_rng(seed)
    coarse = PillowImage.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse.resize((size, size), PillowImage.Resampling.BICUBIC).save(path)
    return path.name


def questions(count: int, **fields: Any) -> list[dict[str, Any]]:
    """So many rows of questions without images."""
    return [
        {"id": f"q{number}", "question": f"What is item {number}?", "answer": f"thing {number}", **fields}
        for number in range(count)
    ]

"""Run a session over records and write every prediction to disk before anything is scored.

answers.jsonl          {id, answer, confidence} a line
drawings/ID.png        one drawn image a record
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from healthgpt.inference.session import Session
from healthgpt.record import Record
from healthgpt.request import ASK, Request
from healthgpt.result import Answer, Drawing
from healthgpt.tasks import TASKS

Progress = Callable[[int, int], None]


def request_of(record: Record, folder: Path, *, sighted: bool) -> Request:
    """What a user would ask to get this record's response."""
    image = folder / record.image if record.image is not None else None
    if TASKS[record.task].family == "comprehension":
        return Request(ASK, image if sighted else None, record.instruction)
    return Request(record.task, image, record.words if TASKS[record.task].takes_text else None)


def predict_answers(
    session: Session,
    records: Sequence[Record],
    folder: Path,
    output: Path,
    *,
    sighted: bool,
    batch: int = 32,
    progress: Progress = lambda done, total: None,
) -> list[str]:
    """Answers in the order of ``records``; written to ``output``. ``sighted`` False leaves the image out."""
    answers: list[str] = []
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", encoding="utf-8") as stream:
        for start in range(0, len(records), batch):
            chunk = records[start : start + batch]
            results = session.run([request_of(record, folder, sighted=sighted) for record in chunk], max_new_tokens=24)
            for record, result in zip(chunk, results, strict=True):
                assert isinstance(result, Answer)
                answers.append(result.text)
                line = {"id": record.id, "answer": result.text, "confidence": result.confidence}
                stream.write(json.dumps(line) + "\n")
            progress(len(answers), len(records))
    return answers


def predict_drawings(
    session: Session,
    records: Sequence[Record],
    folder: Path,
    output: Path,
    *,
    batch: int = 40,
    progress: Progress = lambda done, total: None,
) -> list[np.ndarray]:
    """Drawn uint8 images in the order of ``records``; written below ``output``."""
    images: list[np.ndarray] = []
    output.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(records), batch):
        chunk = records[start : start + batch]
        results = session.run([request_of(record, folder, sighted=True) for record in chunk])
        for record, result in zip(chunk, results, strict=True):
            assert isinstance(result, Drawing)
            images.append(result.pixels)
            PillowImage.fromarray(result.pixels).save(output / (re.sub(r"[^\w.-]", "_", record.id) + ".png"))
        progress(len(images), len(records))
    return images

"""One VL-Health example: the paper's five parts plus where it came from.

On disk a data set is a folder: shards of records (``data/shards.py``), or ``records.jsonl`` with one record a line,
beside ``images/``. In memory, before pixels are written, an example is a ``Sample``: the record with its pixel arrays.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from healthgpt.errors import DataError
from healthgpt.tasks import PHRASINGS, TASKS, task_named

Split = Literal["train", "validation", "test"]


class Provenance(BaseModel):
    """Where a record came from and on what terms."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    """Name of the data set, e.g. ``vl-phantom`` or ``vqa_rad``."""
    licence: str
    original_id: str
    group: str
    """Patient, case or image identity; a group never spans two splits."""
    published_split: Split | None = None
    """What the publisher made of it, which may share images between training and test."""
    disjoint_split: Split | None = None
    """A split that shares no image, patient or near-duplicate, drawn afresh from all of the source's images."""
    transforms: tuple[str, ...] = ()
    """What was done to words and images on the way from the original, in order."""


class Record(BaseModel):
    """Task type, instruction, response, input image, target image (HealthGPT, section 4.1)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    task: str
    instruction: str
    response: str = ""
    """The words to say; empty for generation tasks."""
    image: str | None = None
    """Input image, relative to the folder of ``records.jsonl``."""
    target_image: str | None = None
    """Image to draw, relative likewise; its VQ indices are kept beside the records by codec hash."""
    options: tuple[str, ...] = ()
    """Single-choice options, already spelt out in the instruction; empty for open questions."""
    kind: str = ""
    """Question type: modality, region, presence, side, count, size, comparison, report, ..."""
    split: Split
    provenance: Provenance

    @property
    def words(self) -> str:
        """The instruction without the task's phrasing: the report to draw, for a task that draws from one."""
        for phrasing in PHRASINGS.get(self.task, TASKS[self.task].instructions):
            if self.instruction.startswith(phrasing):
                return self.instruction[len(phrasing) :].strip()
        return self.instruction

    @model_validator(mode="after")
    def _fits_its_task(self) -> "Record":
        if self.task not in TASKS:
            raise ValueError(f"unknown task '{self.task}'")
        task = TASKS[self.task]
        if task.family == "comprehension" and not self.response:
            raise ValueError(f"a {self.task} record needs a response")
        if self.options and self.response not in self.options:
            raise ValueError(f"response '{self.response}' is not among the options {self.options}")
        return self


class Sample(NamedTuple):
    """A record whose images are still arrays: uint8, (height, width) grey or (height, width, 3) RGB."""

    record: Record
    image: np.ndarray | None
    target: np.ndarray | None


def choice_text(question: str, options: Iterable[str]) -> str:
    """The single-choice form of a question: ``... Options: A. left B. right``."""
    spelt = " ".join(f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=False))
    return f"{question} Options: {spelt}"


def write_records(path: Path, records: Iterable[Record]) -> int:
    """Write records one per line, whole or not at all; returns how many."""
    partial = path.with_name(path.name + ".partial")
    count = 0
    with partial.open("w", encoding="utf-8") as stream:
        for record in records:
            stream.write(record.model_dump_json(exclude_defaults=True) + "\n")
            count += 1
    partial.replace(path)
    return count


def read_records(path: Path) -> Iterator[Record]:
    """Read ``records.jsonl``; ``DataError`` names the line that does not fit."""
    if not path.is_file():
        raise DataError(f"no records at {path}", next_step="build them with 'healthgpt data build'")
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                yield Record.model_validate_json(line)
            except ValidationError as fault:
                first = fault.errors()[0]
                raise DataError(
                    f"{path} line {number} is not a record",
                    found=f"{first['msg']} at {'.'.join(map(str, first['loc'])) or 'top level'}",
                ) from fault


def task_of(record: Record):
    """The task row of a record."""
    return task_named(record.task)

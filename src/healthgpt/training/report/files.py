"""The files of a run as its report reads them; what is missing, empty or cut short by a kill is as if not written."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from healthgpt.training.provenance import Provenance, read_run
from healthgpt.training.schedule import steps_of
from healthgpt.training.survey import Found

COLUMNS = ("epoch", "loss", "gradient_norm", "learning_rate", "tokens_per_second", "memory_gb", "seconds")
"""Of the journal, beside ``step``: passes over the data, nats per response token, before clipping, of the first group,
tokens of all kinds, gigabytes (10^9 bytes), training time so far without interruptions."""
SKIPPED = "step skipped"
"""The event of a step that the guard did not take."""


class Written(BaseModel):
    """Something the engine wrote; keys that the report does not show are let through."""

    model_config = ConfigDict(frozen=True)


class Group(Written):
    """Parameters that share a learning rate; those of ``frozen`` do not train and have none."""

    group: str
    tensors: int
    parameters: int
    learning_rate: float | None = None
    dropout: float | None = None


class TaskValidation(Written):
    """``loss``: nats per response token; ``right``: share of answers that match exactly; ``ssim``: percent."""

    loss: float | None = None
    rows: int = 0
    right: float | None = None
    ssim: float | None = None


class Validation(Written):
    """Once over the validation rows after ``step`` steps; 0: before training. ``best``: better than all before it."""

    step: int
    loss: float | None = None
    tasks: dict[str, TaskValidation] = {}
    best: bool = False

    def mean(self, measure: str) -> float | None:
        """``right`` or ``ssim`` over the rows of all tasks that have it."""
        told = [(getattr(own, measure), own.rows) for own in self.tasks.values() if is_finite(getattr(own, measure))]
        rows = sum(count for _, count in told)
        return sum(value * count for value, count in told) / rows if rows else None


class Event(Written):
    """Something beside ordinary steps, at a step: one that was skipped, a checkpoint, a run that went on."""

    step: int
    what: str
    why: str | None = None


class Sample(Written):
    """What the model said or drew of one validation record; images are names below the folder ``samples``."""

    task: str
    record: str
    instruction: str = ""
    reference: str | None = None
    answer: str | None = None
    right: bool | None = None
    image: str | None = None
    target: str | None = None
    drawn: str | None = None
    ssim: float | None = None


class Sampled(NamedTuple):
    """All samples of one validation."""

    step: int
    samples: list[Sample]


@dataclass(frozen=True)
class Journal:
    """Logged steps, each once and rising. ``columns``: of ``COLUMNS``, NaN where a line has no number; ``tasks``:
    training loss by task, NaN where a step had no rows of it; ``planned``: steps of the whole run by the last line."""

    steps: np.ndarray
    columns: dict[str, np.ndarray]
    tasks: dict[str, np.ndarray]
    planned: int | None

    def last(self, column: str) -> float | None:
        """The latest finite value."""
        finite = self.finite(column)
        return float(finite[-1]) if len(finite) else None

    def finite(self, column: str) -> np.ndarray:
        """The values of a column that are numbers."""
        values = self.columns[column]
        return values[np.isfinite(values)]


@dataclass(frozen=True)
class RunFiles:
    """``found``: by split; ``validations``: by rising step; ``held_out``: of the test split, before training and after;
    ``sampled``: of the first and the last validation that has samples, one entry where they are the same."""

    folder: Path
    provenance: Provenance
    groups: list[Group]
    found: dict[str, Found]
    journal: Journal
    validations: list[Validation]
    held_out: list[Validation]
    events: list[Event]
    sampled: list[Sampled]

    @property
    def reached(self) -> int:
        """The last logged step; 0 where none was logged."""
        return int(self.journal.steps[-1]) if len(self.journal.steps) else 0

    @property
    def planned(self) -> int | None:
        """Steps of the whole run; None as long as nobody knows how many rows there are."""
        if self.journal.planned is not None:
            return self.journal.planned
        plan = self.provenance.recipe.optimisation
        if "train" in self.found:
            return steps_of(plan, self.found["train"].rows)
        return plan.steps

    @property
    def finished(self) -> bool:
        """Whether the last step is logged, which the engine always logs."""
        return self.planned is not None and self.reached >= self.planned

    @property
    def best(self) -> Validation | None:
        """The validation whose weights are kept as the best."""
        marked = [one for one in self.validations if one.best]
        if marked:
            return marked[-1]
        told = [one for one in self.validations if is_finite(one.loss)]
        return min(told, key=lambda one: one.loss or 0.0, default=None)

    @property
    def skipped(self) -> list[int]:
        """Steps that the guard did not take."""
        return sorted({event.step for event in self.events if event.what == SKIPPED})


Kind = TypeVar("Kind", bound=Written)


def read_run_files(run: Path) -> RunFiles:
    """All files of a run; ``RecipeError`` when ``run.json`` is missing or damaged."""
    return RunFiles(
        folder=run, provenance=read_run(run), groups=_groups(run / "groups.json"), found=_found(run / "data.json"),
        journal=_journal(run / "journal.jsonl"),
        # A run that went on from a checkpoint validates again what it had validated; the later line holds.
        validations=sorted(
            {one.step: one for one in _told(run / "validation.jsonl", Validation)}.values(), key=lambda one: one.step
        ),
        held_out=list(_told(run / "held_out.jsonl", Validation)),
        events=list(_told(run / "events.jsonl", Event)), sampled=_sampled(run / "samples"),
    )  # fmt: skip


def is_finite(value: float | None) -> bool:
    """Whether there is a number at all."""
    return value is not None and math.isfinite(value)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _groups(path: Path) -> list[Group]:
    content = _json(path)
    try:
        return [Group.model_validate(row) for row in content] if isinstance(content, list) else []
    except ValidationError:
        return []


def _found(path: Path) -> dict[str, Found]:
    content = _json(path)
    found = {}
    for split in ("train", "validation", "test"):
        try:
            found[split] = Found.model_validate(content[split])
        except (ValidationError, KeyError, TypeError):
            continue
    return found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Every line that is a JSON object."""
    try:
        stream = path.open(encoding="utf-8", errors="replace")
    except OSError:
        return
    with stream:
        for line in stream:
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value


def _told(path: Path, kind: type[Kind]) -> Iterator[Kind]:
    for line in _lines(path):
        try:
            yield kind.model_validate(line)
        except ValidationError:
            continue


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def _journal(path: Path) -> Journal:
    rows: list[tuple[int, list[float], dict[str, Any]]] = []
    planned = None
    for line in _lines(path):
        step, tasks = line.get("step"), line.get("tasks")
        if not isinstance(step, int):
            continue
        # After a kill a run goes on from its last checkpoint: what it logged beyond that is undone.
        while rows and rows[-1][0] >= step:
            rows.pop()
        rows.append((step, [_number(line.get(name)) for name in COLUMNS], tasks if isinstance(tasks, dict) else {}))
        planned = line["steps"] if isinstance(line.get("steps"), int) else planned
    values = np.array([row[1] for row in rows], dtype=float).reshape(-1, len(COLUMNS))
    names = dict.fromkeys(name for row in rows for name in row[2])
    return Journal(
        steps=np.array([row[0] for row in rows], dtype=np.int64),
        columns={name: values[:, place] for place, name in enumerate(COLUMNS)},
        tasks={name: np.array([_number(row[2].get(name)) for row in rows]) for name in names}, planned=planned,
    )  # fmt: skip


def _sampled(folder: Path) -> list[Sampled]:
    steps = sorted(
        (int(found[1]), path)
        for path in folder.glob("step-*.jsonl")
        if (found := re.fullmatch(r"step-(\d+)\.jsonl", path.name))
    )
    sampled: list[Sampled] = []
    for order in (steps, reversed(steps)):
        told = (Sampled(step, list(_told(path, Sample))) for step, path in order)
        first = next((one for one in told if one.samples), None)
        if first is not None and first not in sampled:
            sampled.append(first)
    return sampled

"""A stage run in miniature: a tiny model folder, questions and drawings, a recipe, a watcher that remembers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tiny import SENTENCES, save_tiny, tiny_variant

from healthgpt.model.checkpoint import ModelConfig
from healthgpt.record import Provenance, Record, write_records
from healthgpt.training.engine import Step
from healthgpt.training.recipe import Recipe
from healthgpt.training.validation import Validation
from healthgpt.variants import VARIANTS


class Recorder:
    """Remembers what a watcher is told."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.validations: list[tuple[int, Validation, bool]] = []
        self.notes: list[str] = []
        self.held: list[int] = []
        self.table: list[dict[str, str | int | float]] = []

    def doing(self, what: str, done: int, total: int) -> None: ...

    def trains(self, table: list[dict[str, str | int | float]]) -> None:
        self.table = table

    def stepped(self, step: Step) -> None:
        self.steps.append(step)

    def validated(self, step: int, validation: Validation, best: bool) -> None:
        self.validations.append((step, validation, best))

    def held_out(self, step: int, scores: Validation) -> None:
        self.held.append(step)

    def noted(self, text: str) -> None:
        self.notes.append(text)


@contextmanager
def tiny_in_table() -> Iterator[None]:
    """The variant ``miniature`` while a test runs."""
    VARIANTS["miniature"] = replace(tiny_variant(), name="miniature")
    try:
        yield
    finally:
        del VARIANTS["miniature"]


def tiny_folder(folder: Path, *, stages: tuple[str, ...] = (), seed: int = 0) -> Path:
    """A random model folder of variant ``miniature`` that has been through ``stages``."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tiny(folder, seed)
    path = folder / "config.json"
    config = ModelConfig.model_validate_json(path.read_text(encoding="utf-8"))
    path.write_text(
        config.model_copy(update={"variant": "miniature", "stages": stages}).model_dump_json(), encoding="utf-8"
    )
    return folder


def tiny_data(folder: Path, count: int = 12, *, seed: int = 0) -> Path:
    """Noise pictures with a question, a report and drawings each; two thirds to train, the rest to validate."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    records = []
    for number in range(count):
        pixels = rng.integers(0, 256, (16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"images/{number}.png")
        Image.fromarray(255 - pixels).save(folder / f"images/{number}-inverse.png")
        origin = Provenance(source="tiny", licence="none", original_id=str(number), group=str(number))
        split = "validation" if number % 3 == 2 else "train"
        shared: dict[str, Any] = {"split": split, "provenance": origin, "image": f"images/{number}.png"}
        for row, (question, response, kind) in enumerate(
            [("is there a nodule", "yes" if pixels.mean() > 127 else "no", "presence"),
             ("describe this image", SENTENCES[number % len(SENTENCES)], "report")]
        ):  # fmt: skip
            records.append(
                Record(id=f"{number}-{row}", task="ct", instruction=question, response=response, kind=kind, **shared)
            )
        for task, target in (("reconstruct", f"images/{number}.png"), ("ct-to-mri", f"images/{number}-inverse.png")):
            records.append(
                Record(id=f"{number}-{task}", task=task, instruction="turn this", target_image=target, **shared)
            )
    write_records(folder / "records.jsonl", records)
    return folder


def tiny_recipe(start: Path | dict[str, Any], folder: Path, /, **changes: Any) -> Recipe:
    """Six steps of ``finetune-comprehension``; ``changes`` replace whole blocks or add to them."""
    begun = start if isinstance(start, dict) else {"model": str(start)}
    plan: dict[str, Any] = {
        "name": "tiny-run", "variant": "miniature", "stage": "finetune-comprehension", "start": begun,
        "data": [{"folder": str(folder)}], "rows": {"max_length": 128},
        "optimisation": {"learning_rate": 1e-2, "global_batch": 4, "micro_batch": 2, "steps": 6, "dropout": 0.1},
        "hardware": {"precision": "fp32"},
        "watch": {"validate_every": 3, "validation_rows": 4, "samples": 1, "trackers": [], "checkpoint_minutes": 1e-9},
    }  # fmt: skip
    for block, value in changes.items():
        merge = isinstance(plan.get(block), dict) and isinstance(value, dict)
        plan[block] = {**plan[block], **value} if merge else value
    return Recipe.model_validate(plan)

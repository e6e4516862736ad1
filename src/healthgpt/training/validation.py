"""Validation: the loss of every task on rows that are not trained on."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from healthgpt.training.batches import MicroBatches
from healthgpt.training.distributed import Spread
from healthgpt.training.features import FrozenFeatures
from healthgpt.training.rows import RowTable
from healthgpt.training.samples import Sample


@dataclass
class TaskScore:
    """Of one task: mean loss per response token, share of answers that match, mean SSIM of drawings in percent."""

    loss: float
    rows: int
    right: float | None = None
    ssim: float | None = None


@dataclass
class Validation:
    """Mean loss over all response tokens, and each task's own figures."""

    loss: float
    tasks: dict[str, TaskScore] = field(default_factory=dict)

    def line(self) -> dict[str, Any]:
        """As the journal has it."""
        return {"loss": self.loss, "tasks": {task: asdict(score) for task, score in self.tasks.items()}}

    def values(self, name: str) -> dict[str, float]:
        """As trackers have it."""
        values = {f"{name}/loss": self.loss}
        for task, score in self.tasks.items():
            values[f"{name}/loss {task}"] = score.loss
            values |= {} if score.right is None else {f"{name}/right {task}": score.right}
            values |= {} if score.ssim is None else {f"{name}/ssim {task}": score.ssim}
        return values


def rows_to_validate(table: RowTable, most: int, seed: int) -> np.ndarray:
    """At most ``most`` rows of each task, the same every time, longest first."""
    chosen = []
    for number, task in enumerate(sorted(set(table.tasks))):
        rows = np.flatnonzero(table.tasks == task)
        chosen.append(np.random.default_rng([seed, number, 9]).permutation(rows)[:most])
    rows = np.concatenate(chosen)
    return rows[np.lexsort((rows, -table.lengths[rows], table.families[rows]))]


def measure_losses(
    spread: Spread,
    rows: np.ndarray,
    batches: MicroBatches,
    features: FrozenFeatures,
    micro_batch: int,
) -> dict[str, tuple[float, int]]:
    """Summed loss and response tokens of each task, over all processes; ``rows``: numbers in the table of ``batches``.

    Every process makes as many micro-batches as the others; what fills the last ones up is not counted.
    """
    accelerator = spread.accelerator
    together = micro_batch * accelerator.num_processes
    filled = np.concatenate([rows, np.repeat(rows[-1:], -len(rows) % together)])
    pieces = filled.reshape(-1, micro_batch)
    counted = (np.arange(len(filled)) < len(rows)).reshape(-1, micro_batch)
    own = slice(accelerator.process_index, None, accelerator.num_processes)
    tasks = sorted(set(batches.table.tasks[rows].tolist()))
    sums = torch.zeros(len(tasks), dtype=torch.float64)
    with torch.no_grad():
        own_batches = batches.of(list(pieces[own]), features.at_hand)
        for number, counts in enumerate(counted[own]):
            batch = features.complete(own_batches[number])
            for task, loss, one_counts in zip(batch.tasks, spread.module(batch).tolist(), counts, strict=True):
                sums[tasks.index(task)] += loss * bool(one_counts)
    if accelerator.num_processes > 1:
        sums = accelerator.reduce(sums.to(accelerator.device), reduction="sum").cpu()
    learned = [int(batches.table.learned[rows[batches.table.tasks[rows] == task]].sum()) for task in tasks]
    return {task: (float(total), tokens) for task, total, tokens in zip(tasks, sums, learned, strict=True)}


def scored(
    losses: dict[str, tuple[float, int]], rows: np.ndarray, tasks: np.ndarray, samples: Sequence[Sample]
) -> Validation:
    """The figures of a validation from its losses and samples."""
    scores = {}
    for task, (loss, tokens) in losses.items():
        own = [sample for sample in samples if sample.row.task == task]
        right = [sample.right for sample in own if sample.right is not None]
        likeness = [sample.ssim for sample in own if sample.ssim is not None]
        scores[task] = TaskScore(
            loss / max(1, tokens), int((tasks[rows] == task).sum()),
            sum(right) / len(right) if right else None, sum(likeness) / len(likeness) if likeness else None,
        )  # fmt: skip
    total, tokens = (sum(column) for column in zip(*losses.values(), strict=True))
    return Validation(total / max(1, tokens), scores)

"""The training loop: a global batch a step, its loss the mean over all its response tokens wherever they are computed.

Read top-down: ``optimise`` goes from where a run stands to its end, ``_step`` makes one step, ``_validate`` looks at
it from outside. Nothing random outlives a step: step s draws its rows and its dropout from (seed, s), so a run that was
killed goes on to the same bits.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import psutil
import torch
from pydantic import BaseModel, ConfigDict

from healthgpt.training.average import MovingAverage
from healthgpt.training.batches import MicroBatches, Prepared, loaded
from healthgpt.training.checkpoints import prune, save_checkpoint
from healthgpt.training.distributed import Spread
from healthgpt.training.features import FrozenFeatures
from healthgpt.training.guard import Guard
from healthgpt.training.journal import HELD_OUT, JOURNAL, VALIDATION, Journal
from healthgpt.training.order import Order, micro_batches
from healthgpt.training.prepare import RunData
from healthgpt.training.recipe import Recipe
from healthgpt.training.rows import RowTable
from healthgpt.training.samples import Sample, Sampler, asked_one_by_one
from healthgpt.training.schedule import rate_factor
from healthgpt.training.training_model import TrainingModel
from healthgpt.training.validation import Validation, measure_losses, rows_to_validate, scored

CHECKPOINTS = "checkpoints"
LOGGED_ALL, LOG_EVERY = 50, 10
"""The first steps are all journalled, then every tenth."""
READ_AHEAD = 256
"""Steps whose rows are handed to the readers together."""


class State(BaseModel):
    """Where a run stands: all that is not in tensors. ``step``: steps made; ``seconds``: spent on them."""

    model_config = ConfigDict(extra="forbid")

    step: int = 0
    fingerprint: str
    seconds: float = 0.0
    tokens: int = 0
    losses: list[float] = []
    skipped: int = 0
    best_step: int | None = None
    best_loss: float | None = None


@dataclass(frozen=True)
class Step:
    """One step as it is told to a watcher: ``loss`` per response token, by task too; ``fault``: why it was skipped."""

    number: int
    of: int
    loss: float
    tasks: dict[str, float]
    gradient_norm: float
    learning_rate: float
    tokens_per_second: float
    memory: float
    """Gigabytes."""
    fault: str = ""


class Watcher(Protocol):
    """Told how a run goes on."""

    def doing(self, what: str, done: int, total: int) -> None:
        """Something before or between the steps."""

    def trains(self, table: list[dict[str, str | int | float]]) -> None:
        """What trains and what does not, before the first step."""

    def stepped(self, step: Step) -> None:
        """A step was made."""

    def validated(self, step: int, validation: Validation, best: bool) -> None:
        """The model was looked at on rows it does not learn from."""

    def held_out(self, step: int, scores: Validation) -> None:
        """The test split was measured, before training or at its end."""

    def noted(self, text: str) -> None:
        """Something a person should know."""


@dataclass
class Training:
    """Everything the loop works with; ``spread``: the loss on all processes; ``steps``: of the whole run."""

    recipe: Recipe
    run: Path
    spread: Spread
    model: TrainingModel
    data: RunData
    batches: MicroBatches
    features: FrozenFeatures
    sampler: Sampler
    order: Order
    steps: int
    journal: Journal
    watcher: Watcher
    state: State
    average: MovingAverage | None = None
    guard: Guard = field(init=False)

    def __post_init__(self) -> None:
        self.take_up(self.state)

    def take_up(self, state: State) -> None:
        """Stand where a checkpoint says."""
        self.state = state
        self.guard = Guard(self.recipe.guard, state.losses, state.skipped)


def optimise(training: Training) -> None:
    """All steps that are left, with validations and checkpoints between."""
    state, every = training.state, training.recipe.watch.validate_every
    if state.step == 0:
        measure_held_out(training)
        _validate(training)
    saved = time.monotonic()
    while state.step < training.steps:
        stretch = range(state.step, min(training.steps, (state.step // every + 1) * every))
        for step, micro in _prepared(training, stretch):
            due = time.monotonic() - saved > 60 * training.recipe.watch.checkpoint_minutes
            if _step(training, step, micro, due) and state.step < stretch.stop:
                _checkpoint(training)
                saved = time.monotonic()
        _validate(training)
        _checkpoint(training)
        saved = time.monotonic()


def _checkpoint(training: Training) -> None:
    """Write where the run stands, whole; then let go of the oldest checkpoint."""
    training.features.flush()
    folder, state = training.run / CHECKPOINTS, training.state
    average = None if training.average is None else training.average.tensors
    save_checkpoint(folder, state.step, training.spread, state, average)
    if training.spread.accelerator.is_main_process:
        prune(folder, training.recipe.watch.keep, state.best_step)


def _prepared(training: Training, steps: range) -> Iterator[tuple[int, list[Prepared]]]:
    """This process's micro-batches of each of these steps, read ahead."""
    for first in range(steps.start, steps.stop, READ_AHEAD):
        some = range(first, min(first + READ_AHEAD, steps.stop))
        own = [_own_rows(training, step) for step in some]
        training.features.refresh()
        batches = training.batches.of([rows for step in own for rows in step], training.features.at_hand)
        stream = loaded(batches, training.recipe.hardware.loader_workers)
        for step, rows in zip(some, own, strict=True):
            yield step, list(islice(stream, len(rows)))


def _own_rows(training: Training, step: int) -> list[np.ndarray]:
    table, accelerator = training.data.train, training.spread.accelerator
    shared = micro_batches(
        training.order.batch(step), table.families, table.lengths, training.recipe.optimisation.micro_batch,
        accelerator.num_processes,
    )  # fmt: skip
    return shared[accelerator.process_index]


def _step(training: Training, step: int, micro: Sequence[Prepared], due: bool) -> bool:
    """One optimiser step over one global batch; whether a checkpoint is due, by the main process's clock."""
    started, accelerator, plan = time.perf_counter(), training.spread.accelerator, training.recipe.optimisation
    torch.manual_seed(_seed(training.recipe.seed, step, accelerator.process_index))
    factor = rate_factor(step, training.steps, plan)
    for group, trained in zip(training.spread.optimizer.param_groups, training.model.groups, strict=True):
        group["lr"] = trained.learning_rate * factor
    rows = training.order.batch(step)
    tokens = int(training.data.train.learned[rows].sum())
    made: list[tuple[tuple[str, ...], torch.Tensor]] = []
    for number, prepared in enumerate(micro):
        batch = training.features.complete(prepared)
        with training.spread.micro_batch(last=number == len(micro) - 1):
            by_row = training.spread.module(batch)
            # Processes average their gradients; what is wanted is the sum over all rows, per token of the whole batch.
            training.spread.backward(by_row.sum() * (accelerator.num_processes / tokens))
        made.append((batch.tasks, by_row.detach()))  # looked at when all are made: a GPU is not waited for between
    loss, tasks, due = _gathered(training, rows, made, due)
    norm = training.spread.clip_gradients(plan.clip)
    fault = training.guard.fault(loss, norm)
    if fault:
        training.spread.skip()
    else:
        training.spread.step()
        if training.average is not None:
            training.average.follow()
    _note(training, step, Step(
        number=step + 1, of=training.steps, loss=loss, tasks=tasks, gradient_norm=norm,
        learning_rate=training.model.groups[0].learning_rate * factor,
        tokens_per_second=int(training.data.train.lengths[rows].sum()) / (time.perf_counter() - started),
        memory=memory(accelerator.device), fault=fault,
    ), time.perf_counter() - started)  # fmt: skip
    return due


def _seed(seed: int, step: int, process: int) -> int:
    return int(np.random.SeedSequence([seed, step, process]).generate_state(1, np.uint64)[0] >> 1)


def _gathered(
    training: Training, rows: np.ndarray, made: Sequence[tuple[tuple[str, ...], torch.Tensor]], due: bool
) -> tuple[float, dict[str, float], bool]:
    """Loss per token of the whole global batch, by task too, and whether the main process's clock says so."""
    accelerator, table = training.spread.accelerator, training.data.train
    sums = dict.fromkeys(sorted(set(table.tasks[rows].tolist())), 0.0)
    for tasks, by_row in made:
        for task, loss in zip(tasks, by_row.tolist(), strict=True):
            sums[task] += loss
    values = torch.tensor([*sums.values(), float(due and accelerator.is_main_process)], dtype=torch.float64)
    if accelerator.num_processes > 1:
        values = accelerator.reduce(values.to(accelerator.device), reduction="sum").cpu()
    *totals, flag = values.tolist()
    tokens = [int(table.learned[rows[table.tasks[rows] == task]].sum()) for task in sums]
    by_task = {task: total / max(1, count) for task, total, count in zip(sums, totals, tokens, strict=True)}
    return sum(totals) / sum(tokens), by_task, bool(flag)


def memory(device: torch.device) -> float:
    """Gigabytes in use: of the GPU at the most, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return psutil.Process().memory_info().rss / 1e9


def _note(training: Training, step: int, made: Step, seconds: float) -> None:
    """State, journal, trackers and watcher learn of a step; the guard may end the run."""
    state, table = training.state, training.data.train
    rows = training.order.batch(step)
    state.step, state.seconds = step + 1, state.seconds + seconds
    state.tokens += int(table.lengths[rows].sum())
    if step < LOGGED_ALL or (step + 1) % LOG_EVERY == 0 or step + 1 == training.steps or made.fault:
        training.journal.add(JOURNAL, {
            "step": step + 1, "steps": training.steps, "epoch": round(training.order.epoch(step + 1), 4),
            "loss": made.loss, "tasks": made.tasks, "gradient_norm": made.gradient_norm,
            "learning_rate": made.learning_rate, "tokens_per_second": round(made.tokens_per_second, 1),
            "memory_gb": round(made.memory, 3), "seconds": round(state.seconds, 1),
        })  # fmt: skip
        values = {"train/loss": made.loss, "train/gradient norm": made.gradient_norm}
        values |= {f"train/loss {task}": loss for task, loss in made.tasks.items()}
        values |= {"train/learning rate": made.learning_rate, "train/tokens per second": made.tokens_per_second}
        training.spread.accelerator.log(values, step=step + 1)
    if made.fault:
        training.journal.event(step + 1, "step skipped", made.fault)
    training.watcher.stepped(made)
    training.guard.note(made.loss, made.fault, step + 1)
    state.losses, state.skipped = list(training.guard.losses), training.guard.skipped


def _validate(training: Training) -> None:
    """Losses on validation rows and a few answers and drawings; the best so far is remembered."""
    table, accelerator, state = training.data.validation, training.spread.accelerator, training.state
    if table is None:
        return
    with training.average.in_place() if training.average is not None else nullcontext():
        validation, samples = measure(training, table)
    if accelerator.is_main_process:
        training.sampler.write(training.run / "samples", state.step, samples)
    best = state.step > 0 and (state.best_loss is None or validation.loss < state.best_loss)
    if best:
        state.best_loss, state.best_step = validation.loss, state.step
    training.journal.add(VALIDATION, {"step": state.step, **validation.line(), "best": best})
    accelerator.log(validation.values("validation"), step=state.step)
    training.watcher.validated(state.step, validation, best)


def measure(training: Training, table: RowTable) -> tuple[Validation, list[Sample]]:
    """Figures of the model as it is on some rows of each task, always the same ones; with dropout off."""
    watch, seed, spread, model = training.recipe.watch, training.recipe.seed, training.spread, training.model.model
    rows = rows_to_validate(table, watch.validation_rows, seed)
    sampled = asked_one_by_one([table.row(row) for row in rows_to_validate(table, watch.samples, seed)], watch.samples)
    batches = training.batches.of_table(table)
    model.eval()
    losses = measure_losses(spread, rows, batches, training.features, training.recipe.optimisation.micro_batch)
    with spread.whole(), spread.accelerator.autocast():
        samples = training.sampler.take(sampled, table)
    model.train()
    return scored(losses, rows, table.tasks, samples), samples


def measure_held_out(training: Training) -> None:
    """The test split, which nothing is chosen by: once before training and once at its end."""
    table, state = training.data.test, training.state
    if table is None or state.step in [line["step"] for line in training.journal.lines(HELD_OUT)]:
        return
    scores, _ = measure(training, table)
    training.journal.add(HELD_OUT, {"step": state.step, **scores.line()})
    training.watcher.held_out(state.step, scores)

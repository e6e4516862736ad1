"""A training run as a person sees it: what trains, where it stands, how fast, how good, how long still."""

import os
import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from healthgpt.cli.console import RESEARCH_ONLY
from healthgpt.training.engine import Step
from healthgpt.training.recipe import Recipe
from healthgpt.training.validation import Validation

LINE_EVERY = 30.0
"""Seconds between lines where stderr is no terminal."""


class Watching:
    """Progress on stderr; of several processes only the first speaks."""

    def __init__(self, recipe: Recipe, run: Path) -> None:
        self.recipe = recipe
        self.run = run
        self.speaks = os.environ.get("RANK", "0") == "0"
        self.console = Console(stderr=True, quiet=not self.speaks, soft_wrap=True)
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[figures]}"), TimeRemainingColumn(), console=self.console,
        )  # fmt: skip
        self.tasks: dict[str, TaskID] = {}
        self.told = time.monotonic()

    def __enter__(self) -> "Watching":
        self.console.print(f"{self.recipe.name}: {self.recipe.stage} of {self.recipe.variant} in {self.run}")
        self.console.print(RESEARCH_ONLY)
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def _show(self, what: str, done: float, total: float, figures: str = "") -> None:
        if what not in self.tasks:
            self.tasks[what] = self.progress.add_task(what, total=total, figures=figures)
            if not self.console.is_terminal:
                self.console.print(what)
        self.progress.update(self.tasks[what], completed=done, total=total, figures=figures)

    def doing(self, what: str, done: int, total: int) -> None:
        """Something before or between the steps."""
        self._show(what, done, total)

    def trains(self, table: list[dict[str, str | int | float]]) -> None:
        """What trains and what does not, before the first step."""
        for row in table:
            rate = f"learning rate {row['learning_rate']:g}, dropout {row['dropout']:g}" if row["learning_rate"] else ""
            self.console.print(f"  {row['group']:<22} {row['parameters']:>15,} parameters  {rate}")

    def stepped(self, step: Step) -> None:
        """A step was made."""
        figures = f"loss {step.loss:.3f}, {step.tokens_per_second:,.0f} tokens/s, {step.memory:.1f} GB"
        self._show("training", step.number, step.of, figures)
        if step.fault:
            self.console.print(f"step {step.number} skipped: {step.fault}")
        if not self.console.is_terminal and time.monotonic() - self.told > LINE_EVERY:
            self.told = time.monotonic()
            self.console.print(f"step {step.number}/{step.of}: {figures}")

    def validated(self, step: int, validation: Validation, best: bool) -> None:
        """The model was looked at on rows it does not learn from."""
        self.console.print(f"validation at step {step}: {_told(validation)}{' (best so far)' if best else ''}")

    def held_out(self, step: int, scores: Validation) -> None:
        """The test split was measured, before training or at its end."""
        self.console.print(f"held out, {f'after step {step}' if step else 'before training'}: {_told(scores)}")

    def noted(self, text: str) -> None:
        """Something a person should know."""
        self.console.print(text)


def _told(scores: Validation) -> str:
    tasks = []
    for task, score in scores.tasks.items():
        more = f", {score.right:.0%} right" if score.right is not None else ""
        more += f", SSIM {score.ssim:.0f}" if score.ssim is not None else ""
        tasks.append(f"{task} {score.loss:.3f}{more}")
    return f"loss {scores.loss:.3f}; {'; '.join(tasks)}"

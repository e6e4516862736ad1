"""The guard of a run: which steps are not taken because something is wrong with them, and when that is too many.

Large rates and models bring loss spikes (HealthGPT, table 8's note). A step whose loss or gradient is not finite, or
whose loss is a multiple of the recent median, is skipped; after too many in a row the run stops.
"""

import math
import statistics
from collections import deque
from collections.abc import Sequence

from healthgpt.errors import HealthGPTError
from healthgpt.training import recipe

SMALLEST_SPIKE = 1.0
"""Nats per token above the median that a spike has at least: near the end of a run hard rows are many times the median
and are what is left to learn."""


class DivergedError(HealthGPTError):
    """Too many steps in a row were unsound; the last good checkpoint is kept."""

    exit_code = 2


class Guard:
    """``losses``: of the last sound steps; ``skipped``: steps skipped in a row."""

    def __init__(self, settings: recipe.Guard, losses: Sequence[float] = (), skipped: int = 0) -> None:
        self.settings = settings
        self.losses = deque(losses, maxlen=settings.window)
        self.skipped = skipped

    def fault(self, loss: float, gradient_norm: float) -> str:
        """Why a step is not to be taken; empty when it is sound."""
        if not math.isfinite(loss):
            return f"loss {loss}"
        if not math.isfinite(gradient_norm):
            return f"gradient norm {gradient_norm}"
        if len(self.losses) == self.losses.maxlen:
            usual = statistics.median(self.losses)
            if loss > max(self.settings.spike * usual, usual + SMALLEST_SPIKE):
                return f"loss {loss:.3f}, the recent median is {usual:.3f}"
        return ""

    def note(self, loss: float, fault: str, step: int) -> None:
        """Remember a step; ``DivergedError`` when too many in a row were skipped."""
        if not fault:
            self.losses.append(loss)
            self.skipped = 0
            return
        self.skipped += 1
        if self.skipped >= self.settings.most_skipped:
            raise DivergedError(
                f"{self.skipped} steps in a row were skipped, the last at step {step}", found=fault,
                next_step="lower the learning rate; the same command then needs another --output, or go on from the "
                "last checkpoint with a recipe that starts from it",
            )  # fmt: skip

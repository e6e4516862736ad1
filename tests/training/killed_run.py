"""A tiny run in a process of its own: DATA START RUN STEP CHANGES; it kills itself when it has made STEP (0: never).

CHANGES: JSON, blocks of the recipe that are other.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tiny_run import Recorder, tiny_in_table, tiny_recipe

from healthgpt.training.engine import Step
from healthgpt.training.recipe import Recipe
from healthgpt.training.run import train


def recipe(data: Path, start: Path, **changes: Any) -> Recipe:
    """Both families, dropout, an average, shares, packing: all that has a state."""
    plan: dict[str, Any] = {
        "stage": "stage2",
        "data": [{"folder": str(data), "families": "comprehension", "share": 0.4},
                 {"folder": str(data), "families": "generation", "share": 0.6}],
        "optimisation": {"average": 0.5, "steps": 9, "schedule": "cosine"}, "hardware": {"packing": True},
    }  # fmt: skip
    for block, values in changes.items():
        plan[block] = {**plan[block], **values} if isinstance(values, dict) and block in plan else values
    return tiny_recipe(start, data, **plan)


class Killer(Recorder):
    """Kills its own process when a step has been made, as a scheduler or a power cut would."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.last = step

    def stepped(self, step: Step) -> None:
        if step.number == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    data, start, run = map(Path, sys.argv[1:4])
    with tiny_in_table():
        train(recipe(data, start, **json.loads(sys.argv[5])), run, Killer(int(sys.argv[4])), cpu=True)

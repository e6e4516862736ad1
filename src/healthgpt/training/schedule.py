"""How long a run is and how the learning rate goes over it (HealthGPT, table 8: warm-up, constant)."""

import math

from healthgpt.training.recipe import Optimisation


def steps_of(plan: Optimisation, rows: int) -> int:
    """Optimiser steps of a run over so many rows."""
    if plan.steps is not None:
        return plan.steps
    assert plan.epochs is not None
    return max(1, math.ceil(plan.epochs * rows / plan.global_batch))


def rate_factor(step: int, steps: int, plan: Optimisation) -> float:
    """Share of the full rate used at ``step`` (from 0) of ``steps``."""
    rising = math.ceil(plan.warm_up * steps)
    if plan.schedule == "constant":
        return 1.0
    if step < rising:
        return (step + 1) / rising
    if plan.schedule == "warm-up":
        return 1.0
    done = (step - rising) / max(1, steps - rising)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

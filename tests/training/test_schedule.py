"""The learning rate over a run, and how long a run is."""

from itertools import pairwise

import pytest

from healthgpt.training.recipe import Optimisation
from healthgpt.training.schedule import rate_factor, steps_of


def plan(**changes) -> Optimisation:
    values = {"learning_rate": 1e-3, "global_batch": 8, "micro_batch": 4, "steps": 100, "warm_up": 0.1}
    return Optimisation.model_validate(values | changes)


def test_warm_up_rises_and_stays() -> None:
    factors = [rate_factor(step, 100, plan()) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert set(factors[10:]) == {1.0}


def test_constant_is_constant() -> None:
    assert {rate_factor(step, 100, plan(schedule="constant")) for step in range(100)} == {1.0}


def test_cosine_falls_to_nothing() -> None:
    factors = [rate_factor(step, 100, plan(schedule="cosine")) for step in range(100)]
    assert factors[9] == factors[10] == 1.0
    assert all(late < early for early, late in pairwise(factors[10:]))
    assert rate_factor(100, 100, plan(schedule="cosine")) == pytest.approx(0.0)


def test_epochs_become_steps() -> None:
    assert steps_of(plan(), 999) == 100
    assert steps_of(plan(steps=None, epochs=2), 100) == 25
    assert steps_of(plan(steps=None, epochs=0.01), 8) == 1

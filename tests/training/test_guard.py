"""The guard: what is skipped, what ends a run, and that a run which diverges keeps its last good checkpoint."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import Recorder, tiny_data, tiny_folder, tiny_in_table, tiny_recipe

from healthgpt.training import engine, recipe
from healthgpt.training.guard import DivergedError, Guard
from healthgpt.training.run import train


def test_a_spike_is_told_only_once_the_median_is_known() -> None:
    guard = Guard(recipe.Guard(spike=3.0, window=4))
    for loss in (9.0, 1.0, 1.2, 1.1):
        assert not guard.fault(loss, 1.0)
        guard.note(loss, "", 1)
    assert not guard.fault(3.0, 1.0)
    assert "recent median is 1.150" in guard.fault(3.5, 1.0)


def test_hard_rows_late_in_a_run_are_no_spikes() -> None:
    guard = Guard(recipe.Guard(spike=3.0, window=2), [0.05, 0.05])
    assert not guard.fault(1.0, 1.0)
    assert guard.fault(1.1, 1.0)


@given(st.sampled_from([math.nan, math.inf, -math.inf]))
def test_what_is_not_finite_is_always_skipped(value: float) -> None:
    guard = Guard(recipe.Guard())
    assert guard.fault(value, 1.0).startswith("loss")
    assert guard.fault(1.0, value).startswith("gradient norm")


def test_skips_in_a_row_end_the_run_and_a_sound_step_forgives() -> None:
    guard = Guard(recipe.Guard(most_skipped=3))
    for step in range(2):
        guard.note(math.nan, "loss nan", step)
    guard.note(1.0, "", 2)
    for step in range(3, 5):
        guard.note(math.nan, "loss nan", step)
    with pytest.raises(DivergedError, match="3 steps in a row were skipped, the last at step 5"):
        guard.note(math.nan, "loss nan", 5)


def test_a_diverging_run_stops_with_its_last_good_checkpoint(tmp_path, monkeypatch) -> None:
    class Sick(Guard):
        """Finds everything from the fourth step on unsound."""

        def fault(self, loss: float, gradient_norm: float) -> str:
            return "loss nan" if len(self.losses) >= 3 else super().fault(loss, gradient_norm)

    monkeypatch.setattr(engine, "Guard", Sick)
    with tiny_in_table():
        base, data = tiny_folder(tmp_path / "base"), tiny_data(tmp_path / "set")
        plan = tiny_recipe(base, data, guard={"most_skipped": 2}, optimisation={"steps": 9})
        watcher = Recorder()
        with pytest.raises(DivergedError, match="2 steps in a row"):
            train(plan, tmp_path / "run", watcher, cpu=True)
    assert [bool(step.fault) for step in watcher.steps] == [False, False, False, True, True]
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept[-1] == "step-000004"  # the skipped step changed nothing but its number
    assert not (tmp_path / "run" / "model").exists()
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert [event["step"] for event in events if event["what"] == "step skipped"] == [4, 5]
    assert "skipped" in (tmp_path / "run" / "report.html").read_text()

"""A run that was killed at any moment goes on to the same bits as one that was not."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from killed_run import recipe
from safetensors.torch import load_file
from tiny_run import Recorder, tiny_data, tiny_folder, tiny_in_table

from healthgpt.errors import OutputError
from healthgpt.training import checkpoints
from healthgpt.training.run import train

HERE = Path(__file__).parent
FILES = ("fusion.safetensors", "vision/adapters.safetensors", "plugins/comprehension/plugin.safetensors")


@pytest.fixture(scope="module", autouse=True)
def tiny():
    with tiny_in_table():
        yield


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> dict[str, Path]:
    """A run that was never stopped, in a process of its own as the killed ones are."""
    folder = tmp_path_factory.mktemp("straight")
    data = tiny_data(folder / "set")
    start = tiny_folder(folder / "base", stages=("stage1-comprehension", "stage1-generation"))
    outcome = killed(data, start, folder / "run")
    assert outcome.returncode == 0, outcome.stderr
    return {"data": data, "start": start, "run": folder / "run"}


def killed(data: Path, start: Path, run: Path, step: int = 0) -> subprocess.CompletedProcess[str]:
    """A run in a process of its own, ended by SIGKILL after a step, or never."""
    paths = [str(HERE), str(HERE.parent), str(HERE.parents[1] / "src")]
    return subprocess.run(
        [sys.executable, str(HERE / "killed_run.py"), str(data), str(start), str(run), str(step), "{}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "steps", [(4, 5), pytest.param((2,), marks=pytest.mark.slow), pytest.param((8, 9), marks=pytest.mark.slow)]
)
def test_a_killed_run_ends_with_the_same_bits(straight, tmp_path, steps) -> None:
    run = tmp_path / "run"
    for step in steps:
        outcome = killed(straight["data"], straight["start"], run, step)
        assert outcome.returncode == -signal.SIGKILL, outcome.stderr
    assert not (run / "model").exists()
    outcome = killed(straight["data"], straight["start"], run)
    assert outcome.returncode == 0, outcome.stderr
    for file in FILES:
        ours, theirs = load_file(run / "model" / file), load_file(straight["run"] / "model" / file)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours), file
    journals = [
        [{key: line[key] for key in ("step", "loss", "tasks", "gradient_norm", "learning_rate")}
         for line in map(json.loads, (folder / "journal.jsonl").read_text().splitlines())]
        for folder in (run, straight["run"])
    ]  # fmt: skip
    assert journals[0] == journals[1]
    assert any(json.loads(line)["what"] == "went on" for line in (run / "events.jsonl").read_text().splitlines())


def test_a_full_disk_leaves_the_last_checkpoint(straight, tmp_path, monkeypatch) -> None:
    written = []
    whole = checkpoints.save_file

    def full_at_the_fourth(tensors, path) -> None:
        written.append(path)
        if len(written) > 9:
            raise OSError(28, "No space left on device")
        whole(tensors, path)

    monkeypatch.setattr(checkpoints, "save_file", full_at_the_fourth)
    with pytest.raises(OutputError, match=r"cannot be written.*No space left.*the run continues from"):
        train(recipe(straight["data"], straight["start"]), tmp_path / "run", Recorder(), cpu=True)
    monkeypatch.setattr(checkpoints, "save_file", whole)
    assert [path.name for path in sorted((tmp_path / "run" / "checkpoints").iterdir())] == [
        "step-000002",
        "step-000003",
    ]
    train(recipe(straight["data"], straight["start"]), tmp_path / "run", Recorder(), cpu=True)
    ours, theirs = (load_file(run / "model" / FILES[0]) for run in (tmp_path / "run", straight["run"]))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)

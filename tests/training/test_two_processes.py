"""Two processes on one machine train as one does: the same losses, the same weights, replicated and sharded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_run import tiny_data, tiny_folder

HERE = Path(__file__).parent
CHANGES = {"optimisation": {"dropout": 0.0, "steps": 6, "global_batch": 8, "micro_batch": 2}}


def run(folder: Path, name: str, processes: int, parallel: str) -> Path:
    """A tiny run of stage 2 by torchrun, which is how a person would start it."""
    paths = [str(HERE), str(HERE.parent), str(HERE.parents[1] / "src")]
    changes = {**CHANGES, "hardware": {"parallel": parallel}}
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] * (processes > 1)
    outcome = subprocess.run(
        [sys.executable, *launcher, str(HERE / "killed_run.py"), str(folder / "set"), str(folder / "base"),
         str(folder / name), "0", json.dumps(changes)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    return folder / name


def lines(run: Path, file: str) -> list[dict]:
    return [json.loads(line) for line in (run / file).read_text().splitlines()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """One process's run."""
    folder = tmp_path_factory.mktemp("processes")
    tiny_data(folder / "set", 18)
    tiny_folder(folder / "base", stages=("stage1-comprehension", "stage1-generation"))
    return run(folder, "alone", 1, "ddp")


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_give_the_loss_curve_of_one(alone, parallel) -> None:
    both = run(alone.parent, parallel, 2, parallel)
    for file in ("journal.jsonl", "validation.jsonl"):
        ours, theirs = lines(both, file), lines(alone, file)
        assert [line["step"] for line in ours] == [line["step"] for line in theirs]
        assert [line["loss"] for line in ours] == pytest.approx([line["loss"] for line in theirs], rel=1e-5)
    norms = [[line["gradient_norm"] for line in lines(folder, "journal.jsonl")] for folder in (both, alone)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    ours, theirs = (load_file(folder / "model" / "fusion.safetensors") for folder in (both, alone))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in theirs)
    assert sorted(path.name for path in both.iterdir()) == sorted(path.name for path in alone.iterdir())

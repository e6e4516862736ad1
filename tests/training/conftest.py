"""What tests of a spread run share: the same runs in one process and in two, made once."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from spread_run import ONE_PROCESS, in_one_process, in_two_processes, started

KINDS = ["ddp", "fsdp"] + ["deepspeed"] * (find_spec("deepspeed") is not None)


@dataclass(frozen=True)
class SameRuns:
    """One run in this process and what each of two processes came to, by kind of parallelism."""

    folder: Path
    one: dict
    processes: list[dict[str, dict]]


@pytest.fixture(scope="session")
def same_runs(tmp_path_factory: pytest.TempPathFactory) -> SameRuns:
    """Five steps; each kind leaves its checkpoint of step 3 in a folder of its name."""
    folder = tmp_path_factory.mktemp("runs")
    run = started()
    for step in range(5):
        if step == 3:
            run.save(folder / ONE_PROCESS, 3)
        run.step(step)
    return SameRuns(folder, run.outcome(), in_two_processes(KINDS, folder))


@pytest.fixture(scope="session")
def one_in_bf16() -> dict:
    """Two steps on a frozen model in bfloat16."""
    return in_one_process([0, 1], precision="bf16", frozen=torch.bfloat16)

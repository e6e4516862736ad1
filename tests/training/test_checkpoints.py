"""Laws of checkpoints: a run goes on as if it had not stopped; whole or not at all; what does not fit is named."""

import errno
import os

import pytest
import torch
from pydantic import BaseModel
from safetensors.torch import load_file
from spread_run import ONE_PROCESS, RunState, full_disk, in_one_process, started

from healthgpt.errors import ModelError, OutputError
from healthgpt.training import checkpoints
from healthgpt.training.checkpoints import checkpoints_in, latest, load_checkpoint, prune, resume, save_checkpoint

STATE = RunState(seen=24, best=float("inf"))


def saved(folder, step=3):
    """A run after one step and its checkpoint."""
    run = started()
    run.step(0)
    return run, save_checkpoint(folder, step, run.spread, STATE)


def test_a_run_goes_on_to_the_same_bits(tmp_path):
    run = started()
    for step in range(2):
        run.step(step)
    save_checkpoint(tmp_path, 2, run.spread, STATE)
    run.step(2)
    later = started(seed=1)
    assert resume(tmp_path, later.spread, RunState) == (2, STATE)
    later.step(2)
    assert later.losses == run.losses[2:]
    assert later.norms == run.norms[2:]
    for name, tensor in run.spread.trained.items():
        assert torch.equal(tensor, later.spread.trained[name]), name


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_go_on_from_a_checkpoint_of_one_and_the_other_way_round(same_runs, kind):
    on_two = same_runs.processes[0][kind]["continued"]
    on_one = in_one_process([3, 4], same_runs.folder / kind / "step-000003")
    for continued in (on_two, on_one):
        torch.testing.assert_close(continued["losses"], same_runs.one["losses"][3:], rtol=1e-5, atol=0)
        torch.testing.assert_close(continued["norms"], same_runs.one["norms"][3:], rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_checkpoints_are_alike_however_the_run_was_spread(same_runs, kind):
    for name in ("trained.safetensors", "optimizer.safetensors", "average.safetensors"):
        theirs, ours = (load_file(same_runs.folder / run / "step-000003" / name) for run in (kind, ONE_PROCESS))
        torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-6)


def test_tensors_are_kept_by_their_plain_names(tmp_path):
    run, path = saved(tmp_path)
    assert path == tmp_path / "step-000003"
    trained = {name for name, tensor in run.model.named_parameters() if tensor.requires_grad}
    assert load_file(path / "trained.safetensors").keys() == trained
    kinds = ("exp_avg", "exp_avg_sq", "step")
    assert load_file(path / "optimizer.safetensors").keys() == {f"{kind}/{name}" for kind in kinds for name in trained}


def test_a_run_that_has_not_stepped_is_kept_too(tmp_path):
    save_checkpoint(tmp_path, 0, started().spread, STATE)
    later = started(seed=1)
    resume(tmp_path, later.spread, RunState)
    later.step(0)
    assert later.losses == in_one_process([0])["losses"]


def test_running_average_and_loss_scale_come_back(tmp_path):
    run = started()
    run.spread.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    run.step(0, broken_on=0)
    average = {name: tensor.detach() * 0.5 for name, tensor in run.spread.trained.items()}
    save_checkpoint(tmp_path, 1, run.spread, STATE, average)
    later = started(seed=1)
    later.spread.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    found = {name: torch.zeros_like(tensor) for name, tensor in later.spread.trained.items()}
    resume(tmp_path, later.spread, RunState, found)
    assert later.spread.accelerator.scaler.get_scale() == 2.0**9
    assert all(torch.equal(tensor, average[name]) for name, tensor in found.items())


def test_nothing_to_resume_in_a_folder_that_is_not_there(tmp_path):
    assert resume(tmp_path / "none", started().spread, RunState) is None


def test_a_kill_before_the_renaming_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    run, before = saved(tmp_path)

    def killed(*paths):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(tmp_path, 4, run.spread, STATE)
    assert (tmp_path / "step-000004.partial" / "state.json").is_file()
    assert latest(tmp_path) == before
    assert resume(tmp_path, run.spread, RunState) == (3, STATE)
    after = save_checkpoint(tmp_path, 5, run.spread, STATE)
    assert sorted(tmp_path.iterdir()) == [before, after]


def test_a_full_disk_names_the_room_it_takes_and_leaves_the_checkpoint_before(tmp_path):
    run, before = saved(tmp_path)
    files = {file: file.read_bytes() for file in before.iterdir()}
    with full_disk(), pytest.raises(OutputError) as fault:
        save_checkpoint(tmp_path, 4, run.spread, STATE)
    size = 3 * sum(tensor.nbytes for tensor in run.spread.trained.values())
    assert os.strerror(errno.ENOSPC) in str(fault.value)
    assert f"it takes {size / 1e9:.2g}" in str(fault.value)
    assert "GB are free" in str(fault.value)
    assert f"continues from {before}" in str(fault.value)
    assert list(tmp_path.iterdir()) == [before]
    assert {file: file.read_bytes() for file in before.iterdir()} == files


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_a_full_disk_ends_all_processes_alike(same_runs, kind):
    first, second = (found[kind]["full disk"] for found in same_runs.processes)
    assert first == second
    assert "GB are free" in first
    assert [path.name for path in (same_runs.folder / kind).iterdir()] == ["step-000003"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="no earlier checkpoint"):
        save_checkpoint(tmp_path / "file" / "folder", 1, started().spread, STATE)


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path):
    run, path = saved(tmp_path)
    run.step(1)
    save_checkpoint(tmp_path, 3, run.spread, RunState(seen=1, best=0))
    assert load_checkpoint(path, run.spread, RunState) == (3, RunState(seen=1, best=0))
    assert list(tmp_path.iterdir()) == [path]


def test_the_last_ones_and_the_best_are_kept(tmp_path):
    run, _ = saved(tmp_path, step=1)
    for step in (20, 300, 1_000_000, 2_000_000):
        save_checkpoint(tmp_path, step, run.spread, STATE)
    (tmp_path / "notes").mkdir()
    prune(tmp_path, keep=2, best=20)
    assert list(checkpoints_in(tmp_path)) == [20, 1_000_000, 2_000_000]
    assert latest(tmp_path) == tmp_path / "step-2000000"
    prune(tmp_path, keep=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "notes", "step-000020", "step-1000000", "step-2000000",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["trained.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["one byte", "cut", "gone"])
def test_damage_is_named_and_changes_nothing(tmp_path, name, damage):
    saved(tmp_path, step=2)
    run, path = saved(tmp_path)
    content = (path / name).read_bytes()
    if damage == "gone":
        (path / name).unlink()
    else:
        (path / name).write_bytes(content[:-100] if damage == "cut" else b"\0" + content[1:])
    before = {key: tensor.detach().clone() for key, tensor in run.spread.trained.items()}
    with pytest.raises(ModelError, match=rf"{name} is damaged.*remove .*step-000003.*continues from .*step-000002"):
        resume(tmp_path, run.spread, RunState)
    assert all(torch.equal(tensor, before[key]) for key, tensor in run.spread.trained.items())


class OtherState(BaseModel):
    """A state with a field that the runs here do not keep."""

    guard: int


def test_what_does_not_fit_the_run_is_named_on_both_sides(tmp_path):
    run, path = saved(tmp_path)
    with pytest.raises(ModelError, match="guard"):
        load_checkpoint(path, run.spread, OtherState)
    with pytest.raises(ModelError, match=r"no average\.safetensors"):
        load_checkpoint(path, run.spread, RunState, {})
    grown = started()
    name = next(iter(grown.spread.trained))
    tensor = grown.spread.trained.pop(name)
    grown.spread.trained["fusion.new"] = tensor
    with pytest.raises(ModelError, match=rf"found {name} \[.*allowed: fusion.new \[.*recipe the run began with"):
        load_checkpoint(path, grown.spread, RunState)


def test_another_layout_is_refused(tmp_path, monkeypatch):
    run, path = saved(tmp_path)
    monkeypatch.setattr(checkpoints, "FORMAT", 2)
    with pytest.raises(ModelError, match="another format; found 1; allowed: 2"):
        load_checkpoint(path, run.spread, RunState)


def test_no_pickle(tmp_path):
    _, path = saved(tmp_path)
    assert {file.suffix for file in path.iterdir()} == {".safetensors", ".json"}

"""A run's state on disk: checkpoints that are there whole or not at all, for any number of processes, no pickle.

    CHECKPOINTS/step-000120/
        trained.safetensors      trained tensors by their plain names, whole however they were spread
        optimizer.safetensors    AdamW's state: exp_avg/NAME, exp_avg_sq/NAME, step/NAME
        average.safetensors      the trained tensors' running average, if the run keeps one
        state.json               step, the caller's state, loss scaling, SHA-256 of every other file

Everything is written into ``step-000120.partial``, synced to the disk and renamed. Process 0 alone touches the disk:
tensors are gathered to it one file at a time and handed out from it, so a checkpoint of two processes continues on one
and the other way round. Learning rates are not in it: the loop sets them from the step.

DeepSpeed keeps its optimiser state in shares of its own: a folder ``deepspeed`` that accelerate writes and reads takes
the place of optimizer.safetensors. It holds pickles, and fits only as many processes as wrote it.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor, distribute_tensor

from healthgpt.errors import HealthGPTError, ModelError, OutputError
from healthgpt.model.checkpoint import sha256_of
from healthgpt.training.distributed import DeepSpeedSpread, Spread

FORMAT = 1
"""Version of this layout; a checkpoint of another version is refused."""
TRAINED, OPTIMIZER, AVERAGE = "trained.safetensors", "optimizer.safetensors", "average.safetensors"
STATE, DEEPSPEED = "state.json", "deepspeed"
MOMENTS = ("exp_avg", "exp_avg_sq")
PARTIAL = ".partial"
GO_ON = {"next_step": "continue with the recipe the run began with"}
STEP_FOLDER = re.compile(r"step-(\d{6,})")

State = TypeVar("State", bound=BaseModel)
Result = TypeVar("Result")
Tensors = Mapping[str, torch.Tensor]


class Contents(BaseModel):
    """``state.json``."""

    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT
    step: int
    state: dict[str, Any]
    loss_scaling: dict[str, int | float] | None
    hashes: dict[str, str]


def step_of(checkpoint: Path) -> int | None:
    """The step a checkpoint folder is named after; None for anything else, unfinished ones included."""
    match = STEP_FOLDER.fullmatch(checkpoint.name)
    return int(match[1]) if match and checkpoint.is_dir() else None


def checkpoints_in(folder: Path) -> dict[int, Path]:
    """The checkpoints of a run by step, oldest first; none when there is no such folder."""
    found = {step_of(path): path for path in (folder.iterdir() if folder.is_dir() else [])}
    return {step: found[step] for step in sorted(step for step in found if step is not None)}


def latest(folder: Path) -> Path | None:
    """The checkpoint of the highest step, None when there is none."""
    return next(reversed(checkpoints_in(folder).values()), None)


def prune(folder: Path, keep: int, best: int | None = None) -> None:
    """Remove all but the last ``keep`` checkpoints and the one of step ``best``; for process 0 alone."""
    found = checkpoints_in(folder)
    for step in list(found)[: max(0, len(found) - keep)]:
        if step != best:
            partial = found[step].with_name(found[step].name + PARTIAL)  # a kill leaves nothing that looks whole
            os.replace(found[step], partial)
            shutil.rmtree(partial)


def save_checkpoint(folder: Path, step: int, spread: Spread, state: BaseModel, average: Tensors | None = None) -> Path:
    """Write the checkpoint of ``step``; all processes call it, and get its path once it is on the disk.

    ``average``: by the names of ``spread.trained``, spread as those are. A checkpoint of the same step is replaced.
    ``OutputError`` on all processes when it cannot be written: earlier ones are untouched, and what was begun is gone.
    """
    accelerator = spread.accelerator
    path = folder / f"step-{step:06d}"
    partial = path.with_name(path.name + PARTIAL)
    files: dict[str, Tensors] = {TRAINED: spread.trained}
    if not isinstance(spread, DeepSpeedSpread):
        files[OPTIMIZER] = _optimizer_state(spread)
    if average is not None:
        files[AVERAGE] = average
    size = sum(tensor.numel() * tensor.element_size() for tensors in files.values() for tensor in tensors.values())

    def by_process_0(work: Callable[[], None]) -> None:
        _by_process_0(accelerator, lambda: _or_nothing(path, partial, size, work))

    by_process_0(lambda: _make_empty(folder, partial))
    for name, tensors in files.items():
        whole = _gathered(tensors, accelerator)
        by_process_0(lambda name=name, whole=whole: save_file(whole, partial / name))  # type: ignore[misc]
    if isinstance(spread, DeepSpeedSpread):
        accelerator.save_state(str(partial / DEEPSPEED), exclude_frozen_parameters=True)
    scaler = accelerator.scaler
    contents = Contents(
        step=step,
        state=state.model_dump(mode="json"),
        loss_scaling=None if scaler is None else scaler.state_dict(),
        hashes={},
    )
    by_process_0(lambda: _finish(path, partial, contents))
    return path


def load_checkpoint(path: Path, spread: Spread, kind: type[State], average: Tensors | None = None) -> tuple[int, State]:
    """Put a run back to where a checkpoint left it; all processes call it. Returns the step and the caller's state.

    Fills ``spread.trained``, the optimiser's state and ``average`` in place. ``ModelError`` on all processes, and
    nothing changed, when a file is damaged, or names or shapes of tensors, or fields of the state, do not fit.
    """
    accelerator = spread.accelerator
    files: dict[str, Tensors] = {TRAINED: spread.trained}
    if not isinstance(spread, DeepSpeedSpread):
        files[OPTIMIZER] = _optimizer_state(spread)
    if average is not None:
        files[AVERAGE] = average
    contents = _by_process_0(accelerator, lambda: _checked(path, files, kind))
    if isinstance(spread, DeepSpeedSpread):
        accelerator.load_state(str(path / DEEPSPEED), load_module_strict=False)
        del files[TRAINED]  # DeepSpeed puts them back itself, together with its copy of them
    for name, tensors in files.items():
        _hand_out(path / name, tensors, accelerator)
    if accelerator.scaler is not None and contents.loss_scaling is not None:
        accelerator.scaler.load_state_dict(contents.loss_scaling)
    return contents.step, kind.model_validate(contents.state)


def resume(folder: Path, spread: Spread, kind: type[State], average: Tensors | None = None) -> tuple[int, State] | None:
    """``load_checkpoint`` of the latest one that process 0 sees in ``folder``; None when there is none."""
    path = _by_process_0(spread.accelerator, lambda: latest(folder))
    return None if path is None else load_checkpoint(path, spread, kind, average)


def _by_process_0(accelerator: Accelerator, work: Callable[[], Result]) -> Result:
    """What process 0 makes of it, on every process; a fault it tells a person is raised on all of them."""
    outcome: list[Any] = [None, None]
    if accelerator.is_main_process:
        try:
            outcome[0] = work()
        except HealthGPTError as fault:
            outcome[1] = fault
    broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def _or_nothing(path: Path, partial: Path, size: int, work: Callable[[], None]) -> None:
    """Do a part of the writing; where the disk does not take it, clear away what was begun and tell how much room."""
    try:
        work()
    except (OSError, SafetensorError) as fault:
        shutil.rmtree(partial, ignore_errors=True)
        there = next(place for place in path.parents if place.exists())
        before = latest(path.parent)
        raise OutputError(
            f"the checkpoint {path} cannot be written",
            found=f"{fault}; it takes {size / 1e9:.3g} GB, {shutil.disk_usage(there).free / 1e9:.3g} GB are free",
            next_step="make room and run again: "
            + (f"the run continues from {before}" if before else "there is no earlier checkpoint"),
        ) from fault


def _make_empty(folder: Path, partial: Path) -> None:
    for left in folder.glob(f"step-*{PARTIAL}"):  # by a run that was killed
        shutil.rmtree(left)
    partial.mkdir(parents=True)


def _finish(path: Path, partial: Path, contents: Contents) -> None:
    files = sorted(file for file in partial.rglob("*") if file.is_file())
    contents.hashes = {str(file.relative_to(partial)): sha256_of(file) for file in files}
    text = json.dumps(contents.model_dump(), indent=1)
    (partial / STATE).write_text(text + "\n", encoding="utf-8")
    for file in [*files, partial / STATE, partial]:
        _sync(file)
    shutil.rmtree(path, ignore_errors=True)
    os.replace(partial, path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Have a file's or folder's contents on the disk, so that a power cut leaves no name without what it names."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _optimizer_state(spread: Spread) -> dict[str, torch.Tensor]:
    """AdamW's state itself by name, begun where it has not stepped yet, as it would begin it."""
    flat = {}
    for name, parameter in spread.trained.items():
        state = spread.optimizer.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device if spread.optimizer.defaults["fused"] else "cpu")
            state.update({moment: torch.zeros_like(parameter) for moment in MOMENTS})
        flat.update({f"{key}/{name}": state[key] for key in (*MOMENTS, "step")})
    return flat


def _gathered(tensors: Tensors, accelerator: Accelerator) -> dict[str, torch.Tensor]:
    """The whole tensors in process 0's memory; nothing on the others, which help to gather."""
    whole = {}
    for name, tensor in tensors.items():
        full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if accelerator.is_main_process:
            whole[name] = full.detach().cpu().contiguous()
    return whole


@torch.no_grad()
def _hand_out(file: Path, tensors: Tensors, accelerator: Accelerator) -> None:
    """Fill tensors on every process, whole or shares, from a file that process 0 reads."""
    stored = safe_open(file, "pt") if accelerator.is_main_process else None
    for name, tensor in tensors.items():
        whole = torch.empty(tensor.shape, dtype=tensor.dtype) if stored is None else stored.get_tensor(name)
        whole = whole.to(accelerator.device)
        if accelerator.num_processes > 1:
            torch.distributed.broadcast(whole, 0)
        if isinstance(tensor, DTensor):
            own = distribute_tensor(whole, tensor.device_mesh, tensor.placements, src_data_rank=None)
            tensor.to_local().copy_(own.to_local())
        else:
            tensor.copy_(whole)


def _checked(path: Path, files: Mapping[str, Tensors], kind: type[BaseModel]) -> Contents:
    """What ``state.json`` says, once every file is as it was written and fits."""
    try:
        contents = Contents.model_validate_json((path / STATE).read_bytes())
    except (OSError, ValidationError) as fault:
        raise _damaged(path, STATE, str(fault).splitlines()[0]) from fault
    if contents.format != FORMAT:
        raise ModelError(f"{path} is of another format", found=str(contents.format), allowed=str(FORMAT))
    for name, expected in contents.hashes.items():
        if not (path / name).is_file():
            raise _damaged(path, name, "no such file")
        if sha256_of(path / name) != expected:
            raise _damaged(path, name, "contents that differ from the recorded hash")
    for name, tensors in files.items():
        if name not in contents.hashes:
            raise ModelError(f"the checkpoint {path} holds no {name}", found=", ".join(contents.hashes), **GO_ON)
        _check_tensors(path / name, tensors)
    try:
        kind.model_validate(contents.state)
    except ValidationError as fault:
        raise ModelError(f"the state in {path / STATE} is not one of this run", found=str(fault), **GO_ON) from fault
    return contents


def _damaged(path: Path, name: str, found: str) -> ModelError:
    earlier = [one for step, one in checkpoints_in(path.parent).items() if step < (step_of(path) or 0)]
    then = f"the run continues from {earlier[-1]}" if earlier else "the run starts again"
    return ModelError(f"{path / name} is damaged", found=found, next_step=f"remove {path}: {then}")


def _check_tensors(file: Path, tensors: Tensors) -> None:
    expected = {name: list(tensor.shape) for name, tensor in tensors.items()}
    with safe_open(file, "pt") as stored:
        there = {name: stored.get_slice(name).get_shape() for name in stored.keys()}  # noqa: SIM118 - no dictionary
    if there != expected:
        only_there = [f"{name} {shape}" for name, shape in there.items() if expected.get(name) != shape]
        only_here = [f"{name} {shape}" for name, shape in expected.items() if there.get(name) != shape]
        raise ModelError(
            f"the tensors in {file} are not those this run trains",
            found=_some(only_there),
            allowed=_some(only_here) + " in their place",
            **GO_ON,
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "nothing"

"""The optimisation loop every part shares: steps, schedule, clipping, journal, checkpoints, exact resume.

Nothing random outlives a step: step s draws its batch and its dropout from (seed, s), so a run that was
killed and goes on from its checkpoint ends with the same bits as one that was not.
"""

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from healthgpt.errors import HealthGPTError
from healthgpt.training.nano.recipe import Steps

Compute = Callable[[int], tuple[torch.Tensor, dict[str, float]]]
"""step -> (loss to minimise, figures for the journal)."""

JOURNAL_EVERY = 10


def attention_for(device: str) -> str:
    """The faster way for a tower to attend in training: in bfloat16 on a CPU plain products beat the fused kernel."""
    return "eager" if device == "cpu" else "sdpa"


def learning_rate_factor(step: int, plan: Steps) -> float:
    """The schedule: share of the full rate used at ``step`` (counted from 0)."""
    rise = min(1.0, (step + 1) / max(1, plan.warm_up))
    if plan.schedule == "constant":
        return 1.0
    if plan.schedule == "warm-up" or step < plan.warm_up:
        return rise
    done = (step - plan.warm_up) / max(1, plan.steps - plan.warm_up)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def save_whole(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write safetensors so that the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial)
    os.replace(partial, path)


def save_checkpoint(path: Path, content: dict) -> None:
    """Write a checkpoint so that it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    os.replace(partial, path)


def run_steps(
    folder: Path,
    plan: Steps,
    groups: list[tuple[dict[str, torch.nn.Parameter], float]],
    compute: Compute,
    *,
    seed: int,
    buffers: Mapping[str, torch.Tensor] | None = None,
    checkpoint_seconds: float = 60.0,
    device: str = "cpu",
) -> None:
    """Optimise ``groups`` (parameters by name, learning rate) for ``plan.steps`` steps with AdamW, weight decay 0.

    ``folder`` receives ``journal.jsonl`` and ``checkpoint.pt``; if the latter is there already the run goes
    on from it. ``buffers``: tensors that change without gradients and belong to the state. A loss that
    is not finite skips its step; twenty in a row stop the run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = torch.optim.AdamW(
        [{"params": list(parameters.values()), "lr": rate} for parameters, rate in groups],
        weight_decay=0.0,
        betas=(0.9, plan.beta2),
    )
    rates = [rate for _, rate in groups]
    state = {name: parameter for parameters, _ in groups for name, parameter in parameters.items()}
    held = dict(buffers or {})
    checkpoint, journal = folder / "checkpoint.pt", folder / "journal.jsonl"
    first = 0
    if checkpoint.is_file():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        first = saved["step"]
        with torch.no_grad():
            for name, tensor in {**state, **held}.items():
                tensor.copy_(saved["tensors"][name])
        optimizer.load_state_dict(saved["optimizer"])
    last_saved, started, bad = time.monotonic(), time.monotonic(), 0
    with journal.open("a", encoding="utf-8") as log:
        for step in range(first, plan.steps):
            torch.manual_seed(hash((seed, step)) & 0x7FFFFFFF)
            factor = learning_rate_factor(step, plan)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            loss, figures = compute(step)
            if torch.isfinite(loss):
                bad = 0
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                norm = torch.nn.utils.clip_grad_norm_(list(state.values()), plan.clip)
                if torch.isfinite(norm):
                    optimizer.step()
            else:
                bad += 1
                if bad >= 20:
                    raise HealthGPTError(
                        f"the loss of {folder.name} was not finite for 20 steps", found=f"step {step}",
                        next_step="lower the learning rate",
                    )  # fmt: skip
            if step % JOURNAL_EVERY == 0 or step + 1 == plan.steps:
                line = {"step": step + 1, "steps": plan.steps, "loss": float(loss.detach()), "lr": rates[0] * factor}
                line |= {"seconds": round(time.monotonic() - started, 1), **figures}
                log.write(json.dumps(line) + "\n")
                log.flush()
            if time.monotonic() - last_saved > checkpoint_seconds and step + 1 < plan.steps:
                save_checkpoint(
                    checkpoint,
                    {
                        "step": step + 1,
                        "tensors": {name: tensor.detach() for name, tensor in {**state, **held}.items()},
                        "optimizer": optimizer.state_dict(),
                    },
                )
                last_saved = time.monotonic()
    checkpoint.unlink(missing_ok=True)


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a finished part."""
    return load_file(path)

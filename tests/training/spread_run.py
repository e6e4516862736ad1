"""A short training run however it is spread: in the test's own process, or started by torchrun in several.

``torchrun spread_run.py FOLDER KIND...`` is what the processes of a test do.
"""

import errno
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed
import torch.nn.functional as F
from accelerate import Accelerator, DeepSpeedPlugin
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs
from pydantic import BaseModel
from tiny import tiny_model
from torch import nn

from healthgpt.batch import Batch
from healthgpt.data.collate import right_padded
from healthgpt.errors import OutputError
from healthgpt.tokens import IGNORED
from healthgpt.training import checkpoints
from healthgpt.training.checkpoints import load_checkpoint, save_checkpoint
from healthgpt.training.distributed import (
    DEEPSPEED,
    Distribution,
    Spread,
    spread,
    start_accelerator,
)
from healthgpt.vision.preprocess import Preprocessing

ROWS, MICRO = 8, 2
LIMIT = 2.0
"""The global gradient norm allowed: less than these runs have, so that every step is clipped."""
ONE_PROCESS = "one process"


class RunState(BaseModel):
    """What the runs of these tests remember beside tensors."""

    seen: int
    best: float


class RowLosses(nn.Module):
    """(B,) summed cross-entropy of each row's response."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> torch.Tensor:
        targets = batch.labels_BT[:, 1:]
        logits = self.model(batch)[:, :-1].float()
        return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none", ignore_index=IGNORED).sum(1)


def rows_of_step(step: int, builder, size: int) -> list[tuple]:
    """Prompt, task and image of each row: first the reading ones, so that each process sees one family alone.

    Every other step they take turns. One reading row in two has no image.
    """
    rng = np.random.default_rng(step)
    images = rng.integers(0, 256, (ROWS, size, size, 3), dtype=np.uint8)
    rows = []
    for number, image in enumerate(images[: ROWS // 2]):
        seen = number % 2 == 0
        prompt = builder.reading([("is there a nodule", ["no", "yes"][number % 2])], has_image=seen)
        rows.append((prompt, "ct", image if seen else None))
    for image in images[ROWS // 2 :]:
        codes = rng.integers(0, 16, 4).tolist()
        rows.append((builder.drawing("turn this ct into an mri", has_image=True, codes=codes), "ct-to-mri", image))
    return rows if step % 2 == 0 else rows[::2] + rows[1::2]


@dataclass
class Run:
    """A spread model and what its steps came to."""

    spread: Spread
    model: nn.Module
    builder: object
    size: int
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)

    def step(self, step: int, *, broken_on: int | None = None) -> bool:
        """One step on its global batch; False when it was left out because a norm was not finite."""
        accelerator = self.spread.accelerator
        rows = rows_of_step(step, self.builder, self.size)
        tokens = sum(label != IGNORED for prompt, _, _ in rows for label in prompt.labels[1:])
        share = ROWS // accelerator.num_processes
        own = rows[accelerator.process_index * share :][:share]
        starts = range(0, share, MICRO)
        total = torch.zeros(())
        for start in starts:
            with self.spread.micro_batch(last=start == starts[-1]):
                by_row = self.spread.module(self.batch(own[start : start + MICRO]))
                if broken_on == accelerator.process_index:
                    by_row = by_row * math.nan
                self.spread.backward(by_row.sum() * (accelerator.num_processes / tokens))
            total += by_row.detach().sum() / tokens
        self.losses.append(float(accelerator.reduce(total, "sum")))
        self.norms.append(self.spread.clip_gradients(LIMIT))
        sound = math.isfinite(self.norms[-1])
        if sound:
            self.spread.step()
        else:
            self.spread.skip()
        return sound

    def batch(self, rows) -> Batch:
        prompts, tasks, images = zip(*rows, strict=True)
        return right_padded(prompts, tasks, images, Preprocessing(size=self.size))

    @torch.no_grad()
    def validate(self, step: int = 100) -> float:
        """Summed loss of some rows, the same on all processes."""
        return float(self.spread.module(self.batch(rows_of_step(step, self.builder, self.size)[:4])).sum())

    @torch.no_grad()
    def alone(self) -> float:
        """Summed loss of those rows by the model itself, one after another; but for process 0, of the first alone."""
        rows = rows_of_step(100, self.builder, self.size)[: 4 if self.spread.accelerator.is_main_process else 1]
        with self.spread.whole():
            return sum(float(RowLosses(self.model)(self.batch([row]))) for row in rows)

    @torch.no_grad()
    def validate_another(self) -> None:
        """Validate with other tensors in the trained ones' place, as a running average is; then put them back."""
        kept = {name: tensor.detach().clone() for name, tensor in self.spread.trained.items()}
        for tensor in self.spread.trained.values():
            tensor.mul_(0.5)
        self.validate()
        for name, tensor in self.spread.trained.items():
            tensor.copy_(kept[name])

    def save(self, folder: Path, step: int) -> Path:
        """A checkpoint with a running average: nine tenths zeros, one tenth what is trained."""
        average = {name: torch.zeros_like(tensor) for name, tensor in self.spread.trained.items()}
        for name, tensor in self.spread.trained.items():
            average[name].lerp_(tensor.detach(), 0.1)
        return save_checkpoint(folder, step, self.spread, RunState(seen=ROWS * step, best=0.5), average)

    def outcome(self) -> dict:
        """Losses, norms and every tensor of the model, whole."""
        with self.spread.whole():
            tensors = {name: _plain(tensor).clone() for name, tensor in self.model.named_parameters()}
        return {"losses": [*self.losses], "norms": [*self.norms], "tensors": tensors}


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor.detach()


def is_trained(name: str) -> bool:
    """Plugins, adapters and tables."""
    return ".adapters." in name or name.startswith("fusion.")


def started(seed: int = 0, *, accelerator=None, frozen: torch.dtype = torch.float32, **settings) -> Run:
    """A run at its beginning; another ``seed`` is another model whose frozen tensors are those of seed 0."""
    distribution = Distribution(**{"precision": "fp32", "cpu": True} | settings)
    model, builder, variant = tiny_model()
    other, _, _ = tiny_model(seed)
    for (name, tensor), begun in zip(model.named_parameters(), other.parameters(), strict=True):
        tensor.requires_grad_(is_trained(name))
        tensor.data = begun.data if is_trained(name) else tensor.data.to(frozen)
    accelerator = accelerator or start_accelerator(distribution)
    made = spread(
        accelerator, distribution, RowLosses(model).train(),
        lambda trained: torch.optim.AdamW(trained.values(), lr=1e-3, weight_decay=0.01),
    )  # fmt: skip
    return Run(made, model, builder, variant.image_size)


def in_one_process(steps: Sequence[int], checkpoint: Path | None = None, **settings) -> dict:
    """The outcome of some steps in this process, from the beginning or from a checkpoint."""
    run = started(**settings) if checkpoint is None else started(seed=1, **settings)
    if checkpoint is not None:
        assert load_checkpoint(checkpoint, run.spread, RunState)[0] == steps[0]
    for step in steps:
        run.step(step)
    return run.outcome()


def in_two_processes(kinds: Sequence[str], folder: Path) -> list[dict[str, dict]]:
    """What each of two processes makes of ``main``."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*command, __file__, str(folder), *kinds],
        env=environment | {"DS_ACCELERATOR": "cpu"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def started_together(kind: str, **settings) -> Run:
    """A run at its beginning on the processes of torchrun; DeepSpeed too, which is refused on CPUs otherwise."""
    if kind == "deepspeed":
        AcceleratorState._reset_state()
        accelerator = Accelerator(
            deepspeed_plugin=DeepSpeedPlugin(hf_ds_config=DEEPSPEED),
            kwargs_handlers=[InitProcessGroupKwargs(backend="gloo")],
            mixed_precision="no",
        )
        return started(parallelism=kind, accelerator=accelerator, **settings)
    return started(parallelism=kind, activation_checkpointing=kind == "fsdp", **settings)


def two_runs(kind: str, folder: Path) -> dict:
    """Steps with a checkpoint after three and a broken one after five; a full disk; the checkpoint of one process."""
    run = started_together(kind)
    accelerator = run.spread.accelerator
    assert accelerator.num_processes == 2
    run.alone()
    for step in range(5):
        run.step(step)
        run.validate_another()
        if step == 2:
            run.save(folder / kind, 3)
    found = {"whole": run.outcome()}
    found["alone"] = run.alone()
    found["validation"] = run.validate()
    found["was sound"] = run.step(5, broken_on=1)
    run.step(6)
    found["after a broken step"] = run.outcome()

    with full_disk(), pytest.raises(OutputError) as fault:
        run.save(folder / kind, 7)
    found["full disk"] = str(fault.value)

    mixed = started_together(kind, precision="bf16", frozen=torch.bfloat16)
    for step in (0, 1):
        mixed.step(step)
    found["bf16"] = mixed.outcome()

    if kind != "deepspeed":
        continued = started_together(kind, seed=1)
        load_checkpoint(folder / ONE_PROCESS / "step-000003", continued.spread, RunState)
        for step in (3, 4):
            continued.step(step)
        found["continued"] = continued.outcome()

        scaled = started_together(kind)
        scaled.spread.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        scaled.step(0)
        scaled.step(1, broken_on=1)
        found["scale"] = scaled.spread.accelerator.scaler.get_scale()
        scaled.step(1)
        found["scaled"] = scaled.outcome()
    return found


@contextmanager
def full_disk() -> Iterator[None]:
    """Every tensor file is written to its half, and then there is no room."""

    def written_to_its_half(tensors, path):
        Path(path).write_bytes(bytes(1000))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(checkpoints, "save_file", written_to_its_half)
        yield


def main(folder: Path, kinds: Sequence[str]) -> None:
    """A process of ``in_two_processes``; what it found goes into ``RANK.pt``."""
    found = {kind: two_runs(kind, folder) for kind in kinds}
    torch.save(found, folder / f"{os.environ['RANK']}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

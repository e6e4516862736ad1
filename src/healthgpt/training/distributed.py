"""How a run is spread over processes: precision, DDP, FSDP2 or DeepSpeed, and what is done with the gradients.

Hugging Face accelerate brings the processes up and gives device, precision, loss scaling and trackers. The model is
wrapped by the libraries' own calls: accelerate passes FSDP over in silence on CPUs, and so what two CPU processes
prove in the tests is what GPUs run.

One global batch gives the same gradients, norm and optimiser step however it is spread, because after a backward pass
every trained tensor has a gradient: zeros where no row used it (a plugin whose family is absent, an adapter without
images). AdamW then treats it alike everywhere: its moments decay, and it drifts on with what is left of them. Without
that, processes whose rows are of different families would have different tensors to exchange: DDP refuses, FSDP and
DeepSpeed mix them up.

What each kind holds on a process:

    ddp         everything; gradients of trained tensors are averaged
    fsdp        a share of every tensor, frozen or trained; a decoder block's are gathered while it is computed, all
                others (tower, adapters, tables, final norm) from the start of the forward to the end of the backward
                pass. They stay in one group at the root because which of them are called depends on the rows, and a
                gathering that only some processes begin never ends.
    deepspeed   the model whole, a share of gradients and optimiser state (ZeRO 2)
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed
from accelerate import Accelerator, DeepSpeedPlugin
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs, is_deepspeed_available
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from healthgpt.batch import Batch
from healthgpt.errors import RecipeError
from healthgpt.plugins.attach import decoder_blocks

DEEPSPEED: dict[str, Any] = {
    "train_micro_batch_size_per_gpu": 1,
    "gradient_accumulation_steps": 1,
    "gradient_clipping": 0.0,
    "zero_optimization": {"stage": 2},
    "zero_force_ds_cpu_optimizer": False,
}
"""DeepSpeed's own settings: ZeRO and nothing else. Its bf16 would round trained tensors, its autocast their gradients,
and its count of micro-batches would divide losses that are weighed already."""
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
OptimizerMaker = Callable[[dict[str, nn.Parameter]], torch.optim.Optimizer]
"""Trained tensors by plain name -> their optimiser."""


ZERO_STAGE = 2
"""DeepSpeed's. Its stage 3 gathers a layer's weights when the layer is called, and the rows decide which layers those
are: processes whose rows are of different families would wait for each other. FSDP shards what stage 3 shards."""


@dataclass(frozen=True)
class Distribution:
    """How a run computes; the number of processes is what it was launched with (torchrun or accelerate launch).

    ``precision``: of the products; trained tensors and their optimiser are float32 in any case.
    ``activation_checkpointing``: decoder blocks keep their input only and are computed again in the backward pass.
    ``cpu``: leave GPUs alone.
    """

    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    parallelism: Literal["ddp", "fsdp", "deepspeed"] = "ddp"
    activation_checkpointing: bool = False
    cpu: bool = False


def start_accelerator(
    settings: Distribution, *, trackers: Sequence[str] = (), folder: Path | None = None
) -> Accelerator:
    """Bring up the processes of a run; ``trackers`` by accelerate's names, writing into ``folder``.

    ``RecipeError``: fp16 or DeepSpeed without a GPU, DeepSpeed not installed or with fp16.
    """
    cpu = settings.cpu or not torch.cuda.is_available()
    if cpu and settings.precision == "fp16":
        raise RecipeError("fp16 needs a GPU", found="a run on CPU", next_step="use bf16 or fp32")
    plugin = None
    if settings.parallelism == "deepspeed":
        _check_deepspeed(settings, cpu)
        plugin = DeepSpeedPlugin(hf_ds_config=DEEPSPEED)
    # One process may run one stage after another, each with settings of its own; accelerate keeps the first for good.
    AcceleratorState._reset_state()
    return Accelerator(
        mixed_precision="no" if plugin or settings.precision == "fp32" else settings.precision,
        cpu=cpu,
        deepspeed_plugin=plugin,
        log_with=list(trackers) or None,
        project_dir=folder,
        # The others wait while process 0 looks through the data, which may take hours.
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(days=2))],
    )


def _check_deepspeed(settings: Distribution, cpu: bool) -> None:
    if cpu:
        raise RecipeError("DeepSpeed needs a GPU", found="a run on CPU", next_step="use ddp or fsdp")
    if settings.precision == "fp16":
        raise RecipeError("DeepSpeed runs in bf16 or fp32 here", found="fp16", next_step="use ddp or fsdp")
    if not is_deepspeed_available():
        raise RecipeError("DeepSpeed is not installed", next_step="pip install deepspeed, or use fsdp")


@dataclass
class Spread:
    """A loss spread over the processes, with its optimiser.

    ``module``: batch -> (B,) summed token losses; call it equally often on all processes. ``trained``: the trained
    tensors by the plain names of ``model.named_parameters()``; under FSDP each is a DTensor of which a process holds
    its share.
    """

    accelerator: Accelerator
    module: nn.Module
    optimizer: torch.optim.Optimizer
    trained: dict[str, nn.Parameter]

    @contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        """Forward and backward pass of one micro-batch inside; gradients are averaged over processes on the last."""
        if isinstance(self.module, FSDPModule):
            self.module.set_requires_gradient_sync(last)
        if isinstance(self.module, DistributedDataParallel) and not last:
            with self.module.no_sync():
                yield
        else:
            yield

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a scalar loss; in fp16 it is scaled."""
        self.accelerator.backward(loss)

    def clip_gradients(self, limit: float) -> float:
        """Scale the gradients to a global norm of at most ``limit``; returns the norm before, the same everywhere.

        Gradients that are not finite stay as they are and return a norm that is not finite: then ``skip``.
        """
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.unscale_(self.optimizer)
        gradients = [_share(parameter.grad) for parameter in self.trained.values() if parameter.grad is not None]
        norm_of_all = torch.nn.utils.get_total_norm(gradients)
        if isinstance(self.module, FSDPModule):
            squared = norm_of_all.double().square()
            torch.distributed.all_reduce(squared)
            norm_of_all = squared.sqrt()
        norm = float(norm_of_all)
        if limit < norm < float("inf"):
            torch._foreach_mul_(gradients, limit / norm)
        return norm

    def step(self) -> None:
        """Move the trained tensors and forget the gradients; after ``clip_gradients``."""
        scaler = self.accelerator.scaler
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()
        self.optimizer.zero_grad()

    def skip(self) -> None:
        """Forget the gradients; after ``clip_gradients``. In fp16 ones that are not finite lower the scale."""
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.update()
        self.optimizer.zero_grad()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Every weight is whole on every process inside, so that the model can be used by itself without gradients.

        For drawing and answering, each process at its own pace. Under FSDP it takes the memory of the whole model.
        """
        parts = [part for part in self.module.modules() if isinstance(part, FSDPModule)]
        for part in parts:
            part.set_reshard_after_forward(False, recurse=False)
            part.unshard()
        try:
            yield
        finally:
            for part in parts:
                part.set_reshard_after_forward(part is not self.module, recurse=False)
                part.reshard()


class DeepSpeedSpread(Spread):
    """The same with DeepSpeed's engine as the module; it keeps gradients and optimiser state in shares of its own."""

    @property
    def _zero(self) -> Any:
        return self.module.optimizer

    @contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        self.module.set_gradient_accumulation_boundary(last)  # type: ignore[operator]
        yield

    def backward(self, loss: torch.Tensor) -> None:
        self.module.backward(loss)  # type: ignore[operator]

    def clip_gradients(self, limit: float) -> float:
        self._zero.clip_grad = limit
        return float(self._zero.scaled_global_norm())

    def step(self) -> None:
        self.module.step()  # type: ignore[operator]

    def skip(self) -> None:
        self._zero.zero_grad()
        self._zero.averaged_gradients = {}


def spread(accelerator: Accelerator, settings: Distribution, loss: nn.Module, make_optimizer: OptimizerMaker) -> Spread:
    """Make a loss ready to train on all processes: ``loss.model`` is a HealthGPTModel, what it trains requires grad.

    The model moves to the accelerator's device. Trained tensors begin as process 0 has them; frozen ones must be the
    same everywhere. ``make_optimizer`` gets the tensors as they will be trained. ValueError when nothing is trained
    or something in another type than float32; ``RecipeError`` for a quantised backbone under FSDP.
    """
    model = loss.get_submodule("model")
    blocks = decoder_blocks(model.get_submodule("backbone"))
    trained = _trained(model)
    if not trained or any(parameter.dtype != torch.float32 for parameter in trained.values()):
        raise ValueError("the trained tensors must be there, and be float32")
    for block in blocks:
        block.gradient_checkpointing = settings.activation_checkpointing  # type: ignore[assignment]
        _give_gradients(block)
    whole = _FullBackward(loss, blocks, AUTOCAST.get(settings.precision))
    if settings.parallelism == "fsdp":
        _check_shardable(model)
    if settings.parallelism == "deepspeed":
        optimizer = make_optimizer(trained)
        engine, _ = accelerator.prepare(whole, optimizer)
        return DeepSpeedSpread(accelerator, engine, optimizer, trained)
    if accelerator.num_processes > 1 and settings.parallelism == "fsdp":
        _shard(whole, blocks, trained, accelerator)
    else:
        whole.to(accelerator.device)
    trained = _trained(model)
    several = accelerator.num_processes > 1 and settings.parallelism == "ddp"
    module = _replicated(whole, accelerator) if several else whole
    return Spread(accelerator, module, make_optimizer(trained), trained)


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _share(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor, itself and not a copy."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _check_shardable(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point() or type(parameter.data) is not torch.Tensor:
            raise RecipeError(
                "a quantised backbone cannot be sharded", found=f"{name} as {type(parameter.data).__name__}",
                next_step="use ddp, or a backbone in bf16",
            )  # fmt: skip


def _replicated(module: nn.Module, accelerator: Accelerator) -> DistributedDataParallel:
    """DDP of the trained tensors alone: the frozen ones and the buffers are the same everywhere and stay so."""
    frozen = [name for name, parameter in module.named_parameters() if not parameter.requires_grad]
    frozen += [name for name, _ in module.named_buffers()]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, frozen)
    devices = None if accelerator.device.type == "cpu" else [accelerator.device]
    return DistributedDataParallel(module, device_ids=devices, gradient_as_bucket_view=True)


def _shard(
    module: "_FullBackward", blocks: nn.ModuleList, trained: dict[str, nn.Parameter], accelerator: Accelerator
) -> None:
    """FSDP2 in place, a block at a time, so that a GPU never holds more of the model than a block and its share."""
    for parameter in trained.values():
        parameter.data = parameter.data.to(accelerator.device)
        torch.distributed.broadcast(parameter.data, 0)
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)
    module.register_forward_hook(_release)
    # The first of its modules to be called is FSDP's root for good, and ``Spread.whole`` calls blocks by themselves.
    register_fsdp_forward_method(module, "begin")
    with torch.no_grad():
        module.begin()
    module.reshard()  # type: ignore[operator]


def _release(module: nn.Module, *_: object) -> None:
    """Give the root's gathered tensors back after a validation pass.

    Only a backward pass does so by itself; the next forward pass would see the tensors that validation saw.
    """
    if isinstance(module, FSDPModule) and not torch.is_grad_enabled():
        module.reshard()


class _Zeros(torch.autograd.Function):
    """A tensor unchanged; going back, zeros are added to the gradient of every parameter beside it."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        ctx.likes = [(parameter.shape, parameter.dtype, parameter.device) for parameter in parameters]
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return gradients[0], *(torch.zeros(shape, dtype=kind, device=where) for shape, kind, where in ctx.likes)


Place = tuple[nn.Module, str]
"""A module and the name of a parameter it holds: FSDP puts another tensor there while it computes."""


def _trained_places(module: nn.Module) -> list[Place]:
    return [
        (part, name)
        for part in module.modules()
        for name, parameter in part.named_parameters(recurse=False)
        if parameter.requires_grad
    ]


def _give_gradients(block: nn.Module) -> None:
    """Every trained tensor of a decoder block gets a gradient, at the block's input: last, and in the same order.

    DeepSpeed's buckets rely on the order in which gradients are complete.
    """
    places = _trained_places(block)

    def at_input(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return _Zeros.apply(inputs[0], *(getattr(part, name) for part, name in places)), *inputs[1:]

    if places:
        block.register_forward_pre_hook(at_input)


class _FullBackward(nn.Module):
    """A loss in the run's precision, whose backward pass reaches the trained tensors outside the blocks too."""

    def __init__(self, loss: nn.Module, blocks: nn.ModuleList, autocast: torch.dtype | None) -> None:
        super().__init__()
        self.loss = loss
        self.autocast = autocast
        inside = set(_trained_places(blocks))
        self.places = [place for place in _trained_places(loss) if place not in inside]

    def begin(self) -> None:
        """Nothing: a call that FSDP sees."""

    def forward(self, batch: Batch) -> torch.Tensor:
        # Begun before the loss, so that autograd comes to it after the loss: see ``_give_gradients``.
        device = batch.input_ids_BT.device
        zero = _Zeros.apply(torch.zeros((), device=device), *(getattr(part, name) for part, name in self.places))
        with torch.autocast(device.type, self.autocast, enabled=self.autocast is not None):
            return self.loss(batch) + zero

"""The backbone's linear layers in 8 or 4 bits: torchao on a CPU, bitsandbytes on a CUDA GPU.

Only the frozen layers of the decoder blocks are quantised, where nearly all of a model's bytes are. Plugins, tables,
tower and codec keep their precision, so what was trained is applied as it was trained, and can be trained further: a
quantised layer passes gradients on to what lies before it. bitsandbytes sees to that by itself, torchao does not.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import FunctionCtx, once_differentiable

from healthgpt.errors import InputError, ModelError

BYTES = {"int8": 1.0, "int4": 0.5 + 4 / 128}
"""Bytes of one weight; in 4 bits a scale and an offset of 2 bytes each per group of 128 come with it."""
GROUPS = (128, 64, 32)
"""Weights that share a scale in 4 bits: the most of these that divides a layer's width."""
LIBRARY = {"cpu": "torchao", "cuda": "bitsandbytes"}
NOISY = ("torchao", "torch.utils._pytree", "bitsandbytes")
"""Loggers that report missing kernels of other hardware on import."""


def check_quantisable(kind: str | None, device: torch.device) -> None:
    """``InputError`` for an unknown kind, a device it is not made for, or a library that is not installed."""
    if kind is None:
        return
    if kind not in BYTES:
        raise InputError("--quantize is not known", found=kind, allowed=", ".join(BYTES))
    library = LIBRARY.get(device.type)
    if library is None:
        raise InputError(f"--quantize does not work on {device.type}", allowed="--device cpu or cuda")
    try:
        with _quiet():
            import_module(library)
    except ImportError as fault:
        raise InputError(
            f"--quantize on {device.type} needs {library}", found=str(fault).splitlines()[0],
            next_step="pip install 'healthgpt[quantize]'",
        ) from fault  # fmt: skip


def quantise(layers: Sequence[nn.Module], kind: str, dtype: torch.dtype, device: torch.device) -> None:
    """Quantise the ``nn.Linear`` named ``base`` of every layer, in place, one after another.

    ``dtype``: what they compute in. On CUDA the weights are taken over as they are and become small as they are moved
    to the GPU. ``ModelError`` names a layer that does not divide into groups of 32 weights.
    """
    with _quiet():
        for layer in layers:
            base = layer.base
            assert isinstance(base, nn.Linear)
            base.requires_grad_(False)
            layer.base = _on_cpu(base.to(dtype), kind) if device.type == "cpu" else _on_cuda(base.to(dtype), kind)


class QuantisedLinear(nn.Linear):
    """A frozen linear layer with a weight of torchao's: computes in the precision it was quantised for, answers in x's.

    Gradients reach x and nothing else. Nothing is kept for them but the quantised weight, which is there anyway:
    by itself autograd would keep what 8 bits stand for in full, in every layer, and knows no way back through 4 bits.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        self.weight = linear.weight
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) -> (..., out)."""
        product = _ThroughFrozen.apply if x.requires_grad else F.linear
        return product(x.to(self.weight.dtype), self.weight, self.bias).to(x.dtype)


class _ThroughFrozen(torch.autograd.Function):
    """The product with a quantised weight; backwards the weight is dequantised for as long as it takes."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.weight = weight  # type: ignore[attr-defined]
        return F.linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        with torch.autocast(gradient.device.type, enabled=False):  # in float32: bfloat16 is slow on many a CPU
            product = gradient.float() @ dequantised(ctx.weight)  # type: ignore[attr-defined]
        return product.to(gradient.dtype), None, None


@torch.no_grad()
def dequantised(weight: torch.Tensor) -> torch.Tensor:
    """The numbers (out, in) in float32 that a weight of torchao's stands for.

    In 4 bits it is read by multiplying the identity with it, as its packing differs from processor to processor.
    """
    if type(weight).dequantize is not torch.Tensor.dequantize:
        return weight.dequantize(torch.float32)  # type: ignore[call-arg]
    identity = torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)
    return F.linear(identity, weight).T.float()


def _on_cpu(linear: nn.Linear, kind: str) -> nn.Module:
    torchao = import_module("torchao.quantization")
    if kind == "int8":
        torchao.quantize_(linear, torchao.Int8WeightOnlyConfig(set_inductor_config=False))
        return QuantisedLinear(linear)
    group = next((size for size in GROUPS if linear.in_features % size == 0), None)
    if group is None:
        raise ModelError(
            "a linear layer of the backbone cannot be held in 4 bits", found=f"{linear.in_features} inputs",
            allowed="a multiple of 32", next_step="use --quantize int8",
        )  # fmt: skip
    four = import_module("torchao.prototype.quantization.int4")
    torchao.quantize_(linear, four.PrototypeInt4WeightOnlyConfig(group_size=group, set_inductor_config=False))
    return QuantisedLinear(linear)


def _on_cuda(linear: nn.Linear, kind: str) -> nn.Module:
    bitsandbytes = import_module("bitsandbytes.nn")
    shape: tuple[Any, ...] = (linear.in_features, linear.out_features, linear.bias is not None)
    small: nn.Module
    if kind == "int8":
        small = bitsandbytes.Linear8bitLt(*shape, has_fp16_weights=False, device="meta")
        small.weight = bitsandbytes.Int8Params(linear.weight.data, requires_grad=False, has_fp16_weights=False)
    else:
        small = bitsandbytes.Linear4bit(*shape, compute_dtype=linear.weight.dtype, quant_type="nf4", device="meta")
        small.weight = bitsandbytes.Params4bit(linear.weight.data, requires_grad=False, quant_type="nf4")
    if linear.bias is not None:
        small.bias = linear.bias
    return small


@contextmanager
def _quiet() -> Iterator[None]:
    """The libraries' loggers say only what is wrong."""
    loggers = [logging.getLogger(name) for name in NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

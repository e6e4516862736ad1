"""H-LoRA (HealthGPT, section 3.2): k LoRA experts merged into one A and one B, weighted per token by a router.

    O = x W0 + ((x A) * W_expanded) B                     eq. 10, 11
    W_expanded = (alpha k / r) softmax(x R), each weight repeated r/k times     eq. 9

Six products a layer whatever k is. Parameter names follow the released checkpoints. Training keeps of a position only
x A and the router's weights: the repeated weights and their product with x A are made again on the way back, so that
H-LoRA needs no more memory than LoRA but for its router.
"""

import math
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

from healthgpt.plugins.lora import add_product


class HLoRA(nn.Module):
    """The plugin of one linear layer.

    ``lora_A`` (rank, in) Kaiming-uniform, ``lora_B`` (out, rank) zeros, ``lora_route`` (experts, in)
    Kaiming-uniform. ``rank`` is the merged rank; expert j owns its rows [j r/k, (j+1) r/k). Dropout sits
    on s * A x, before the product with the router's weights, as in the released code (here s stands with the
    last product: dropping out and scaling commute).
    """

    def __init__(
        self, in_features: int, out_features: int, rank: int, experts: int, alpha: float, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if rank % experts:
            raise ValueError(f"merged rank {rank} is not a multiple of {experts} experts")
        self.experts = experts
        self.scale = alpha / rank * experts
        self.lora_A = nn.Linear(in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, out_features, bias=False)
        self.lora_route = nn.Linear(in_features, experts, bias=False)
        self.dropout = nn.Dropout(dropout)
        nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))
        nn.init.kaiming_uniform_(self.lora_route.weight, a=math.sqrt(5))
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: torch.Tensor, onto: torch.Tensor) -> torch.Tensor:
        """``onto``, the frozen layer's output (..., out), with what the plugin makes of x (..., in) added."""
        a, b, route = (_weight(self, name) for name in ("lora_A", "lora_B", "lora_route"))
        rows = x.flatten(0, -2)  # (N, in); products of plain matrices spare a decoding step a fifth of the layer's time
        if torch.is_grad_enabled():
            return self._learning(rows, onto, a, b, route)
        weights = F.linear(rows, route).softmax(-1)  # (N, k)
        merged = F.linear(rows, a)  # (N, r)
        if self.training:
            merged = self.dropout(merged)
        expanded = F.linear(weights, _repeating(self.experts, merged.shape[-1], merged.dtype, merged.device))
        return add_product(onto, merged * expanded, b, self.scale)

    def _learning(self, rows: torch.Tensor, onto: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        """The same sum with gradients; under autocast in its precision, as the products of ``nn.Linear`` would be."""
        share = self.dropout.p if self.training else 0.0
        kind = rows.device.type
        if not torch.is_autocast_enabled(kind):
            return _Sum.apply(rows, onto, *weights, self.scale, share)
        dtype = torch.get_autocast_dtype(kind)
        with torch.autocast(kind, enabled=False):
            return _Sum.apply(*(tensor.to(dtype) for tensor in (rows, onto, *weights)), self.scale, share)


class _Sum(torch.autograd.Function):
    """``onto`` + scale * ((rows A) * repeated softmax(rows R)) B, its products made again on the way back."""

    @staticmethod
    def forward(
        ctx: Any, rows: torch.Tensor, onto: torch.Tensor, a: torch.Tensor, b: torch.Tensor, route: torch.Tensor,
        scale: float, share: float,
    ) -> torch.Tensor:  # fmt: skip
        """rows (N, in), onto (..., out), a (r, in), b (out, r), route (k, in); ``share`` of rows A is dropped out."""
        merged = F.linear(rows, a)
        kept = torch.empty_like(merged, dtype=torch.bool).bernoulli_(1 - share) if share else None
        if kept is not None:
            merged.mul_(kept).div_(1 - share)
        weights = F.linear(rows, route).softmax(-1)
        expanded = F.linear(weights, _repeating(len(route), len(a), merged.dtype, merged.device))
        ctx.scale, ctx.share = scale, share
        learns = ctx.needs_input_grad[2] or ctx.needs_input_grad[4]
        ctx.save_for_backward(rows if learns else None, merged, weights, kept, a, b, route)
        return add_product(onto, expanded.mul_(merged), b, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, merged, weights, kept, a, b, route = ctx.saved_tensors
        repeating = _repeating(len(route), len(a), merged.dtype, merged.device)
        expanded = F.linear(weights, repeating)
        flat = given.flatten(0, -2)
        of_rows = of_a = of_b = of_route = None
        if ctx.needs_input_grad[3]:
            of_b = (flat.T @ (merged * expanded)).mul_(ctx.scale)
        low = (flat @ b).mul_(ctx.scale)
        of_weights = (low * merged) @ repeating
        of_logits = (of_weights - (of_weights * weights).sum(-1, keepdim=True)).mul_(weights)
        of_merged = low.mul_(expanded)
        if kept is not None:
            of_merged.mul_(kept).div_(1 - ctx.share)
        if ctx.needs_input_grad[0]:
            of_rows = torch.addmm(of_merged @ a, of_logits, route)
        if ctx.needs_input_grad[2]:
            of_a = of_merged.T @ rows
        if ctx.needs_input_grad[4]:
            of_route = of_logits.T @ rows
        return of_rows, given, of_a, of_b, of_route, None, None


def _weight(plugin: nn.Module, name: str) -> torch.Tensor:
    """``plugin.name.weight`` past nn.Module's own look-up: three of those take longer than one position's routing."""
    return plugin._modules[name]._parameters["weight"]  # type: ignore[union-attr,return-value]


@lru_cache
def _repeating(experts: int, rank: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """(rank, experts) of ones and zeros: its product repeats each expert's weight rank/experts times, exactly.

    At a single position one more small product costs less than the views that a broadcast product needs.
    """
    with torch.inference_mode(False):  # kept for training too, even when made while decoding
        return torch.eye(experts, dtype=dtype, device=device).repeat_interleave(rank // experts, 0)

"""H-LoRA (HealthGPT, section 3.2): k LoRA experts merged into one A and one B, weighted per token by a router.

    O = x W0 + ((x A) * W_expanded) B                     eq. 10, 11
    W_expanded = (alpha k / r) softmax(x R), each weight repeated r/k times     eq. 9

Six products a layer whatever k is. Parameter names follow the released checkpoints.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn

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
        rows = x.flatten(0, -2)  # (N, in); products of plain matrices spare a decoding step a fifth of the layer's time
        weights = F.linear(rows, _weight(self, "lora_route")).softmax(-1)  # (N, k)
        merged = F.linear(rows, _weight(self, "lora_A"))  # (N, r)
        if self.training:
            merged = self.dropout(merged)
        expanded = F.linear(weights, _repeating(self.experts, merged.shape[-1], merged.dtype, merged.device))
        return add_product(onto, merged * expanded, _weight(self, "lora_B"), self.scale)


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

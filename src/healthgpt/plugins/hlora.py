"""H-LoRA (HealthGPT, section 3.2): k LoRA experts merged into one A and one B, weighted per token by a router.

    O = x W0 + ((x A) * W_expanded) B                     eq. 10, 11
    W_expanded = (alpha k / r) softmax(x R), each weight repeated r/k times     eq. 9

Six products a layer whatever k is. Parameter names follow the released checkpoints.
"""

import math

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
        weights = F.linear(rows, self.lora_route.weight).softmax(-1)
        merged = F.linear(rows, self.lora_A.weight)  # (N, r)
        if self.training:
            merged = self.dropout(merged)
        by_expert = merged.unflatten(-1, (self.experts, -1)) * weights.unsqueeze(-1)  # (N, k, r/k)
        return add_product(onto, by_expert.flatten(1), self.lora_B.weight, self.scale)

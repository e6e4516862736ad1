"""LoRA (Hu et al., 2021): one low-rank pair beside a frozen linear layer; the baseline H-LoRA is measured against."""

import math

import torch
from torch import nn


class LoRA(nn.Module):
    """y = (alpha / rank) B(dropout(A x)); A (rank, in) Kaiming-uniform, B (out, rank) zeros."""

    def __init__(self, in_features: int, out_features: int, rank: int, alpha: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.lora_A = nn.Linear(in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, out_features, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.scale = alpha / rank
        nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: torch.Tensor, onto: torch.Tensor) -> torch.Tensor:
        """``onto``, the frozen layer's output (..., out), with what the plugin makes of x (..., in) added."""
        return add_product(onto, self.dropout(self.lora_A(x)), self.lora_B.weight, self.scale)


def add_product(onto: torch.Tensor, low: torch.Tensor, up: torch.Tensor, scale: float) -> torch.Tensor:
    """``onto`` + scale * low @ up.T in one pass over the output: (..., out), (..., r), (out, r) -> (..., out)."""
    return torch.addmm(onto.flatten(0, -2), low.flatten(0, -2), up.T, alpha=scale).view_as(onto)

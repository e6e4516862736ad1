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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What is added to the frozen layer's output: (..., in) -> (..., out)."""
        return self.lora_B(self.dropout(self.lora_A(x) * self.scale))

"""MoELoRA: the same experts as H-LoRA kept apart and looped over, with the same softmax router.

The paper's costlier peer (table 4, table 10): 5k + 1 operations a layer for k experts.
"""

import math

import torch
from torch import nn


class MoELoRA(nn.Module):
    """y = sum_j s pi_j(x) B_j A_j x, with s = alpha / rank * experts and pi = softmax(R x).

    ``rank`` is the merged rank, divided evenly over ``experts``.
    """

    def __init__(
        self, in_features: int, out_features: int, rank: int, experts: int, alpha: float, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if rank % experts:
            raise ValueError(f"merged rank {rank} is not a multiple of {experts} experts")
        per_expert = rank // experts
        downs = [nn.Linear(in_features, per_expert, bias=False) for _ in range(experts)]
        ups = [nn.Linear(per_expert, out_features, bias=False) for _ in range(experts)]
        self.lora_A = nn.ModuleList(downs)
        self.lora_B = nn.ModuleList(ups)
        self.lora_route = nn.Linear(in_features, experts, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.scale = alpha / rank * experts
        nn.init.kaiming_uniform_(self.lora_route.weight, a=math.sqrt(5))
        for down, up in zip(downs, ups, strict=True):
            nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5))
            nn.init.zeros_(up.weight)

    def forward(self, x: torch.Tensor, onto: torch.Tensor) -> torch.Tensor:
        """``onto``, the frozen layer's output (..., out), with what the plugin makes of x (..., in) added."""
        weights = self.lora_route(x).softmax(dim=-1)
        for expert, (down, up) in enumerate(zip(self.lora_A, self.lora_B, strict=True)):
            onto = onto + up(self.dropout(down(x) * self.scale) * weights[..., expert : expert + 1])
        return onto

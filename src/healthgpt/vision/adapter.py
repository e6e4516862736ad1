"""The two-layer adapter of one grain: visual features to the language model's width (HealthGPT, section 3.3)."""

import torch
from torch import nn


class VisualAdapter(nn.Sequential):
    """Linear, exact (erf) GELU, Linear: (N, P, vision_width) -> (N, P, hidden_size).

    A Sequential so that parameter names (``0.weight``, ``2.weight``) are those of the released ``mm_projector``.
    """

    def __init__(self, vision_width: int, hidden_size: int) -> None:
        super().__init__(nn.Linear(vision_width, hidden_size), nn.GELU(), nn.Linear(hidden_size, hidden_size))

    def forward(self, features_NPW: torch.Tensor) -> torch.Tensor:
        return super().forward(features_NPW)

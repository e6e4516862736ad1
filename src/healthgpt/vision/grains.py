"""Hierarchical visual perception: from images and their tasks to projected visual tokens.

The task's grain picks the hidden state and the adapter: concrete (shallow) for drawing, abstract (deep)
for reading; a hard router, never mixed and never learned (HealthGPT, section 3.3).
"""

from collections.abc import Sequence

import torch
from torch import nn

from healthgpt.errors import ModelError
from healthgpt.tasks import Grain
from healthgpt.vision.adapter import VisualAdapter
from healthgpt.vision.clip import VisionTower


class GrainedVision(nn.Module):
    """A frozen tower with one adapter per grain."""

    def __init__(self, tower: VisionTower, hidden_size: int, hidden_states: dict[Grain, int]) -> None:
        super().__init__()
        self.tower = tower
        self.hidden_states = dict(hidden_states)
        width = tower.config.hidden_size
        self.adapters = nn.ModuleDict({grain: VisualAdapter(width, hidden_size) for grain in hidden_states})

    def forward(self, pixels_N3SS: torch.Tensor, grains: Sequence[Grain]) -> torch.Tensor:
        """Visual tokens (N, P, hidden_size); image i is seen in ``grains[i]``.

        Each grain's images run together and only as deep as that grain needs.
        """
        output: torch.Tensor | None = None
        for grain in dict.fromkeys(grains):
            if grain not in self.hidden_states:
                raise ModelError(f"this model has no {grain} grain", allowed=", ".join(self.hidden_states))
            rows = torch.tensor([i for i, g in enumerate(grains) if g == grain], device=pixels_N3SS.device)
            features = self.tower(pixels_N3SS[rows], self.hidden_states[grain])
            tokens = self.adapters[grain](features)
            if output is None:
                output = tokens.new_zeros(len(grains), *tokens.shape[1:])
            output = output.index_copy(0, rows, tokens)
        if output is None:
            raise ValueError("no images given")
        return output

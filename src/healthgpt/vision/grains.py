"""Hierarchical visual perception: from images and their tasks to projected visual tokens.

Two steps, as the first is frozen and its result may be kept: the tower makes features, the adapters make tokens of
them. The task's grain picks the hidden state and the adapter: concrete (shallow) for drawing, abstract (deep)
for reading; a hard router, never mixed and never learned (HealthGPT, section 3.3). A grain of several hidden states
is their mean, which the paper's ablation compares with.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from healthgpt.errors import ModelError
from healthgpt.tasks import Grain
from healthgpt.vision.adapter import VisualAdapter
from healthgpt.vision.clip import HiddenState, VisionTower


class GrainedVision(nn.Module):
    """A frozen tower with one adapter per grain; ``hidden_states``: which of the tower's outputs each grain is."""

    def __init__(self, tower: VisionTower, hidden_size: int, hidden_states: Mapping[Grain, HiddenState]) -> None:
        super().__init__()
        self.tower = tower
        self.hidden_states = dict(hidden_states)
        width = tower.config.hidden_size
        self.adapters = nn.ModuleDict({grain: VisualAdapter(width, hidden_size) for grain in hidden_states})

    def forward(self, pixels_N3SS: torch.Tensor, grains: Sequence[Grain]) -> torch.Tensor:
        """Visual tokens (N, P, hidden_size); image i is seen in ``grains[i]``.

        ``ModelError`` for a grain the model lacks, ValueError unless there is one grain per image.
        """
        return self.tokens(self.features(pixels_N3SS, grains), grains)

    @torch.no_grad()
    def features(self, pixels_N3SS: torch.Tensor, grains: Sequence[Grain]) -> torch.Tensor:
        """What the tower sees, before any adapter: (N, P, tower width), image i in ``grains[i]``; errors as above.

        Each grain's images run together and only as deep as that grain needs. Never part of a gradient.
        """
        return self._by_grain(pixels_N3SS, grains, lambda grain, own: self.tower(own, self.hidden_states[grain]))

    def tokens(self, features_NPW: torch.Tensor, grains: Sequence[Grain]) -> torch.Tensor:
        """Visual tokens (N, P, hidden_size) of features, each by the adapter of its grain; errors as above."""
        return self._by_grain(features_NPW, grains, lambda grain, own: self.adapters[grain](own))

    def _by_grain(
        self, images: torch.Tensor, grains: Sequence[Grain], work: Callable[[Grain, torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """``work`` of each grain on its images (N, ...), together; the results in the images' order."""
        if not grains or len(grains) != len(images):
            raise ValueError(f"{len(grains)} grains for {len(images)} images")
        output: torch.Tensor | None = None
        for grain in dict.fromkeys(grains):
            if grain not in self.hidden_states:
                raise ModelError(f"this model has no {grain} grain", allowed=", ".join(self.hidden_states))
            rows = torch.tensor([i for i, g in enumerate(grains) if g == grain], device=images.device)
            part = work(grain, images[rows])
            if output is None:
                output = part.new_zeros(len(grains), *part.shape[1:])
            output = output.index_copy(0, rows, part)
        assert output is not None
        return output

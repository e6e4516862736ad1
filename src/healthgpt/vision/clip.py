"""CLIP vision tower with early exit: only the blocks a hidden state needs are run.

The modules are Hugging Face's CLIPVisionModel, so published CLIP weights load unchanged; the walk over
the blocks is ours because drawing needs one block and reading all but the last.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel

HiddenState = int | Annotated[tuple[int, ...], Field(min_length=1)]
"""Which output of the tower: one by its index, or several, whose mean is meant."""


class VisionTower(nn.Module):
    """A CLIP ViT whose hidden states can be asked for by index.

    Hidden state 0 is the embedding after the pre-norm, i the output of block i; negative indices count
    from the end (-2: the penultimate). Several are reached in one walk, as deep as the deepest. No final norm is
    applied and the class token is dropped.
    """

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.clip = CLIPVisionModel(config)

    @property
    def config(self) -> CLIPVisionConfig:
        return self.clip.config

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.clip.encoder.layers)

    @property
    def patches(self) -> int:
        """Visual tokens per image, class token dropped."""
        return self.clip.embeddings.num_patches

    def depths(self, hidden_state: HiddenState) -> tuple[int, ...]:
        """How many blocks must run for each hidden state asked for; ValueError for none or one the tower lacks."""
        asked = (hidden_state,) if isinstance(hidden_state, int) else hidden_state
        states = self.depth + 1
        if not asked:
            raise ValueError("no hidden state asked for")
        for state in asked:
            if not -states <= state < states:
                raise ValueError(f"hidden state {state} of a tower with {states} states")
        return tuple(state % states for state in asked)

    def forward(self, pixels_N3SS: torch.Tensor, hidden_state: HiddenState) -> torch.Tensor:
        """Patch features (N, patches, width) of one hidden state, or the mean of several."""
        return self.states(pixels_N3SS, hidden_state)[:, 1:]

    def states(
        self, pixels_N3SS: torch.Tensor, hidden_state: HiddenState, kept_NK: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Class token and patch features (N, 1 + patches, width) of one hidden state, or the mean of several.

        ``kept_NK``: only these patches of each image are looked at, in this order (training on part of an
        image); the result is then (N, 1 + K, width).
        """
        depths = self.depths(hidden_state)
        x = self.clip.pre_layrnorm(self.clip.embeddings(pixels_N3SS))
        if kept_NK is not None:
            patches = x[:, 1:].gather(1, kept_NK.unsqueeze(-1).expand(-1, -1, x.shape[2]))
            x = torch.cat([x[:, :1], patches], dim=1)
        asked = {0: x}
        for depth, block in enumerate(self.clip.encoder.layers[: max(depths)], start=1):
            x = block(x, None)
            if depth in depths:
                asked[depth] = x
        return x if len(depths) == 1 else torch.stack([asked[depth] for depth in depths]).mean(dim=0)

"""CLIP vision tower with early exit: only the blocks a hidden state needs are run.

The modules are Hugging Face's CLIPVisionModel, so published CLIP weights load unchanged; the walk over
the blocks is ours because drawing needs one block and reading all but the last.
"""

import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel


class VisionTower(nn.Module):
    """A CLIP ViT whose hidden states can be asked for by index.

    Hidden state 0 is the embedding after the pre-norm, i the output of block i; negative indices count
    from the end (-2: the penultimate). No final norm is applied and the class token is dropped.
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

    def blocks_needed(self, hidden_state: int) -> int:
        """How many blocks must run for a hidden state index in [-depth-1, depth]."""
        states = self.depth + 1
        if not -states <= hidden_state < states:
            raise ValueError(f"hidden state {hidden_state} of a tower with {states} states")
        return hidden_state % states

    def forward(self, pixels_N3SS: torch.Tensor, hidden_state: int) -> torch.Tensor:
        """Patch features (N, patches, width) of one hidden state."""
        return self.states(pixels_N3SS, hidden_state)[:, 1:]

    def states(self, pixels_N3SS: torch.Tensor, hidden_state: int, kept_NK: torch.Tensor | None = None) -> torch.Tensor:
        """Class token and patch features (N, 1 + patches, width) of one hidden state.

        ``kept_NK``: only these patches of each image are looked at, in this order (training on part of an
        image); the result is then (N, 1 + K, width).
        """
        x = self.clip.pre_layrnorm(self.clip.embeddings(pixels_N3SS))
        if kept_NK is not None:
            patches = x[:, 1:].gather(1, kept_NK.unsqueeze(-1).expand(-1, -1, x.shape[2]))
            x = torch.cat([x[:, :1], patches], dim=1)
        for block in self.clip.encoder.layers[: self.blocks_needed(hidden_state)]:
            x = block(x, None)
        return x

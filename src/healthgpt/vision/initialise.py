"""How a vision tower starts when it is trained from nothing: where patches lie and attention as trained towers have it.

A few thousand small batches are too few for a transformer to find out by itself that neighbouring patches
belong together. Mimetic initialisation (Trockman and Kolter, ICML 2023) gives the attention products the
shape they have in trained towers, and fixed sine and cosine tables (as in MAE, He et al., CVPR 2022) say
where each patch lies; both are only the start and are trained on.
"""

import math

import torch
from torch import Tensor
from transformers.models.clip.modeling_clip import CLIPAttention

from healthgpt.vision.clip import VisionTower

LOOKING = (0.7, 0.7)
"""Noise and identity in query-key products: patches look at patches like themselves."""
SAYING = (0.4, -0.4)
"""Noise and identity in value-output products: what is seen is set off against what is there."""
PLACE_SIZE = 0.2
"""Size of the position tables; patch embeddings start at about 0.3."""
LONGEST_WAVE = 100.0


def sine_places(side: int, width: int) -> Tensor:
    """Positions of a grid in raster order: (side * side, width), half for the row, half for the column, in [-1, 1].

    ``width`` is a multiple of 4.
    """
    frequencies = LONGEST_WAVE ** -(torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * frequencies
    line = torch.cat([angles.sin(), angles.cos()], dim=1)  # (side, width / 2)
    rows, columns = line[:, None].expand(side, side, -1), line[None].expand(side, side, -1)
    return torch.cat([rows, columns], dim=-1).reshape(side * side, width)


def halves(noise: float, identity: float, width: int, rank: int) -> tuple[Tensor, Tensor]:
    """Two (width, rank) factors whose product is the best one of that rank for noise * Z + identity * I."""
    product = noise * torch.randn(width, width) / width**0.5 + identity * torch.eye(width)
    left, size, right = torch.linalg.svd(product)
    root = size[:rank].sqrt()
    return left[:, :rank] * root, right[:rank].T * root


@torch.no_grad()
def initialise(tower: VisionTower) -> None:
    """Give an untrained tower its start, in place; draws from the global generator."""
    config = tower.config
    width, heads = config.hidden_size, config.num_attention_heads
    rank = width // heads
    side = math.isqrt(tower.patches)
    tower.clip.embeddings.get_parameter("position_embedding.weight")[1:] = PLACE_SIZE * sine_places(side, width)
    for block in tower.clip.encoder.layers:
        attention = block.self_attn
        assert isinstance(attention, CLIPAttention)
        for head in range(heads):
            own = slice(head * rank, (head + 1) * rank)
            query, key = halves(*LOOKING, width, rank)
            attention.q_proj.weight[own], attention.k_proj.weight[own] = query.T, key.T
        output, value = halves(*SAYING, width, width)
        attention.v_proj.weight.copy_(value.T)
        attention.out_proj.weight.copy_(output)

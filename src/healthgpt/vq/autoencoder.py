"""The convolutional encoder and decoder of the codec: pixels to a grid of latent vectors and back.

The layout is VQGAN's (Esser et al., CVPR 2021, section 3.1 and table 7): residual blocks with group
normalisation and SiLU, self-attention on the coarsest grid. Two things differ. For the sake of a CPU
the picture is folded into channels before the first convolution and unfolded after the last one, so no
convolution runs at full resolution. And the encoder alone is local: without attention and without
statistics over the picture, a code says only what lies near its own square. Equal squares then get
equal codes wherever they are, which is what a language model can learn to predict; the decoder is free
to look everywhere.
"""

from torch import Tensor, nn
from torch.nn import functional

from healthgpt.errors import ModelError

GROUPS = 8
"""Channel groups of every group normalisation; each width is a multiple of it."""


class LocalBlock(nn.Module):
    """Two 3x3 convolutions around a skip without normalisation: (B, width, h, w) -> the same shape.

    The second convolution starts at zero, so an untrained block is the identity.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]  # this convolution has a bias

    def forward(self, features: Tensor) -> Tensor:
        return features + self.second(functional.silu(self.first(functional.silu(features))))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a skip: (B, width, h, w) -> the same shape.

    The second convolution starts at zero, so an untrained block is the identity.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first_norm = nn.GroupNorm(GROUPS, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second_norm = nn.GroupNorm(GROUPS, width)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]  # this convolution has a bias

    def forward(self, features: Tensor) -> Tensor:
        hidden = self.first(functional.silu(self.first_norm(features)))
        return features + self.second(functional.silu(self.second_norm(hidden)))


class SelfAttention(nn.Module):
    """One attention head over all positions of the grid: (B, width, h, w) -> the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor) -> Tensor:
        batch, width, height, columns = features.shape
        tokens = self.norm(features).flatten(2).transpose(1, 2)  # (B, h*w, width)
        query, key, value = self.query_key_value(tokens).chunk(3, dim=-1)
        mixed = self.out(functional.scaled_dot_product_attention(query, key, value))
        return features + mixed.transpose(1, 2).reshape(batch, width, height, columns)


class Encoder(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1] -> latents (B, embed_dim, H / stride, W / stride).

    ``fold``: side of the square of pixels folded into channels before the first convolution.
    ``widths``: channels of each level, finest first; each further level halves the grid, so
    stride = fold * 2 ** (len(widths) - 1). ``blocks``: residual blocks of each level.
    """

    def __init__(self, fold: int, widths: tuple[int, ...], blocks: tuple[int, ...], embed_dim: int):
        super().__init__()
        check_layout(fold, widths, blocks)
        stages: list[nn.Module] = [nn.PixelUnshuffle(fold), nn.Conv2d(3 * fold**2, widths[0], 3, padding=1)]
        for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if level > 0:
                stages.append(nn.Conv2d(widths[level - 1], width, 3, stride=2, padding=1))
            stages.extend(LocalBlock(width) for _ in range(count))
        stages += [nn.SiLU(), nn.Conv2d(widths[-1], embed_dim, 1)]
        self.stages = nn.Sequential(*stages)

    def forward(self, images: Tensor) -> Tensor:
        return self.stages(images)


class Decoder(nn.Module):
    """Latents (B, embed_dim, h, w) -> pictures (B, 3, h * stride, w * stride), not clamped.

    Takes the encoder's numbers and mirrors its layout; ``blocks`` may differ from the encoder's.
    ``attention``: self-attention on the coarsest grid.
    """

    def __init__(self, fold: int, widths: tuple[int, ...], blocks: tuple[int, ...], embed_dim: int, attention: bool):
        super().__init__()
        check_layout(fold, widths, blocks)
        stages: list[nn.Module] = [nn.Conv2d(embed_dim, widths[-1], 3, padding=1)]
        if attention:
            stages.append(SelfAttention(widths[-1]))
        for level in reversed(range(len(widths))):
            stages.extend(ResidualBlock(widths[level]) for _ in range(blocks[level]))
            if level > 0:
                stages += [nn.Conv2d(widths[level], 4 * widths[level - 1], 1), nn.PixelShuffle(2)]
        stages += [nn.GroupNorm(GROUPS, widths[0]), nn.SiLU()]
        self.stages = nn.Sequential(*stages)
        self.head = nn.Conv2d(widths[0], 3 * fold**2, 3, padding=1)
        self.unfold = nn.PixelShuffle(fold)

    def forward(self, latents: Tensor) -> Tensor:
        return self.unfold(self.head(self.stages(latents)))


def check_layout(fold: int, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
    """``ModelError`` unless there is one block count a level and every width splits into the groups."""
    if fold < 1 or not widths or len(widths) != len(blocks):
        raise ModelError(
            "the codec's levels do not fit together",
            found=f"fold {fold}, widths {widths}, blocks {blocks}",
            allowed="fold of at least 1 and one block count for each width",
        )
    if uneven := [width for width in widths if width % GROUPS]:
        raise ModelError(
            "a codec width does not split into its normalisation groups",
            found=str(uneven[0]),
            allowed=f"multiples of {GROUPS}",
        )

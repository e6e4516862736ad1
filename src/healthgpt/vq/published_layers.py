"""The layers of the published codec: its encoder, decoder and quantiser, under the names of its tensors.

The layout is VQGAN's (Esser et al., CVPR 2021, section 3 and table 7). The arithmetic is ours; the names of
attributes (``down``, ``nin_shortcut``, ``attn_1``) are those of the published tensors, so that a checkpoint's state
loads as it is. ``autoencoder.py`` holds the layers of our own codec, which differ.
"""

from torch import Tensor, nn
from torch.nn import functional

GROUPS = 32
"""Channel groups of every group normalisation; each width is a multiple of it."""
EPSILON = 1e-6


def group_norm(width: int) -> nn.GroupNorm:
    """The normalisation in front of every convolution and attention."""
    return nn.GroupNorm(GROUPS, width, eps=EPSILON)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a skip: (B, width, h, w) -> (B, width_out, h, w)."""

    def __init__(self, width: int, width_out: int) -> None:
        super().__init__()
        self.norm1 = group_norm(width)
        self.conv1 = nn.Conv2d(width, width_out, 3, padding=1)
        self.norm2 = group_norm(width_out)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1)
        self.nin_shortcut = nn.Identity() if width == width_out else nn.Conv2d(width, width_out, 1)

    def forward(self, features: Tensor) -> Tensor:
        hidden = self.conv1(functional.silu(self.norm1(features)))
        return self.nin_shortcut(features) + self.conv2(functional.silu(self.norm2(hidden)))


class Attention(nn.Module):
    """One attention head over all positions: (B, width, h, w) -> the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = group_norm(width)
        self.q = nn.Conv2d(width, width, 1)
        self.k = nn.Conv2d(width, width, 1)
        self.v = nn.Conv2d(width, width, 1)
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        normed = self.norm(features)
        query, key, value = (part(normed).flatten(2).transpose(1, 2) for part in (self.q, self.k, self.v))
        mixed = functional.scaled_dot_product_attention(query, key, value)  # (B, h*w, width)
        return features + self.proj_out(mixed.transpose(1, 2).reshape(features.shape))


class Halving(nn.Module):
    """(B, width, h, w) -> (B, width, h / 2, w / 2); the window reaches over the right and the lower edge only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, features: Tensor) -> Tensor:
        return self.conv(functional.pad(features, (0, 1, 0, 1)))


class Doubling(nn.Module):
    """(B, width, h, w) -> (B, width, 2 h, 2 w): each position repeated, then smoothed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        return self.conv(functional.interpolate(features, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """The blocks of one grid size, each followed by attention where the level has any."""

    def __init__(self, width: int, width_out: int, blocks: int, attention: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResidualBlock(width if i == 0 else width_out, width_out) for i in range(blocks))
        self.attn = nn.ModuleList(Attention(width_out) for _ in range(blocks if attention else 0))

    def forward(self, features: Tensor) -> Tensor:
        for number, block in enumerate(self.block):
            features = block(features)
            if self.attn:
                features = self.attn[number](features)
        return features


class DownLevel(Level):
    """A level of the encoder, halving the grid after its blocks unless it is the last."""

    def __init__(self, width: int, width_out: int, blocks: int, attention: bool, halve: bool) -> None:
        super().__init__(width, width_out, blocks, attention)
        self.downsample = Halving(width_out) if halve else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        return self.downsample(super().forward(features))


class UpLevel(Level):
    """A level of the decoder, doubling the grid after its blocks unless it is the finest."""

    def __init__(self, width: int, width_out: int, blocks: int, attention: bool, double: bool) -> None:
        super().__init__(width, width_out, blocks, attention)
        self.upsample = Doubling(width_out) if double else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        return self.upsample(super().forward(features))


class Middle(nn.Module):
    """Attention between two blocks on the coarsest grid: (B, width, h, w) -> the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(width, width)
        self.attn_1 = Attention(width)
        self.block_2 = ResidualBlock(width, width)

    def forward(self, features: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(features)))


class PublishedEncoder(nn.Module):
    """Pictures (B, 3, H, W) -> latents (B, embed_dim, H / stride, W / stride)."""

    def __init__(self, widths: list[int], blocks: int, attention_levels: tuple[int, ...], embed_dim: int, width: int):
        super().__init__()
        self.conv_in = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.ModuleList(
            DownLevel(before, after, blocks, level in attention_levels, halve=level < len(widths) - 1)
            for level, (before, after) in enumerate(zip([width, *widths[:-1]], widths, strict=True))
        )
        self.mid = Middle(widths[-1])
        self.norm_out = group_norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], embed_dim, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        features = self.conv_in(images)
        for level in self.down:
            features = level(features)
        return self.conv_out(functional.silu(self.norm_out(self.mid(features))))


class PublishedDecoder(nn.Module):
    """Latents (B, embed_dim, h, w) -> pictures (B, 3, h * stride, w * stride), not clamped."""

    def __init__(self, widths: list[int], blocks: int, attention_levels: tuple[int, ...], embed_dim: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(embed_dim, widths[-1], 3, padding=1)
        self.mid = Middle(widths[-1])
        self.up = nn.ModuleList(  # numbered like the encoder's levels, finest first, and run from the last to the first
            UpLevel(before, after, blocks + 1, level in attention_levels, double=level > 0)
            for level, (before, after) in enumerate(zip([*widths[1:], widths[-1]], widths, strict=True))
        )
        self.norm_out = group_norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        features = self.mid(self.conv_in(latents))
        for level in reversed(self.up):
            features = level(features)
        return self.conv_out(functional.silu(self.norm_out(features)))


class PublishedQuantiser(nn.Module):
    """A score for every code at each position, and the vector each code stands for."""

    def __init__(self, code_count: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(embed_dim, code_count, 1)
        self.embed = nn.Embedding(code_count, embed_dim)

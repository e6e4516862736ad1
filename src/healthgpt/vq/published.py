"""The published codec: the VQGAN whose codes HealthGPT's released weights speak, and how it is read.

It is the Gumbel VQGAN of Esser et al. (CVPR 2021) with 8192 codes, one a square of 8 x 8 pixels. Parameters are
named as in its checkpoint. Reading and drawing need none of its training parts: a code is the most likely one,
where the published encoder draws Gumbel noise even in evaluation.
"""

from itertools import count, takewhile
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from healthgpt.errors import ImageError, ModelError
from healthgpt.torch_file import read_contents
from healthgpt.torch_pickle import shown
from healthgpt.vq.published_layers import GROUPS, PublishedDecoder, PublishedEncoder, PublishedQuantiser

PUBLISHED_SIDE = 256
"""Pixels along a side of the pictures the released codec was trained on; its tensors do not tell."""
LARGEST_CONFIG = 2**20
"""Bytes of a ``model.yaml``; the published one has about a thousand."""
MOST_NAMED = 4
"""Tensors of each sort that an error names; the rest are counted."""
TRAINING_PREFIX = "loss."
"""Tensors of the discriminator and the perceptual loss, which lie beside the codec's in a checkpoint."""


class PublishedCodec(nn.Module):
    """The published VQGAN, with the interface of ``Codec`` that inference uses. It is not made for training.

    ``image_size``: side of the square pictures it is made for; other sizes that are multiples of ``stride`` pass too.
    ``width``: channels at full resolution, multiplied at each level by ``multipliers``, finest first; each further
    level halves the grid. ``blocks``: residual blocks of each level (the decoder has one more). ``attention_levels``:
    levels whose blocks are followed by self-attention, 0 the finest; the middle always has it.
    """

    def __init__(
        self,
        *,
        image_size: int,
        code_count: int,
        embed_dim: int,
        width: int,
        multipliers: tuple[int, ...],
        blocks: int,
        attention_levels: tuple[int, ...],
    ) -> None:
        super().__init__()
        widths = [width * multiplier for multiplier in multipliers]
        self.stride = 2 ** (len(multipliers) - 1)
        self.image_size = image_size
        _check_numbers(image_size, self.stride, [width, *widths])
        self.encoder = PublishedEncoder(widths, blocks, attention_levels, embed_dim, width)
        self.quant_conv = nn.Conv2d(embed_dim, embed_dim, 1)
        self.quantize = PublishedQuantiser(code_count, embed_dim)
        self.post_quant_conv = nn.Conv2d(embed_dim, embed_dim, 1)
        self.decoder = PublishedDecoder(widths, blocks, attention_levels, embed_dim)

    @property
    def code_count(self) -> int:
        """How many codes there are; a code is in [0, code_count)."""
        return self.quantize.embed.num_embeddings

    @property
    def code_vectors(self) -> torch.Tensor:
        """What each code stands for (code_count, D)."""
        return self.quantize.embed.weight

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of codes of one picture of ``image_size``."""
        return self.image_size // self.stride, self.image_size // self.stride

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] -> scores (B, code_count, H / stride, W / stride) of every code."""
        fits = images.dim() == 4 and images.shape[1] == 3 and images.is_floating_point()
        if not fits or images.shape[2] % self.stride or images.shape[3] % self.stride:
            raise ImageError(
                "the codec cannot encode these pictures",
                found=f"shape {tuple(images.shape)}, {images.dtype}",
                allowed=f"(batch, 3, height, width) floats with sides that are multiples of {self.stride}",
            )
        return self.quantize.proj(self.quant_conv(self.encoder(images)))

    def encode(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] -> codes (B, H / stride, W / stride) int64, raster order; no noise."""
        return self.logits(images).argmax(1)

    @torch.no_grad()
    def draw(self, codes: Tensor) -> Tensor:
        """Codes (B, h, w) int64 -> pictures (B, 3, h * stride, w * stride) float32, not clamped."""
        if codes.dim() != 3 or codes.dtype != torch.int64:
            raise ModelError(
                "the codec cannot decode these codes",
                found=f"shape {tuple(codes.shape)}, {codes.dtype}",
                allowed="(batch, rows, columns) of int64",
            )
        low, high = (int(bound) for bound in codes.aminmax())
        if low < 0 or high >= self.code_count:
            raise ModelError(
                "a code is outside the codebook",
                found=f"codes from {low} to {high}",
                allowed=f"0 to {self.code_count - 1}",
            )
        return self.decoder(self.post_quant_conv(self.quantize.embed(codes).movedim(-1, 1))).float()

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, h, w) int64 -> pictures (B, 3, h * stride, w * stride) in [-1, 1]."""
        return self.draw(codes).clamp(-1, 1)


def _check_numbers(image_size: int, stride: int, widths: list[int]) -> None:
    if image_size % stride:
        raise ModelError(
            "the codec's image size does not divide into its grid",
            found=f"{image_size} pixels",
            allowed=f"multiples of {stride}",
        )
    if uneven := [width for width in widths if width % GROUPS]:
        raise ModelError(
            "a codec width does not split into its normalisation groups",
            found=str(uneven[0]),
            allowed=f"multiples of {GROUPS}",
        )


def to_published_uint8(images: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) floats -> (B, H, W, 3) uint8 as the published code rounds: down, half a level darker.

    For comparing with its output; ``to_uint8`` of ``codec.py`` rounds to the nearest level.
    """
    return ((images.float().clamp(-1, 1) + 1) / 2 * 255).to(torch.uint8).movedim(1, -1)


Count = Annotated[int, Field(ge=1, le=4096)]
Levels = Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1, max_length=8)]
Blocks = Annotated[int, Field(ge=1, le=16)]
CodeCount = Annotated[int, Field(ge=2, le=2**20)]


class PublishedShape(BaseModel):
    """Constructor arguments of ``PublishedCodec``. The bounds keep a file from asking for a network without end."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["published"] = "published"
    image_size: Count
    code_count: CodeCount
    embed_dim: Count
    width: Count
    multipliers: Levels
    blocks: Blocks
    attention_levels: tuple[int, ...]

    @classmethod
    def from_config(cls, path: Path) -> Self:
        """The shape a published ``model.yaml`` describes; the classes it names are never imported.

        ``ModelError`` when the file cannot be read or describes a codec of another kind.
        """
        try:
            if path.stat().st_size > LARGEST_CONFIG:
                raise ValueError(f"more than {LARGEST_CONFIG} bytes")
            described = _Config.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))).model.params
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as fault:
            raise ModelError(
                f"{path} does not describe a published codec",
                found=_told(fault),
                allowed="the model.yaml that came with the checkpoint",
            ) from fault
        layers = described.ddconfig
        if described.embed_dim != layers.z_channels:
            raise ModelError(
                f"{path} describes a codec that cannot be built",
                found=f"embed_dim {described.embed_dim}, z_channels {layers.z_channels}",
                allowed="two equal numbers: the scores are read from vectors of the one and drawn from the other",
            )
        sizes = [layers.resolution // 2**level for level in range(len(layers.ch_mult))]
        return cls(
            image_size=layers.resolution,
            code_count=described.n_embed,
            embed_dim=described.embed_dim,
            width=layers.ch,
            multipliers=tuple(layers.ch_mult),
            blocks=layers.num_res_blocks,
            attention_levels=tuple(level for level, size in enumerate(sizes) if size in layers.attn_resolutions),
        )

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], image_size: int = PUBLISHED_SIDE) -> Self:
        """The shape that tensors of these names have; all but the size of the pictures can be told from them.

        ``ModelError`` naming the tensor that is missing or of a shape no published codec has.
        """
        level_name = "encoder.down.{}.block.0.conv1.weight"
        levels = _numbered(tensors, level_name)
        width = _length(tensors, "encoder.conv_in.weight")
        outs = [_length(tensors, level_name.format(level)) for level in levels]
        attention = [level for level in levels if f"encoder.down.{level}.attn.0.norm.weight" in tensors]
        try:
            return cls(
                image_size=image_size,
                code_count=_length(tensors, "quantize.embed.weight"),
                embed_dim=_length(tensors, "quant_conv.weight"),
                width=width,
                multipliers=tuple(out // max(width, 1) for out in outs),
                blocks=len(_numbered(tensors, "encoder.down.0.block.{}.conv1.weight")),
                attention_levels=tuple(attention),
            )
        except ValidationError as fault:
            raise ModelError("these tensors are not a published codec", found=_told(fault)) from fault

    def build(self) -> PublishedCodec:
        """An untrained codec of this shape."""
        return PublishedCodec(**self.model_dump(exclude={"kind"}))


class _Layers(BaseModel):
    """``ddconfig``: what is not listed here would change the network, so it is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    double_z: Literal[False] = False
    in_channels: Literal[3]
    out_ch: Literal[3]
    resamp_with_conv: Literal[True] = True
    dropout: float = 0.0
    z_channels: Count
    resolution: Count
    ch: Count
    ch_mult: list[Annotated[int, Field(ge=1, le=64)]] = Field(min_length=1, max_length=8)
    num_res_blocks: Blocks
    attn_resolutions: list[int]


class _Parameters(BaseModel):
    model_config = ConfigDict(strict=True)

    ddconfig: _Layers
    embed_dim: Count
    n_embed: CodeCount


class _Model(BaseModel):
    params: _Parameters


class _Config(BaseModel):
    """``model.yaml``; what only training reads (losses, schedules, names of classes) is passed over."""

    model: _Model


class Published(NamedTuple):
    """A codec read from its publisher's files; ``left_out``: names of what the checkpoint holds beside it."""

    codec: PublishedCodec
    shape: PublishedShape
    left_out: tuple[str, ...]


def load_published(checkpoint: Path, config: Path | None = None) -> PublishedCodec:
    """The codec of ``read_published``, for callers who do not ask what was left out."""
    return read_published(checkpoint, config).codec


def read_published(checkpoint: Path, config: Path | None = None) -> Published:
    """The codec of a published checkpoint (``last.ckpt``), float32 on CPU, in evaluation mode.

    ``config``: the ``model.yaml`` beside it; without it the shape is told by the tensors and the pictures are taken
    to be 256 pixels wide. Tensors are read from ``state_dict``; those of ``loss.*`` and whatever else a trainer wrote
    are left out. ``ModelError`` when the checkpoint cannot be read (see ``torch_file.py``) or a tensor is missing,
    unexpected, or not of the shape described.
    """
    tensors, others = read_contents(checkpoint, under="state_dict")
    losses = [name for name in tensors if name.startswith(TRAINING_PREFIX)]
    for name in losses:
        del tensors[name]
    shape = PublishedShape.from_tensors(tensors) if config is None else PublishedShape.from_config(config)
    with torch.device("meta"):  # shapes only: what the files declare is compared before anything is allocated
        codec = shape.build()
    expected = codec.state_dict()
    faults = {
        "missing": [name for name in expected if name not in tensors],
        "unexpected": [name for name in tensors if name not in expected],
        "misshapen": [
            f"{name} {tuple(tensors[name].shape)} in place of {tuple(wanted.shape)}"
            for name, wanted in expected.items()
            if name in tensors and tensors[name].shape != wanted.shape
        ],
        "not of floats": [name for name, tensor in tensors.items() if not tensor.is_floating_point()],
    }
    if any(faults.values()):
        raise ModelError(
            f"{checkpoint} does not fit {config or 'the published layout'}",
            found=", ".join(f"{sort}: {_some(names)}" for sort, names in faults.items() if names),
            allowed=f"the {len(expected)} tensors of a codec of this shape, and {TRAINING_PREFIX}*",
            next_step="give the checkpoint and the model.yaml that were published together",
        )
    # popped and copied one by one: the codec's memory is its own, and the file's is let go on the way
    state = {name: tensors.pop(name).float().clone(memory_format=torch.contiguous_format) for name in expected}
    codec.load_state_dict(state, assign=True)
    left_out = (*(f"state_dict.{name}" for name in losses), *others)
    return Published(codec.requires_grad_(False).eval(), shape, left_out)


def _numbered(tensors: dict[str, Tensor], name: str) -> list[int]:
    """0, 1, ... as long as there is a tensor of that name with the number in its place."""
    return list(takewhile(lambda number: name.format(number) in tensors, count()))


def _length(tensors: dict[str, Tensor], name: str) -> int:
    """The first axis of a tensor that has to be there."""
    if name not in tensors or tensors[name].dim() == 0:
        raise ModelError(
            "these tensors are not a published codec",
            found=f"no '{name}' among {len(tensors)} tensors",
            next_step="give the checkpoint of the f8 Gumbel VQGAN",
        )
    return tensors[name].shape[0]


def _some(names: list[str]) -> str:
    rest = len(names) - MOST_NAMED
    return ", ".join(shown(name) for name in names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _told(fault: Exception) -> str:
    """What is wrong, and for a description that does not validate also where."""
    if isinstance(fault, ValidationError):
        first = fault.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(fault)

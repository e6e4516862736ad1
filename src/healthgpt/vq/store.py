"""A codec on disk: ``config.json`` (its kind and shape) beside ``model.safetensors``.

There are two kinds: ``folded``, our own (``codec.py``), and ``published`` (``published.py``). A ``config.json``
that names none is of our own kind.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Discriminator, Tag, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from healthgpt.errors import ModelError
from healthgpt.vq.codec import Codec
from healthgpt.vq.published import PublishedCodec, PublishedShape

OWN = "folded"


class CodecShape(BaseModel):
    """Constructor arguments of ``Codec``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["folded"] = "folded"
    image_size: int
    code_count: int
    embed_dim: int
    fold: int
    widths: tuple[int, ...]
    encoder_blocks: tuple[int, ...]
    decoder_blocks: tuple[int, ...]
    attention: bool

    def build(self) -> Codec:
        """An untrained codec of this shape."""
        return Codec(**self.model_dump(exclude={"kind"}))


AnyCodec = Codec | PublishedCodec
"""What inference uses of a codec both kinds have: encode, decode, code_count, grid, image_size, stride."""


def _kind(raw: Any) -> Any:
    return raw.get("kind", OWN) if isinstance(raw, dict) else OWN


SHAPES: TypeAdapter[CodecShape | PublishedShape] = TypeAdapter(
    Annotated[
        Annotated[CodecShape, Tag(OWN)] | Annotated[PublishedShape, Tag("published")],
        Discriminator(_kind),
    ]
)


def save_codec(folder: Path, codec: AnyCodec, shape: CodecShape | PublishedShape, dtype: torch.dtype) -> None:
    """Write the codec to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in codec.state_dict().items()
    }
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(shape.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load_codec(folder: Path) -> AnyCodec:
    """The codec of a model folder, float32 on CPU, in evaluation mode; ``ModelError`` when it does not fit."""
    try:
        shape = SHAPES.validate_json((folder / "config.json").read_text(encoding="utf-8"))
        with torch.device("meta"):  # shapes only: weights would be drawn to be thrown away
            codec = shape.build()
        state = load_file(folder / "model.safetensors")
        codec.load_state_dict(
            {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()},
            assign=True,
        )
    except ValidationError as fault:
        first = fault.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        raise ModelError(
            f"the codec in {folder} cannot be loaded",
            found=f"config.json: {where} {first['msg']}",
            next_step="use the config.json that was saved with the weights",
        ) from fault
    except (OSError, ValueError, SafetensorError, RuntimeError) as fault:
        raise ModelError(f"the codec in {folder} cannot be loaded", found=str(fault)[:300]) from fault
    return codec.requires_grad_(False).eval()

"""The codec on disk: ``config.json`` (its shape) beside ``model.safetensors``."""

from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from healthgpt.errors import ModelError
from healthgpt.vq.codec import Codec


class CodecShape(BaseModel):
    """Constructor arguments of ``Codec``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
        return Codec(**self.model_dump())


def save_codec(folder: Path, codec: Codec, shape: CodecShape, dtype: torch.dtype) -> None:
    """Write the codec to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in codec.state_dict().items()
    }
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(shape.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load_codec(folder: Path) -> Codec:
    """The codec of a model folder, float32 on CPU, in evaluation mode; ``ModelError`` when it does not fit."""
    try:
        shape = CodecShape.model_validate_json((folder / "config.json").read_text(encoding="utf-8"))
        codec = shape.build()
        state = load_file(folder / "model.safetensors")
        codec.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in state.items()})
    except (OSError, ValidationError, SafetensorError, RuntimeError) as fault:
        raise ModelError(f"the codec in {folder} cannot be loaded", found=str(fault).splitlines()[0]) from fault
    return codec.requires_grad_(False).eval()

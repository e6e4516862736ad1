"""A Hugging Face causal language model as the frozen backbone: its blocks without tables and head.

Embedding table and output head belong to the fusion layer (model/fusion.py); what stays here are the
decoder blocks and the final norm.
"""

from pathlib import Path

import torch
from accelerate import init_empty_weights
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerBase

from healthgpt.errors import InputError, ModelError


def load_backbone(folder: Path, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A saved backbone without its embedding table, on CPU, in evaluation mode.

    Its weights are not drawn first, and those stored in ``dtype`` already are not copied. ``ModelError`` names
    missing or unexpected tensors.
    """
    with init_empty_weights(include_buffers=False):
        model = AutoModel.from_config(AutoConfig.from_pretrained(folder), attn_implementation="sdpa")
    model.set_input_embeddings(nn.Identity())
    state = {name: tensor.to(dtype) for name, tensor in load_file(folder / "model.safetensors").items()}
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    if missing or unexpected:
        raise ModelError(
            f"{folder} does not hold the backbone its config describes",
            found=f"{len(missing)} tensors missing (first: {(missing or ['none'])[0]}), "
            f"{len(unexpected)} unexpected (first: {(unexpected or ['none'])[0]})",
        )
    return model.eval()


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer saved in a model folder."""
    return AutoTokenizer.from_pretrained(folder)


def frozen(module: nn.Module) -> nn.Module:
    """The module with gradients off for all its parameters."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def device_named(name: str) -> torch.device:
    """cpu | cuda | mps, or ``auto``: the best there is; ``InputError`` for one this machine lacks."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device("cuda" if available["cuda"] else "mps" if available["mps"] else "cpu")
    if not available.get(name, False):
        here = ", ".join(device for device, there in available.items() if there)
        raise InputError(f"device '{name}' is not available here", allowed=f"auto, {here}")
    return torch.device(name)


def dtype_named(name: str, device: torch.device) -> torch.dtype:
    """float32 | bfloat16 | float16, or ``auto``: float32 on CPU, bfloat16 on CUDA."""
    table = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if name not in table:
        raise ModelError(f"unknown dtype '{name}'", allowed="auto, " + ", ".join(table))
    return table[name]

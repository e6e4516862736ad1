"""A Hugging Face causal language model as the frozen backbone: its blocks without tables and head.

Embedding table and output head belong to the fusion layer (model/fusion.py); what stays here are the
decoder blocks and the final norm. A folder may hold these alone, or a whole model as its publisher laid it out,
in one file or in shards.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from accelerate import init_empty_weights
from safetensors import safe_open
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerBase

from healthgpt.errors import InputError, ModelError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
DECODER = "model."
"""Before the names of blocks and norm in the files of a whole causal language model."""
NOT_OURS = ("embed_tokens.", "lm_head.")
"""Table and head, whose rows are in the fusion layer."""


def weight_files(folder: Path) -> list[Path]:
    """The file with a model's weights, or its shards in order; ``ModelError`` when there are none or one is missing."""
    if not (folder / INDEX).is_file():
        files = [folder / WEIGHTS]
    else:
        try:
            places = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()
            files = [folder / Path(place).name for place in sorted(set(places))]
        except (ValueError, KeyError, AttributeError, TypeError) as fault:
            raise ModelError(f"{folder / INDEX} is not a list of shards", found=str(fault).splitlines()[0]) from fault
    for file in files:
        if not file.is_file():
            raise ModelError(f"the weights in {folder} are incomplete", found=f"no {file.name}")
    return files


def decoder_name(stored: str) -> str | None:
    """The decoder's own name for a stored tensor; None for table and head."""
    name = stored.removeprefix(DECODER)
    return None if name.startswith(NOT_OURS) else name


def tensors_in(
    file: Path, dtype: torch.dtype | None, wanted: Callable[[str], bool] = lambda name: True
) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and tensors of a safetensors file, one by one: mapped where they are stored in ``dtype`` (or it is None).

    The file is opened anew for each, so that the pages of one that is converted are given back before the next.
    """
    with safe_open(file, framework="pt") as tensors:
        names = [name for name in tensors.keys() if wanted(name)]  # noqa: SIM118  # not a dictionary
    for name in names:
        with safe_open(file, framework="pt") as tensors:
            tensor = tensors.get_tensor(name)
        yield name, tensor if dtype is None else tensor.to(dtype)


def load_backbone(folder: Path, dtype: torch.dtype | None = torch.float32) -> nn.Module:
    """A saved backbone without its embedding table, on CPU, in evaluation mode.

    Its weights are not drawn first. Shards are opened one after another and tensors taken one by one: those stored
    in ``dtype`` (all, where it is None) are mapped, not copied, and of the others one is held in both precisions at a
    time. ``ModelError`` names missing or unexpected tensors.
    """
    with init_empty_weights(include_buffers=False):
        model = AutoModel.from_config(AutoConfig.from_pretrained(folder), attn_implementation="sdpa")
    model.set_input_embeddings(nn.Identity())
    state = {
        name: tensor
        for file in weight_files(folder)
        for stored, tensor in tensors_in(file, dtype, wanted=lambda stored: decoder_name(stored) is not None)
        if (name := decoder_name(stored)) is not None
    }
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


def dtype_named(name: str, device: torch.device, quantize: str | None = None) -> torch.dtype:
    """float32 | bfloat16 | float16, or ``auto``: float32 on CPU, bfloat16 on CUDA and for a quantised model."""
    table = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" or quantize else torch.float32
    if name not in table:
        raise ModelError(f"unknown dtype '{name}'", allowed="auto, " + ", ".join(table))
    return table[name]

"""How large a model is before it is loaded: parameters and memory, told by a variant's row or a folder's files."""

from dataclasses import dataclass
from math import prod
from pathlib import Path

import psutil
import torch
from safetensors import safe_open

from healthgpt.errors import ModelError
from healthgpt.variants import PluginSize, Variant

PUBLISHED_CODEC = 68_995_971
"""Parameters of the released f8 VQGAN with 8192 codes."""
PROMPT_TOKENS = 64
"""Words of an ordinary prompt, template included."""
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Parameters:
    """How many numbers each part of a variant holds, both families' plugins and adapters included."""

    backbone: int
    tables: int
    comprehension: int
    generation: int
    adapters: int
    tower: int

    @property
    def total(self) -> int:
        return sum(vars(self).values())


@dataclass(frozen=True)
class Footprint:
    """Bytes needed in one precision to draw one image, or to answer one question about one."""

    weights: int
    cache: int
    work: int

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.work


def linear_layers(variant: Variant) -> list[tuple[int, int]]:
    """(in, out) of every linear layer of one decoder block."""
    hidden, mlp = variant.hidden_size, variant.mlp_size
    side = hidden // variant.heads
    keys = variant.kv_heads * side
    if variant.fused:
        return [(hidden, hidden + 2 * keys), (hidden, hidden), (hidden, 2 * mlp), (mlp, hidden)]
    return [
        (hidden, hidden),
        (hidden, keys),
        (hidden, keys),
        (hidden, hidden),
        (hidden, mlp),
        (hidden, mlp),
        (mlp, hidden),
    ]


def plugin_parameters(variant: Variant, size: PluginSize) -> int:
    """Of one family's H-LoRA: A, B and router beside every linear layer."""
    per_block = sum(size.rank * (inner + outer) + size.experts * inner for inner, outer in linear_layers(variant))
    return variant.layers * per_block


def adapter_parameters(variant: Variant) -> int:
    """Of one grain's two-layer adapter."""
    return (variant.vision_width + variant.hidden_size + 2) * variant.hidden_size


def tower_parameters(variant: Variant) -> int:
    """Of a CLIP vision tower with an MLP four times as wide."""
    width = variant.vision_width
    embeddings = 3 * variant.patch_size**2 * width + width + (variant.image_tokens + 1) * width + 2 * width
    block = 4 * (width * width + width) + 8 * width * width + 5 * width + 4 * width
    return embeddings + variant.vision_layers * block + 2 * width


def parameters_of(variant: Variant) -> Parameters:
    """Every part's parameters; tables for words, codes and markers."""
    hidden = variant.hidden_size
    biases = (variant.heads + 2 * variant.kv_heads) * (hidden // variant.heads) if variant.projection_biases else 0
    block = sum(inner * outer for inner, outer in linear_layers(variant)) + biases + 2 * hidden
    return Parameters(
        backbone=variant.layers * block + hidden,
        tables=2 * hidden * (variant.text_size + variant.code_count + 3),
        comprehension=plugin_parameters(variant, variant.comprehension),
        generation=plugin_parameters(variant, variant.generation),
        adapters=2 * adapter_parameters(variant),
        tower=tower_parameters(variant),
    )


def footprint(variant: Variant, precision: str) -> Footprint:
    """Bytes to hold a published variant with its codec and to draw one image in ``float32`` or ``bfloat16``.

    ``cache``: keys and values of visual tokens, prompt and codes. ``work``: the widest block's temporaries while
    the prompt is read, about five hidden states and three MLP states a position, and one row of scores.
    """
    each = PRECISIONS[precision].itemsize
    positions = variant.image_tokens + PROMPT_TOKENS + variant.grid**2
    cached = 2 * variant.layers * variant.kv_heads * (variant.hidden_size // variant.heads)
    widest = 5 * variant.hidden_size + 3 * variant.mlp_size
    scores = 4 * (variant.text_size + variant.code_count + 3)
    return Footprint(
        weights=each * parameters_of(variant).total + 4 * PUBLISHED_CODEC,
        cache=each * cached * positions,
        work=each * widest * (variant.image_tokens + PROMPT_TOKENS) + scores,
    )


def free_memory(device: torch.device) -> int:
    """Bytes that can still be had on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def stored_numbers(folder: Path) -> int:
    """How many numbers the weights of a model folder hold, told by the headers of its files."""
    count = 0
    for path in sorted(folder.rglob("*.safetensors")):
        with safe_open(path, framework="pt") as tensors:
            count += sum(prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    return count


def check_fits(folder: Path, device: torch.device, dtype: torch.dtype) -> None:
    """``ModelError`` before loading what cannot be held: what it needs, what is free, the next smaller choice."""
    numbers, free = stored_numbers(folder), free_memory(device)
    if numbers * dtype.itemsize <= free:
        return
    smaller = numbers * torch.bfloat16.itemsize
    fits = dtype.itemsize > torch.bfloat16.itemsize and smaller <= free
    raise ModelError(
        f"the model in {folder} does not fit this machine",
        found=f"{numbers * dtype.itemsize / 1e9:.1f} GB of weights in {str(dtype).removeprefix('torch.')}, "
        f"{free / 1e9:.1f} GB free on {device.type}",
        next_step=f"--dtype bfloat16 needs {smaller / 1e9:.1f} GB"
        if fits
        else "see 'healthgpt doctor' for what would fit",
    )

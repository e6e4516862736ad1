"""How large a model is before it is loaded: parameters and memory, told by a variant's row or a folder's files.

A *form* is how weights are held: ``float32`` or ``bfloat16``, or ``int8`` or ``int4``, which quantise the linear layers
of the backbone and leave the rest in bfloat16.
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path

import psutil
import torch
from safetensors import safe_open

from healthgpt.backbone.load import decoder_name, weight_files
from healthgpt.backbone.quantise import BYTES
from healthgpt.errors import ModelError
from healthgpt.model.checkpoint import backbone_folder, read_config
from healthgpt.variants import PluginSize, Variant

PUBLISHED_CODEC = 68_995_971
"""Parameters of the released f8 VQGAN with 8192 codes."""
PROMPT_TOKENS = 64
"""Words of an ordinary prompt, template included."""
FORMS: dict[str, tuple[torch.dtype, str | None]] = {
    "float32": (torch.float32, None),
    "bfloat16": (torch.bfloat16, None),
    "int8": (torch.bfloat16, "int8"),
    "int4": (torch.bfloat16, "int4"),
}
"""Largest first: precision, and how the backbone's linear layers are quantised."""
OPTIONS = {
    "float32": "--dtype float32", "bfloat16": "--dtype bfloat16", "int8": "--dtype bfloat16 --quantize int8",
    "int4": "--dtype bfloat16 --quantize int4",
}  # fmt: skip
"""What a caller types for each."""


@dataclass(frozen=True)
class Parameters:
    """How many numbers each part of a variant holds, both families' plugins and adapters included."""

    backbone: int
    """Of these ``linear`` are weights of linear layers, what quantisation makes smaller."""
    linear: int
    tables: int
    comprehension: int
    generation: int
    adapters: int
    tower: int

    @property
    def total(self) -> int:
        return sum(vars(self).values()) - self.linear


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
    linear = sum(inner * outer for inner, outer in linear_layers(variant))
    return Parameters(
        backbone=variant.layers * (linear + biases + 2 * hidden) + hidden,
        linear=variant.layers * linear,
        tables=2 * hidden * (variant.text_size + variant.code_count + 3),
        comprehension=plugin_parameters(variant, variant.comprehension),
        generation=plugin_parameters(variant, variant.generation),
        adapters=2 * adapter_parameters(variant),
        tower=tower_parameters(variant),
    )


def footprint(variant: Variant, form: str) -> Footprint:
    """Bytes to hold a published variant with its codec in a form of ``FORMS`` and to draw one image.

    ``cache``: keys and values of visual tokens, prompt and codes. ``work``: the widest block's temporaries while
    the prompt is read, about five hidden states and three MLP states a position, and one row of scores.
    """
    dtype, quantize = FORMS[form]
    each = dtype.itemsize
    parameters = parameters_of(variant)
    positions = variant.image_tokens + PROMPT_TOKENS + variant.grid**2
    cached = 2 * variant.layers * variant.kv_heads * (variant.hidden_size // variant.heads)
    widest = 5 * variant.hidden_size + 3 * variant.mlp_size
    scores = 4 * (variant.text_size + variant.code_count + 3)
    return Footprint(
        weights=held(parameters.linear, parameters.total - parameters.linear, dtype, quantize) + 4 * PUBLISHED_CODEC,
        cache=each * cached * positions,
        work=each * widest * (variant.image_tokens + PROMPT_TOKENS) + scores,
    )


def held(linear: int, others: int, dtype: torch.dtype, quantize: str | None) -> int:
    """Bytes of the weights of the backbone's linear layers and of all other numbers."""
    return int(linear * (BYTES[quantize] if quantize else dtype.itemsize)) + others * dtype.itemsize


def free_memory(device: torch.device, quantize: str | None = None) -> int:
    """Bytes that can still be had for a form.

    On CUDA of all GPUs together and, for what is offloaded, of the host too; of one GPU for a quantised model.
    """
    host = int(psutil.virtual_memory().available)
    if device.type != "cuda":
        return host
    if quantize:
        return int(torch.cuda.mem_get_info(device)[0])
    return host + sum(int(torch.cuda.mem_get_info(number)[0]) for number in range(torch.cuda.device_count()))


def stored_numbers(folder: Path) -> tuple[int, int]:
    """How many numbers a model folder's weights hold, told by the headers of its files.

    Those of the backbone's linear layers, and all others. Table and head in the files of a published backbone do not
    count: they are not loaded.
    """
    backbone = backbone_folder(folder, read_config(folder))
    linear = others = 0
    for path in weight_files(backbone):
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  # not a dictionary
                shape = tensors.get_slice(name).get_shape()
                if decoder_name(name) is None:
                    continue
                if len(shape) == 2:
                    linear += prod(shape)
                else:
                    others += prod(shape)
    for path in sorted(folder.rglob("*.safetensors")):
        if path.parent != backbone:
            with safe_open(path, framework="pt") as tensors:
                others += sum(prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    return linear, others


def check_fits(folder: Path, device: torch.device, dtype: torch.dtype, quantize: str | None = None) -> None:
    """``ModelError`` before loading what cannot be held: what every form needs, what is free, the next that fits."""
    numbers, free = stored_numbers(folder), free_memory(device, quantize)
    need = held(*numbers, dtype, quantize)
    if need <= free:
        return
    forms = {name: held(*numbers, *form) for name, form in FORMS.items()}
    fits = next(
        (name for name, size in forms.items() if size < need and size <= free_memory(device, FORMS[name][1])), None
    )
    raise ModelError(
        f"the model in {folder} does not fit this machine",
        found=f"{need / 1e9:.1f} GB of weights, {free / 1e9:.1f} GB free for {device.type}",
        allowed=", ".join(f"{name} {size / 1e9:.1f} GB" for name, size in forms.items()),
        next_step=OPTIONS[fits] if fits else "a smaller model, see 'healthgpt doctor', or a larger machine",
    )

"""Plugins of a model folder in the layouts others read: the authors' released files, or a folder as peft lays it out.

Tensors are taken from the folder's files as they are stored, so importing what was exported gives the same bits.
"""

import json
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from healthgpt.errors import ModelError
from healthgpt.model.checkpoint import ModelConfig
from healthgpt.model.published import ADAPTER_CONFIG, ADAPTER_WEIGHTS, GRAINS, PEFT_TYPE, PREFIX
from healthgpt.plugins.store import read_spec
from healthgpt.tasks import Family

FILE_NAMES: dict[Family, str] = {"comprehension": "com_hlora_weights.bin", "generation": "gen_hlora_weights.bin"}
FUSION_NAME = "fusion_layer_weights.bin"
EXTRA = ("task_embedding", "instruction_embedding", "grid_rows", "grid_columns")
"""What the fusion layer may hold beside table and head."""


def plugin_tensors(folder: Path, config: ModelConfig, family: Family) -> "OrderedDict[str, torch.Tensor]":
    """One family's H-LoRA and projector under the released names.

    ``ModelError`` for a family without a plugin, or one that sees other hidden states of the tower than the released
    code shows it: no file of that layout says which.
    """
    if family not in config.plugins:
        raise ModelError(f"the model in {folder} has no {family} plugin", allowed=", ".join(config.plugins))
    spec = read_spec(folder / "plugins" / config.plugins[family])
    if spec.kind != "hlora":
        raise ModelError(f"only H-LoRA has a released layout, not '{spec.kind}'")
    grain, state = GRAINS[family]
    if config.grains[grain] != state:
        raise ModelError(
            f"the {family} plugin of {folder} cannot be written in the released layout",
            found=f"one that sees hidden state {config.grains[grain]} of the vision tower", allowed=f"{state}",
        )  # fmt: skip
    tensors: OrderedDict[str, torch.Tensor] = OrderedDict()
    for name, tensor in load_file(folder / "plugins" / config.plugins[family] / "plugin.safetensors").items():
        tensors[f"{PREFIX}model.layers.{name}"] = tensor
    own = f"{grain}."
    for name, tensor in load_file(folder / "vision" / "adapters.safetensors").items():
        if name.startswith(own):
            tensors[f"{PREFIX}model.mm_projector.{name.removeprefix(own)}"] = tensor
    return tensors


def fusion_tensors(folder: Path) -> "OrderedDict[str, torch.Tensor]":
    """Embedding table and head that drawing uses, words before codes, under the released names.

    ``ModelError`` for a model that has learned embeddings the released layout has no place for.
    """
    rows = load_file(folder / "fusion.safetensors")
    if extra := [name for name in EXTRA if rows[name].any()]:
        raise ModelError(
            f"the model in {folder} cannot be written in the released layout",
            found=f"trained {', '.join(extra)}, for which it has no place", allowed="embedding table and head alone",
        )  # fmt: skip
    return OrderedDict(
        (f"{PREFIX}{name}", torch.cat([rows[f"text_{kind}"], rows[f"image_{kind}"]]))
        for name, kind in (("model.embed_tokens.weight", "embedding"), ("lm_head.weight", "head"))
    )


def export_released(folder: Path, config: ModelConfig, output: Path) -> list[str]:
    """Write the released files of every plugin there is (and the fusion file where it draws); returns their names."""
    written = {}
    for family in config.plugins:
        written[FILE_NAMES[family]] = plugin_tensors(folder, config, family)
    if "generation" in config.plugins:
        written[FUSION_NAME] = fusion_tensors(folder)
    for name, tensors in written.items():
        torch.save(tensors, output / name)
    return list(written)


def export_peft(folder: Path, config: ModelConfig, family: Family, output: Path) -> list[str]:
    """Write one plugin as peft lays an adapter out.

    Its type is our own: read as plain LoRA it would lose its router, so peft refuses it by name.
    """
    spec = read_spec(folder / "plugins" / config.plugins[family]) if family in config.plugins else None
    tensors = plugin_tensors(folder, config, family)
    assert spec is not None
    modules = {name.rsplit(".lora_", 1)[0].rsplit(".", 1)[1] for name in tensors if ".lora_" in name}
    description = {
        "peft_type": PEFT_TYPE, "task_type": "CAUSAL_LM", "r": spec.rank, "lora_alpha": spec.alpha,
        "num_experts": spec.experts, "target_modules": sorted(modules), "family": family, "tasks": list(spec.tasks),
    }  # fmt: skip
    save_file(dict(tensors), output / ADAPTER_WEIGHTS)
    (output / ADAPTER_CONFIG).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return [ADAPTER_CONFIG, ADAPTER_WEIGHTS]

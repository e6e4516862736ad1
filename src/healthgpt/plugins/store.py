"""A plugin on disk: ``plugin.json`` (what it is, which tasks it was trained for) beside ``plugin.safetensors``."""

from pathlib import Path
from typing import Literal

import torch
from accelerate import init_empty_weights
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import load_file, save_file
from torch import nn

from healthgpt.errors import ModelError
from healthgpt.plugins.attach import AdapterMaker, attach, load_plugin_state, plugin_state
from healthgpt.plugins.hlora import HLoRA
from healthgpt.plugins.lora import LoRA
from healthgpt.plugins.moelora import MoELoRA
from healthgpt.tasks import Family


class PluginSpec(BaseModel):
    """What a plugin is made of and what it can do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Family
    kind: Literal["hlora", "lora", "moelora"] = "hlora"
    rank: int
    """Merged rank: experts x rank per expert."""
    experts: int
    alpha: float
    tasks: tuple[str, ...]
    """Tasks it was trained for; asking for another is refused."""


def adapter_maker(spec: PluginSpec, dropout: float = 0.0) -> AdapterMaker:
    """Builds one layer's adapter of that kind: (in_features, out_features) -> module."""

    def make(in_features: int, out_features: int) -> nn.Module:
        if spec.kind == "lora":
            return LoRA(in_features, out_features, spec.rank, spec.alpha, dropout)
        adapter = HLoRA if spec.kind == "hlora" else MoELoRA
        return adapter(in_features, out_features, spec.rank, spec.experts, spec.alpha, dropout)

    return make


def save_plugin(
    folder: Path, name: str, spec: PluginSpec, language_model: nn.Module, dtype: torch.dtype | None = None
) -> None:
    """Write the attached plugin ``name`` to ``folder``; ``dtype``: stored precision, each tensor's own when None."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        key: tensor.to(dtype or tensor.dtype).contiguous() for key, tensor in plugin_state(language_model, name).items()
    }
    save_file(state, folder / "plugin.safetensors")
    (folder / "plugin.json").write_text(spec.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_spec(folder: Path) -> PluginSpec:
    """The plugin's description; ``ModelError`` when it is missing or malformed."""
    path = folder / "plugin.json"
    try:
        return PluginSpec.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as fault:
        raise ModelError(f"{path} is not a plugin description", found=str(fault).splitlines()[0]) from fault


def load_plugin(folder: Path, name: str, language_model: nn.Module, dtype: torch.dtype) -> PluginSpec:
    """Attach the plugin saved in ``folder`` under ``name``, in precision ``dtype``; returns its description."""
    spec = read_spec(folder)
    with init_empty_weights(include_buffers=False):
        attach(language_model, name, adapter_maker(spec))
    state = {key: tensor.to(dtype) for key, tensor in load_file(folder / "plugin.safetensors").items()}
    load_plugin_state(language_model, name, state)
    return spec

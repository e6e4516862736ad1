"""A model folder made from another: trained tensors in place of the old ones, every other file taken over as it is.

What a training run changes of a model lies in three kinds of files: the fusion layer, the visual adapters and the
plugins. Here tensors go by where they are stored; ``stored_place`` tells it from a parameter's name.
"""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from healthgpt.model.checkpoint import ModelConfig, sha256_of
from healthgpt.plugins.store import PluginSpec
from healthgpt.tasks import Family

FUSION, ADAPTERS = "fusion.safetensors", "vision/adapters.safetensors"
LINKED = 64 * 2**20
"""Bytes from which on a file is linked where the disk allows it, not copied: backbones of several gigabytes."""
PLUGIN_PARAMETER = re.compile(
    r"backbone\.(?:.*?\.)?(?P<block>\d+)\.(?P<layer>.+)\.adapters\.(?P<plugin>\w+)\.(?P<key>.+)"
)


@dataclass
class StoredTensors:
    """Tensors by the file they are stored in and their key there; ``plugins``: by plugin name."""

    fusion: dict[str, torch.Tensor] = field(default_factory=dict)
    adapters: dict[str, torch.Tensor] = field(default_factory=dict)
    plugins: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)


def stored(parameters: Mapping[str, torch.Tensor]) -> StoredTensors:
    """Parameters of a ``HealthGPTModel`` by name, as they are stored; ``ValueError`` for one that no run trains."""
    result = StoredTensors()
    for name, tensor in parameters.items():
        if name.startswith("fusion."):
            result.fusion[name.removeprefix("fusion.")] = tensor
        elif name.startswith("vision.adapters."):
            result.adapters[name.removeprefix("vision.adapters.")] = tensor
        elif match := PLUGIN_PARAMETER.fullmatch(name):
            key = f"{match['block']}.{match['layer']}.{match['key']}"
            result.plugins.setdefault(match["plugin"], {})[key] = tensor
        else:
            raise ValueError(f"{name} belongs to no fusion layer, adapter or plugin")
    return result


def read_stored(folder: Path, config: ModelConfig) -> StoredTensors:
    """All such tensors of a model folder, in their stored precision."""
    return StoredTensors(
        load_file(folder / FUSION),
        load_file(folder / ADAPTERS),
        {name: load_file(folder / "plugins" / name / "plugin.safetensors") for name in config.plugins.values()},
    )


def derive(
    source: Path,
    config: ModelConfig,
    into: Path,
    changed: StoredTensors,
    specs: Mapping[Family, PluginSpec] | None = None,
    **described: Any,
) -> ModelConfig:
    """Write into the empty folder ``into`` the model of ``source`` with ``changed`` laid over it.

    ``specs``: plugins whose make is another one than in ``source`` or that it lacks; their tensors in ``changed`` are
    then all they have. ``described``: fields of the description that are other. Returns the description; hashes of
    files taken over are those recorded, which loading compares.
    """
    specs = dict(specs or {})
    plugins = dict(described.get("plugins", config.plugins))
    described_plugins = {f"plugins/{plugins[family]}/plugin.json": spec for family, spec in specs.items()}
    rewritten: dict[str, dict[str, torch.Tensor]] = {}
    if changed.fusion:
        rows = load_file(source / FUSION) | changed.fusion
        apart = described.get("apart", config.apart)
        gone = tuple(f"apart.{family}." for family in config.apart if family not in apart)
        rewritten[FUSION] = {key: tensor for key, tensor in rows.items() if not gone or not key.startswith(gone)}
    if changed.adapters:
        adapters = load_file(source / ADAPTERS) | changed.adapters
        grains = described.get("grains", config.grains)
        rewritten[ADAPTERS] = {key: tensor for key, tensor in adapters.items() if key.split(".")[0] in grains}
    for name, tensors in changed.plugins.items():
        file = f"plugins/{name}/plugin.safetensors"
        anew = name in [plugins[family] for family in specs] or not (source / file).is_file()
        rewritten[file] = tensors if anew else load_file(source / file) | tensors
    hashes = {}
    for file, digest in config.hashes.items():
        if file not in rewritten and file not in described_plugins:
            _take_over(source / file, into / file)
            hashes[file] = digest
    for file, tensors in rewritten.items():
        (into / file).parent.mkdir(parents=True, exist_ok=True)
        save_file({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, into / file)
        hashes[file] = sha256_of(into / file)
    for file, spec in described_plugins.items():
        (into / file).parent.mkdir(parents=True, exist_ok=True)
        (into / file).write_text(spec.model_dump_json(indent=2) + "\n", encoding="utf-8")
        hashes[file] = sha256_of(into / file)
    complete = config.model_copy(update={**described, "hashes": dict(sorted(hashes.items()))})
    (into / "config.json").write_text(complete.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return complete


def _take_over(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.stat().st_size >= LINKED:
        try:
            os.link(source.resolve(), target)
            return
        except OSError:  # another disk, or one without links
            pass
    shutil.copyfile(source, target)

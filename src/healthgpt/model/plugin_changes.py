"""Plugins of a model folder: which there are; adding one, removing one. The folder changes whole or not at all."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from healthgpt.errors import ModelError, closest
from healthgpt.model.checkpoint import ModelConfig, read_config
from healthgpt.model.folder_change import alone, change_folder, check_changeable, finish_change
from healthgpt.model.plugin_folder import (
    ADAPTER,
    DESCRIPTION,
    PLUGIN,
    ROWS,
    TABLES,
    ShippedPlugin,
    check_name,
    check_origin,
    check_shapes,
    digest_of,
    read_plugin_folder,
    verify_only,
)
from healthgpt.model.published import GRAINS
from healthgpt.plugins.store import PluginSpec, read_spec
from healthgpt.tasks import Family, Grain
from healthgpt.vision.clip import HiddenState

FUSION, ADAPTERS = "fusion.safetensors", "vision/adapters.safetensors"


@dataclass(frozen=True)
class PresentPlugin:
    """One plugin of a model folder."""

    name: str
    spec: PluginSpec
    stored_bytes: int
    """Beside the linear layers, in its adapter and in tables of its own."""
    own_tables: bool


def present_plugins(folder: Path) -> dict[Family, PresentPlugin]:
    """The plugins of a model folder by family, told by descriptions and sizes of tensors.

    Raises ``ModelError`` for a folder that is no model, or a plugin whose files are missing or malformed.
    """
    config = read_config(folder)
    found: dict[Family, PresentPlugin] = {}
    for family in GRAINS:
        if family not in config.plugins:
            continue
        name = config.plugins[family]
        check_name(name)
        apart = family in config.apart
        try:
            size = _stored(folder / "plugins" / name / PLUGIN) + _stored(folder / ADAPTERS, f"{GRAINS[family][0]}.")
            size += _stored(folder / FUSION, f"apart.{family}.") if apart else 0
        except (OSError, SafetensorError) as fault:
            raise ModelError(f"the plugin '{name}' in {folder} cannot be read", found=str(fault)) from fault
        found[family] = PresentPlugin(name, read_spec(folder / "plugins" / name), size, apart)
    return found


def family_named(folder: Path, config: ModelConfig, name: str) -> Family:
    """The family that the plugin of that name serves; ``ModelError`` with the names there are."""
    for family, own in config.plugins.items():
        if own == name:
            check_name(name)
            return family
    names = list(config.plugins.values())
    raise ModelError(
        f"the model in {folder} has no plugin '{name}'", allowed=", ".join(names) or "nothing: it has no plugins",
        next_step=closest(name, names) if names else "add one with 'healthgpt plugins add'",
    )  # fmt: skip


def add_plugin(folder: Path, plugin_folder: Path, *, force: bool = False) -> str:
    """Give a model folder a shipped plugin; returns its name. ``force``: also one trained on other weights.

    Raises ``ModelError`` when the family has a plugin already, the plugin does not fit (never forced), it was made for
    another model (unless forced), a file is damaged or another command is changing the folder; ``OutputError`` when
    the disk refuses. The model is then as it was.
    """
    check_changeable(folder)
    with alone(folder):
        return _add(folder, plugin_folder, force)


def _add(folder: Path, plugin_folder: Path, force: bool) -> str:
    went_on = finish_change(folder)
    config = read_config(folder)
    shipped = read_plugin_folder(plugin_folder)
    name, family, grain = shipped.shipment.name, shipped.spec.family, shipped.shipment.grain
    copied = {f"plugins/{name}/{file}": shipped.shipment.hashes[file] for file in (DESCRIPTION, PLUGIN)}
    if went_on and copied.items() <= config.hashes.items():
        return name  # this was the command that had stopped
    if family in config.plugins:
        present = config.plugins[family]
        raise ModelError(
            f"the model in {folder} has a {family} plugin already", found=f"'{present}'", allowed="one of a family",
            next_step=f"remove it first: healthgpt plugins remove {folder} {present}",
        )  # fmt: skip
    if name in config.plugins.values():
        raise ModelError(
            f"the name '{name}' is taken in {folder}", found=f"the {family_named(folder, config, name)} plugin",
            next_step=f"extract the {family} plugin again from a model that calls it otherwise",
        )  # fmt: skip
    check_shapes(shipped, folder, config)
    verify_only(folder, config, (ADAPTERS, FUSION))
    fusion = load_file(folder / FUSION)
    if not force:
        check_origin(shipped, fusion, folder, config)
    shared = digest_of({row: fusion[row] for row in ROWS})
    apart = shipped.has_tables and digest_of(shipped.tensors(TABLES)) != shared
    after = _described(
        _credited(config, shipped), plugins=config.plugins | {family: name},
        apart=(*config.apart, family) if apart else config.apart,
        grains=config.grains | {grain: shipped.shipment.hidden_state},
    )  # fmt: skip

    def write(partial: Path) -> None:
        (partial / "plugins" / name).mkdir(parents=True)
        for file in (DESCRIPTION, PLUGIN):
            shutil.copyfile(shipped.folder / file, partial / "plugins" / name / file)
        adapter = {f"{grain}.{key}": rows for key, rows in shipped.tensors(ADAPTER).items()}
        _rewrite(partial / ADAPTERS, load_file(folder / ADAPTERS), f"{grain}.", adapter)
        if apart:
            tables = {f"apart.{family}.{key}": rows for key, rows in shipped.tensors(TABLES).items()}
            _rewrite(partial / FUSION, fusion, f"apart.{family}.", tables)

    command = ["healthgpt", "plugins", "add", str(folder.resolve()), str(plugin_folder.resolve())]
    change_folder(folder, after, write, [], [*command, "--force"] if force else command)
    return name


def remove_plugin(folder: Path, name: str) -> None:
    """Take a plugin out of a model folder: its H-LoRA set, its adapter, its own tables if it has some.

    Raises ``ModelError`` when there is no such plugin, a file to be rewritten is damaged or another command is changing
    the folder, ``OutputError`` when the disk refuses. The model is then as it was.
    """
    check_changeable(folder)
    with alone(folder):
        _remove(folder, name)


def _remove(folder: Path, name: str) -> None:
    went_on = finish_change(folder)
    config = read_config(folder)
    if went_on and name not in config.plugins.values():
        return  # this was the command that had stopped
    family = family_named(folder, config, name)
    grain = GRAINS[family][0]
    apart = family in config.apart
    verify_only(folder, config, (ADAPTERS, FUSION) if apart else (ADAPTERS,))
    after = _described(
        config, plugins={key: own for key, own in config.plugins.items() if key != family},
        apart=tuple(key for key in config.apart if key != family),
        grains={key: state for key, state in config.grains.items() if key != grain},
    )  # fmt: skip

    def write(partial: Path) -> None:
        _rewrite(partial / ADAPTERS, load_file(folder / ADAPTERS), f"{grain}.", {})
        if apart:
            _rewrite(partial / FUSION, load_file(folder / FUSION), f"apart.{family}.", {})

    files = {f"plugins/{name}/{file}" for file in (DESCRIPTION, PLUGIN)}
    superseded = sorted(files | {key for key in config.hashes if key.startswith(f"plugins/{name}/")})
    command = ["healthgpt", "plugins", "remove", str(folder.resolve()), name]
    change_folder(folder, after, write, superseded, command)


def _described(
    config: ModelConfig, *, plugins: Mapping[Family, str], apart: Sequence[Family], grains: Mapping[Grain, HiddenState]
) -> ModelConfig:
    """The description with these plugins, each table in one order whatever was done before."""
    update = {
        "plugins": {family: plugins[family] for family in GRAINS if family in plugins},
        "apart": tuple(family for family in GRAINS if family in apart),
        "grains": {grain: grains[grain] for grain, _ in GRAINS.values() if grain in grains},
    }
    return config.model_copy(update=update)


def _credited(config: ModelConfig, shipped: ShippedPlugin) -> ModelConfig:
    """The description with the plugin's licence and provenance told, where they are not the model's own."""
    update = {}
    for field in ("licence", "provenance"):
        own, theirs = getattr(config, field), getattr(shipped.shipment, field)
        if theirs not in own:
            update[field] = f"{own}; {shipped.spec.family} plugin: {theirs}"
    return config.model_copy(update=update)


def _rewrite(path: Path, tensors: Mapping[str, torch.Tensor], prefix: str, fresh: Mapping[str, torch.Tensor]) -> None:
    """Write ``tensors`` with those named ``prefix``... replaced by ``fresh``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: rows for name, rows in tensors.items() if not name.startswith(prefix)} | dict(fresh), path)


def _stored(path: Path, prefix: str = "") -> int:
    """Bytes of the tensors of a file whose names begin so."""
    return sum(rows.nbytes for name, rows in load_file(path).items() if name.startswith(prefix))

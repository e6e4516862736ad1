"""A plugin shipped apart from its model: what lies in its folder, taken out of a model, read back and checked.

    plugin.json             family, kind, rank, experts, alpha, tasks
    plugin.safetensors      beside every linear layer of the backbone
    adapter.safetensors     of the family's grain
    tables.safetensors      embedding table and head; only where the model's families do not share theirs
    shipped.json            name, grain, the model it was made for, licence, SHA-256 of every other file

Tensors are kept as they are stored, so adding what was extracted gives the same bits.
"""

import hashlib
import json
import math
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import init_empty_weights
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModel, CLIPVisionConfig

from healthgpt.errors import ModelError, OutputError
from healthgpt.model.checkpoint import ModelConfig, backbone_folder, sha256_of, verify
from healthgpt.model.fusion import Tables
from healthgpt.model.published import GRAINS, PluginFile, attach_plugin, fill
from healthgpt.plugins.attach import make_routable
from healthgpt.plugins.store import PluginSpec, read_spec
from healthgpt.tasks import TASKS, Family, Grain
from healthgpt.vision.adapter import VisualAdapter
from healthgpt.vision.clip import HiddenState

FORMAT = 1
"""Version of this layout; a folder of another version is refused."""
DESCRIPTION, PLUGIN, ADAPTER, TABLES = "plugin.json", "plugin.safetensors", "adapter.safetensors", "tables.safetensors"
SHIPPED = "shipped.json"
BESIDE = ("README.md", "LICENSE")
"""What people may put beside the files; it is not taken along."""
ROWS = ("text_embedding", "image_embedding", "text_head", "image_head")
EMBEDDINGS: dict[Family, tuple[str, ...]] = {
    "comprehension": ("task_embedding", "instruction_embedding"),
    "generation": ("task_embedding", "instruction_embedding", "grid_rows", "grid_columns"),
}
"""What else of the fusion layer a family's rows are made of."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
RESERVED = frozenset(dir(nn.ModuleDict()))
"""Names torch would refuse for an adapter."""
SHAPES = {"hidden_size": "width", "text_size": "words", "code_count": "codes", "grid": "codes per side"}
"""What must be equal whatever the caller wants, and what to call it."""
PRINTS = {
    "backbone": "backbone", "tower": "vision tower", "codec": "codec", "template": "prompt template",
    "tables": "embedding table and head", "embeddings": "task, instruction or grid embeddings",
}  # fmt: skip
"""What fits by shape and still means another model, and what to call it."""


class MadeFor(BaseModel):
    """What a plugin was trained on. Weights are told by SHA-256: of files by name, or of tensors.

    A backbone that lies with its publisher is told by repository and revision.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    hidden_size: int
    text_size: int
    code_count: int
    grid: int | None
    """None for reading."""
    template: str
    backbone: dict[str, str]
    tower: dict[str, str]
    codec: dict[str, str]
    """Empty for reading."""
    tables: str
    embeddings: str


class Shipment(BaseModel):
    """``shipped.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    name: str
    grain: Grain
    hidden_state: HiddenState
    made_for: MadeFor
    licence: str
    provenance: str
    hashes: dict[str, str]


@dataclass(frozen=True)
class ShippedPlugin:
    """A plugin folder whose files are whole."""

    folder: Path
    spec: PluginSpec
    shipment: Shipment

    @property
    def has_tables(self) -> bool:
        return TABLES in self.shipment.hashes

    def tensors(self, file: str) -> dict[str, torch.Tensor]:
        """The tensors of one of its files, mapped; ``ModelError`` when it is no safetensors file."""
        try:
            return load_file(self.folder / file)
        except (OSError, SafetensorError) as fault:
            raise ModelError(f"{self.folder / file} cannot be read", found=str(fault).splitlines()[0]) from fault


def check_name(name: str) -> None:
    """``ModelError`` unless the name can be that of a folder inside the model and of an adapter."""
    if not NAME.fullmatch(name) or name in RESERVED:
        raise ModelError(
            "a plugin cannot have this name", found=repr(name), allowed="up to 64 letters, digits, '-' and '_'"
        )


def digest_of(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and bits."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def tables_of(fusion: Mapping[str, torch.Tensor], config: ModelConfig, family: Family) -> dict[str, torch.Tensor]:
    """The rows of ``fusion.safetensors`` that serve a family, by their names in ``Tables``: (ids, hidden_size) each."""
    prefix = f"apart.{family}." if family in config.apart else ""
    return {name: fusion[prefix + name] for name in ROWS}


def made_for(fusion: Mapping[str, torch.Tensor], config: ModelConfig, family: Family) -> MadeFor:
    """What a plugin of this family in this model is made for. Files are told by their recorded hashes."""

    def recorded(folder: str) -> dict[str, str]:
        return {
            name: digest
            for name, digest in config.hashes.items()
            if name.startswith(f"{folder}/") and name.endswith(".safetensors") and name != "vision/adapters.safetensors"
        }

    draws = family == "generation"
    source = config.backbone_source
    return MadeFor(
        model=config.name, hidden_size=config.hidden_size, text_size=config.text_size, code_count=config.code_count,
        grid=config.grid if draws else None, template=config.template, tower=recorded("vision"),
        backbone=recorded("backbone") if source is None else {source.repo: source.revision},
        codec=recorded("vqgan") if draws else {},
        tables=digest_of(tables_of(fusion, config, family)),
        embeddings=digest_of({name: fusion[name] for name in EMBEDDINGS[family]}),
    )  # fmt: skip


def verify_only(folder: Path, config: ModelConfig, tops: tuple[str, ...]) -> None:
    """``verify``, for the files whose names begin so: the backbone need not be read for a plugin's sake."""
    hashes = {name: digest for name, digest in config.hashes.items() if name.startswith(tops)}
    verify(folder, config.model_copy(update={"hashes": hashes}))


def extract_plugin(folder: Path, config: ModelConfig, family: Family, output: Path) -> list[str]:
    """Write one family's plugin of a model folder into the empty folder ``output``; returns the names of the files.

    Raises ``ModelError`` for a family without a plugin or a damaged file, ``OutputError`` when the disk refuses.
    """
    if family not in config.plugins:
        raise ModelError(f"the model in {folder} has no {family} plugin", allowed=", ".join(config.plugins))
    name = config.plugins[family]
    check_name(name)
    verify_only(folder, config, (f"plugins/{name}/", "vision/adapters.safetensors", "fusion.safetensors"))
    grain = GRAINS[family][0]
    try:
        fusion = load_file(folder / "fusion.safetensors")
        adapters = load_file(folder / "vision" / "adapters.safetensors")
        for file in (DESCRIPTION, PLUGIN):
            shutil.copyfile(folder / "plugins" / name / file, output / file)
        own = {key.removeprefix(f"{grain}."): rows for key, rows in adapters.items() if key.startswith(f"{grain}.")}
        save_file(own, output / ADAPTER)
        if config.apart:
            save_file(tables_of(fusion, config, family), output / TABLES)
        names = [file for file in (DESCRIPTION, PLUGIN, ADAPTER, TABLES) if (output / file).is_file()]
        shipment = Shipment(
            name=name, grain=grain, hidden_state=config.grains[grain], made_for=made_for(fusion, config, family),
            licence=config.licence, provenance=config.provenance,
            hashes={file: sha256_of(output / file) for file in names},
        )  # fmt: skip
        (output / SHIPPED).write_text(shipment.model_dump_json(indent=2) + "\n", encoding="utf-8")
        for file in names:
            shutil.copymode(output / SHIPPED, output / file)  # safetensors writes files only their owner may read
    except SafetensorError as fault:
        raise ModelError(f"the plugin '{name}' of {folder} cannot be read", found=str(fault)) from fault
    except OSError as fault:
        raise OutputError(f"the plugin '{name}' cannot be written to {output}", found=str(fault)) from fault
    except KeyError as fault:
        raise ModelError(f"the model in {folder} does not fit together", found=f"no {fault} in it") from fault
    return [*names, SHIPPED]


def read_plugin_folder(folder: Path) -> ShippedPlugin:
    """A shipped plugin, every file compared with its recorded hash.

    ``ModelError`` names the file that is missing, damaged or no part of a plugin.
    """
    make = "'healthgpt plugins extract' makes one"
    if not folder.is_dir():
        raise ModelError(f"no plugin folder {folder}", next_step=f"check the path; {make}")
    if not (folder / SHIPPED).is_file():
        raise ModelError(f"{folder} is not a plugin folder", found=f"no {SHIPPED} in it", next_step=make)
    try:
        content = json.loads((folder / SHIPPED).read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise ModelError(
                f"{folder / SHIPPED} is of another format", found=str(content.get("format")), allowed=str(FORMAT)
            )
        shipment = Shipment.model_validate(content)
    except (OSError, ValueError, AttributeError, ValidationError) as fault:
        raise ModelError(f"{folder / SHIPPED} does not describe a plugin", found=str(fault).splitlines()[0]) from fault
    check_name(shipment.name)
    names = (DESCRIPTION, PLUGIN, ADAPTER, *([TABLES] if TABLES in shipment.hashes else []))
    if set(shipment.hashes) != set(names):
        raise ModelError(
            f"{folder / SHIPPED} does not describe a plugin", found=f"hashes of {', '.join(sorted(shipment.hashes))}",
            allowed=f"exactly {', '.join(names)}",
        )  # fmt: skip
    here = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.name.startswith(".")}
    if strangers := sorted(here - {*names, SHIPPED, *BESIDE}):
        raise ModelError(
            f"{folder} holds what is no part of a plugin", found=", ".join(strangers[:3]),
            allowed=", ".join([*names, SHIPPED, *BESIDE]), next_step="move it elsewhere",
        )  # fmt: skip
    for name in names:
        if name not in here:
            raise ModelError(f"the plugin in {folder} lacks {name}", next_step="copy the whole folder again")
        if sha256_of(folder / name) != shipment.hashes[name]:
            raise ModelError(
                f"{folder / name} is damaged", found="contents that differ from the recorded hash",
                next_step="copy the whole folder again",
            )  # fmt: skip
    spec = read_spec(folder)
    known = {name for name, task in TASKS.items() if task.family == spec.family}
    sound = 1 <= spec.experts <= spec.rank and spec.rank % spec.experts == 0 and math.isfinite(spec.alpha)
    if not sound or not spec.tasks or not known.issuperset(spec.tasks) or GRAINS[spec.family][0] != shipment.grain:
        raise ModelError(
            f"{folder / DESCRIPTION} does not describe a {spec.family} plugin",
            found=f"{spec.experts} experts in rank {spec.rank}, alpha {spec.alpha}, the {shipment.grain} grain, "
            f"tasks {', '.join(spec.tasks) or 'none'}",
            allowed=f"experts that divide the rank, the {GRAINS[spec.family][0]} grain, tasks {', '.join(TASKS)}",
        )
    return ShippedPlugin(folder, spec, shipment)


def check_shapes(shipped: ShippedPlugin, folder: Path, config: ModelConfig) -> None:
    """``ModelError`` unless every tensor of the plugin has its place in the model; no weight of the model is read."""
    family, wanted = shipped.spec.family, shipped.shipment.made_for
    here = {"hidden_size": config.hidden_size, "text_size": config.text_size, "code_count": config.code_count} | (
        {"grid": config.grid} if family == "generation" else {}
    )
    wrong = [name for name, value in here.items() if getattr(wanted, name) != value]
    if wrong:
        raise ModelError(
            f"the plugin in {shipped.folder} does not fit the model in {folder}",
            found=", ".join(f"{SHAPES[name]} {getattr(wanted, name)}" for name in wrong),
            allowed=", ".join(f"{SHAPES[name]} {here[name]}" for name in wrong),
            next_step=f"add it to '{wanted.model}', which it was made for",
        )
    if shipped.spec.rank > config.hidden_size:
        raise ModelError(
            f"the rank of the plugin in {shipped.folder} is too high", found=str(shipped.spec.rank),
            allowed=f"up to the model's width, {config.hidden_size}",
        )  # fmt: skip
    try:
        tower = CLIPVisionConfig.from_pretrained(folder / "vision")
        with init_empty_weights(include_buffers=False):
            backbone = AutoModel.from_config(AutoConfig.from_pretrained(backbone_folder(folder, config)))
            make_routable(backbone)
            adapter = VisualAdapter(tower.hidden_size, config.hidden_size)
            tables = Tables(config.layout, config.hidden_size)
            layers = PluginFile(shipped.folder / PLUGIN, shipped.tensors(PLUGIN), {})
            attach_plugin(backbone, family, shipped.spec, layers)
        fill(adapter, shipped.tensors(ADAPTER), shipped.folder / ADAPTER, "the vision tower as its adapter")
        if shipped.has_tables:
            fill(tables, shipped.tensors(TABLES), shipped.folder / TABLES, "the vocabulary as its tables")
    except (OSError, ValueError, RuntimeError) as fault:
        raise ModelError(
            f"the plugin in {shipped.folder} does not fit the model in {folder}", found=str(fault).splitlines()[0]
        ) from fault
    states = tower.num_hidden_layers + 1
    seen = shipped.shipment.hidden_state
    if not all(-states <= state < states for state in ((seen,) if isinstance(seen, int) else seen)):
        raise ModelError(
            f"the plugin in {shipped.folder} needs a deeper vision tower than the model in {folder} has",
            found=f"hidden state {seen}", allowed=f"{-states} to {states - 1}",
        )  # fmt: skip


def check_origin(shipped: ShippedPlugin, fusion: Mapping[str, torch.Tensor], folder: Path, config: ModelConfig) -> None:
    """``ModelError`` naming every part of the model that is another than the plugin was trained on."""
    wanted, here = shipped.shipment.made_for, made_for(fusion, config, shipped.spec.family)
    compared = [name for name in PRINTS if not (name == "tables" and shipped.has_tables)]
    wrong = [PRINTS[name] for name in compared if getattr(wanted, name) != getattr(here, name)]
    if wrong:
        raise ModelError(
            f"the plugin in {shipped.folder} was made for another model than the one in {folder}",
            found=f"another {', another '.join(wrong)}", allowed=f"the parts of '{wanted.model}' it was trained on",
            next_step=f"add it to '{wanted.model}', or give --force to add it all the same",
        )  # fmt: skip

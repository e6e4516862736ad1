"""A model folder: what lies where, written whole, checked on loading.

    config.json          variant, layout, grains, preprocessing, licence, provenance, SHA-256 of every file
    tokenizer/           Hugging Face tokenizer
    backbone/            config.json, model.safetensors or shards of it (decoder blocks and final norm);
                         not there when config.json names a published model at a revision instead
    vision/              config.json, model.safetensors (tower), adapters.safetensors (one per grain)
    vqgan/               the codec, saved and loaded by vq/codec.py
    fusion.safetensors   embedding table, head, task and instruction embeddings
    plugins/NAME/        plugin.json, plugin.safetensors

No pickle anywhere.
"""

import hashlib
import json
import math
from pathlib import Path

import torch
from accelerate import init_empty_weights
from huggingface_hub import save_torch_state_dict
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import save_file
from transformers import CLIPVisionConfig

from healthgpt.backbone.hub import Published, fetched
from healthgpt.backbone.load import load_backbone, tensors_in
from healthgpt.backbone.quantise import quantise
from healthgpt.errors import ModelError
from healthgpt.model.fusion import TASK_ROWS, Fusion
from healthgpt.model.healthgpt import HealthGPTModel
from healthgpt.plugins.attach import make_routable, routed_layers
from healthgpt.plugins.store import PluginSpec, load_plugin, read_spec, save_plugin
from healthgpt.tasks import Family, Grain
from healthgpt.tokens import TokenLayout
from healthgpt.vision.clip import HiddenState, VisionTower
from healthgpt.vision.grains import GrainedVision
from healthgpt.vision.preprocess import Preprocessing

FORMAT = 1
"""Version of this layout; a folder of another version is refused."""


class ModelConfig(BaseModel):
    """``config.json``: everything about a model that is not a weight."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    name: str
    variant: str
    template: str
    text_size: int
    code_count: int
    grid: int
    context: int
    hidden_size: int
    grains: dict[Grain, HiddenState]
    """The tower's hidden state of each grain; of several, the mean."""
    preprocessing: Preprocessing
    codec_preprocessing: Preprocessing
    plugins: dict[Family, str]
    stages: tuple[str, ...] = ()
    """Training stages the weights have been through, in order, by the names of ``training/stages.py``."""
    task_rows: dict[str, int] = TASK_ROWS
    apart: tuple[Family, ...] = ()
    """Families with embedding table and head of their own."""
    backbone_source: Published | None = None
    """Where the decoder blocks are published, when the folder does not hold them itself."""
    stop_ids: tuple[int, ...] = ()
    """Ids that end an answer; the tokenizer's end-of-text when empty."""
    repetition_penalty: float = 1.0
    guidance: float = 1.0
    """How much a picture drawn from words follows them when nobody says; 1: as the model is."""
    licence: str
    provenance: str
    hashes: dict[str, str] = {}

    @property
    def layout(self) -> TokenLayout:
        return TokenLayout(self.text_size, self.code_count)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's contents."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


CHANGE, RECORD = "change", "record.txt"
"""A change of plugins until it is carried out (model/folder_change.py); its record begins with the command."""
HASHED = ("tokenizer", "backbone", "vision", "vqgan", "plugins", "fusion.safetensors")


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 by relative path of every file the model is made of."""
    found: dict[str, str] = {}
    for top in HASHED:
        path = folder / top
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path] * path.is_file()
        found.update({str(p.relative_to(folder)): sha256_of(p) for p in files})
    return found


def read_config(folder: Path) -> ModelConfig:
    """The description of a model folder; ``ModelError`` when there is none that fits."""
    path = folder / "config.json"
    if not folder.is_dir():
        raise ModelError(f"no model folder {folder}", next_step="see 'healthgpt models list'")
    if not path.is_file():
        raise ModelError(f"{folder} is not a model folder", found="no config.json in it")
    if (folder / CHANGE / path.name).is_file() and (folder / CHANGE / RECORD).is_file():
        command = (folder / CHANGE / RECORD).read_text(encoding="utf-8").partition("\n")[0]
        raise ModelError(f"a change of the plugins in {folder} was interrupted", next_step=f"run again: {command}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise ModelError(f"{path} is of another format", found=str(content.get("format")), allowed=str(FORMAT))
        return ModelConfig.model_validate(content)
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError, ValidationError) as fault:
        raise ModelError(f"{path} is not a model description", found=str(fault).splitlines()[0]) from fault


HASHED_ON_LOADING = 2**30
"""Bytes of the largest file whose hash is compared each time; 'healthgpt models check' compares all."""


def verify(folder: Path, config: ModelConfig, largest: float = math.inf) -> None:
    """Compare every file up to ``largest`` bytes with its recorded hash.

    ``ModelError`` names the first that differs, or that is missing whatever its size.
    """
    for name, expected in config.hashes.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ModelError(f"{folder}/config.json names a file outside the folder", found=name)
        if not path.is_file():
            raise ModelError(f"the model in {folder} lacks {name}", next_step="copy the whole folder again")
        if path.stat().st_size <= largest and sha256_of(path) != expected:
            raise ModelError(
                f"{path} is damaged", found="contents that differ from the recorded hash",
                next_step="copy the whole folder again",
            )  # fmt: skip


SHARD = "5GB"
"""Largest file of a backbone."""


def save_model(
    folder: Path,
    model: HealthGPTModel,
    config: ModelConfig,
    specs: dict[Family, PluginSpec],
    dtype: torch.dtype | None = None,
) -> None:
    """Write all but tokenizer and codec, which their owners save into ``folder`` first; then the hashes.

    ``dtype``: stored precision; each tensor's own when None. A large backbone is written in shards; one that
    ``config.backbone_source`` names is not written at all.
    """
    (folder / "vision").mkdir(parents=True, exist_ok=True)

    def stored(module: torch.nn.Module, skip: str = "\0") -> dict[str, torch.Tensor]:
        return {
            key.replace(".base.", "."): tensor.to(dtype or tensor.dtype).contiguous()
            for key, tensor in module.state_dict().items()
            if skip not in key
        }

    if config.backbone_source is None:
        (folder / "backbone").mkdir(parents=True, exist_ok=True)
        model.language_config.save_pretrained(folder / "backbone")
        save_torch_state_dict(stored(model.backbone, skip=".adapters."), folder / "backbone", max_shard_size=SHARD)
    model.vision.tower.config.save_pretrained(folder / "vision")
    save_file(stored(model.vision.tower.clip), folder / "vision" / "model.safetensors")
    save_file(stored(model.vision.adapters), folder / "vision" / "adapters.safetensors")
    save_file(stored(model.fusion), folder / "fusion.safetensors")
    for family, name in model.plugins.items():
        save_plugin(folder / "plugins" / name, name, specs[family], model.backbone, dtype)
    complete = config.model_copy(update={"hashes": hash_files(folder)})
    (folder / "config.json").write_text(complete.model_dump_json(indent=2) + "\n", encoding="utf-8")


def backbone_folder(folder: Path, config: ModelConfig) -> Path:
    """Where a model's decoder blocks lie: in its folder, or where what it names is or will be downloaded."""
    return folder / "backbone" if config.backbone_source is None else fetched(config.backbone_source)


def load_model(
    folder: Path,
    dtype: torch.dtype = torch.float32,
    *,
    quantize: str | None = None,
    device: torch.device | None = None,
) -> tuple[HealthGPTModel, ModelConfig, dict[Family, PluginSpec]]:
    """The model of a folder in ``dtype`` on CPU, in evaluation mode, its files checked first.

    Every weight is touched once: modules are made empty, and tensors stored in ``dtype`` are mapped, not copied.
    ``quantize``: the backbone's linear layers in ``int8`` or ``int4``, the way of the ``device`` it will be moved to.
    """
    config = read_config(folder)
    verify(folder, config, HASHED_ON_LOADING)
    try:
        backbone = load_backbone(backbone_folder(folder, config), None if quantize else dtype)
        make_routable(backbone)
        vision_config = CLIPVisionConfig.from_pretrained(folder / "vision", attn_implementation="sdpa")
        with init_empty_weights(include_buffers=False):
            tower = VisionTower(vision_config)
            vision = GrainedVision(tower, config.hidden_size, config.grains)
            fusion = Fusion(config.layout, config.hidden_size, config.grid, config.apart)
        _fill(tower.clip, folder / "vision" / "model.safetensors", dtype)
        _fill(vision.adapters, folder / "vision" / "adapters.safetensors", dtype)
        _fill(fusion, folder / "fusion.safetensors", dtype)
        specs = {
            family: load_plugin(folder / "plugins" / name, name, backbone, dtype)
            for family, name in config.plugins.items()
        }
    except (OSError, SafetensorError, RuntimeError) as fault:
        raise ModelError(f"the model in {folder} cannot be loaded", found=str(fault).splitlines()[0]) from fault
    if quantize:
        layers = [layer for _, layer in routed_layers(backbone)]
        quantise(layers, quantize, dtype, device or torch.device("cpu"))
        bases = {id(layer.base) for layer in layers}
        for module in backbone.modules():  # what is left in its stored precision: norms
            if id(module) not in bases:
                for parameter in module.parameters(recurse=False):
                    parameter.data = parameter.data.to(dtype)
    return HealthGPTModel(backbone, vision, fusion, config.plugins).eval(), config, specs


def plugin_specs_of(folder: Path) -> dict[Family, PluginSpec]:
    """What the plugins of a model folder can do, without loading a weight."""
    return {family: read_spec(folder / "plugins" / name) for family, name in read_config(folder).plugins.items()}


def _fill(module: torch.nn.Module, path: Path, dtype: torch.dtype) -> None:
    module.load_state_dict(dict(tensors_in(path, dtype)), assign=True)

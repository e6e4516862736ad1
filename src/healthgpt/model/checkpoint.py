"""A model folder: what lies where, written whole, checked on loading.

    config.json          variant, layout, grains, preprocessing, licence, provenance, SHA-256 of every file
    tokenizer/           Hugging Face tokenizer
    backbone/            config.json, model.safetensors (decoder blocks and final norm)
    vision/              config.json, model.safetensors (tower), adapters.safetensors (one per grain)
    vqgan/               the codec, saved and loaded by vq/codec.py
    fusion.safetensors   embedding table, head, task and instruction embeddings
    plugins/NAME/        plugin.json, plugin.safetensors

No pickle anywhere.
"""

import hashlib
import json
from pathlib import Path

import torch
from accelerate import init_empty_weights
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig

from healthgpt.backbone.load import load_backbone
from healthgpt.errors import ModelError
from healthgpt.model.fusion import TASK_ROWS, Fusion
from healthgpt.model.healthgpt import HealthGPTModel
from healthgpt.plugins.attach import make_routable
from healthgpt.plugins.store import PluginSpec, load_plugin, read_spec, save_plugin
from healthgpt.tasks import Family, Grain
from healthgpt.tokens import TokenLayout
from healthgpt.vision.clip import VisionTower
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
    grains: dict[Grain, int]
    preprocessing: Preprocessing
    codec_preprocessing: Preprocessing
    plugins: dict[Family, str]
    task_rows: dict[str, int] = TASK_ROWS
    apart: tuple[Family, ...] = ()
    """Families with embedding table and head of their own."""
    stop_ids: tuple[int, ...] = ()
    """Ids that end an answer; the tokenizer's end-of-text when empty."""
    repetition_penalty: float = 1.0
    licence: str
    provenance: str
    hashes: dict[str, str] = {}

    @property
    def layout(self) -> TokenLayout:
        return TokenLayout(self.text_size, self.code_count)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


HASHED = ("tokenizer", "backbone", "vision", "vqgan", "plugins", "fusion.safetensors")


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 by relative path of every file the model is made of."""
    found: dict[str, str] = {}
    for top in HASHED:
        path = folder / top
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path] * path.is_file()
        found.update({str(p.relative_to(folder)): _sha256(p) for p in files})
    return found


def read_config(folder: Path) -> ModelConfig:
    """The description of a model folder; ``ModelError`` when there is none that fits."""
    path = folder / "config.json"
    if not folder.is_dir():
        raise ModelError(f"no model folder {folder}", next_step="see 'healthgpt models list'")
    if not path.is_file():
        raise ModelError(f"{folder} is not a model folder", found="no config.json in it")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise ModelError(f"{path} is of another format", found=str(content.get("format")), allowed=str(FORMAT))
        return ModelConfig.model_validate(content)
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError, ValidationError) as fault:
        raise ModelError(f"{path} is not a model description", found=str(fault).splitlines()[0]) from fault


def verify(folder: Path, config: ModelConfig) -> None:
    """Compare every file with its recorded hash; ``ModelError`` names the first that is missing or differs."""
    for name, expected in config.hashes.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ModelError(f"{folder}/config.json names a file outside the folder", found=name)
        if not path.is_file():
            raise ModelError(f"the model in {folder} lacks {name}", next_step="copy the whole folder again")
        if _sha256(path) != expected:
            raise ModelError(
                f"{path} is damaged", found="contents that differ from the recorded hash",
                next_step="copy the whole folder again",
            )  # fmt: skip


def save_model(
    folder: Path,
    model: HealthGPTModel,
    config: ModelConfig,
    specs: dict[Family, PluginSpec],
    dtype: torch.dtype | None = None,
) -> None:
    """Write all but tokenizer and codec, which their owners save into ``folder`` first; then the hashes.

    ``dtype``: stored precision; each tensor's own when None.
    """
    for part in ("backbone", "vision"):
        (folder / part).mkdir(parents=True, exist_ok=True)

    def stored(module: torch.nn.Module, skip: str = "\0") -> dict[str, torch.Tensor]:
        return {
            key.replace(".base.", "."): tensor.to(dtype or tensor.dtype).contiguous()
            for key, tensor in module.state_dict().items()
            if skip not in key
        }

    model.language_config.save_pretrained(folder / "backbone")
    save_file(stored(model.backbone, skip=".adapters."), folder / "backbone" / "model.safetensors")
    model.vision.tower.config.save_pretrained(folder / "vision")
    save_file(stored(model.vision.tower.clip), folder / "vision" / "model.safetensors")
    save_file(stored(model.vision.adapters), folder / "vision" / "adapters.safetensors")
    save_file(stored(model.fusion), folder / "fusion.safetensors")
    for family, name in model.plugins.items():
        save_plugin(folder / "plugins" / name, name, specs[family], model.backbone, dtype)
    complete = config.model_copy(update={"hashes": hash_files(folder)})
    (folder / "config.json").write_text(complete.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load_model(
    folder: Path, dtype: torch.dtype = torch.float32
) -> tuple[HealthGPTModel, ModelConfig, dict[Family, PluginSpec]]:
    """The model of a folder in ``dtype`` on CPU, in evaluation mode, every file checked first.

    Every weight is touched once: modules are made empty, and tensors stored in ``dtype`` are mapped, not copied.
    """
    config = read_config(folder)
    verify(folder, config)
    try:
        backbone = load_backbone(folder / "backbone", dtype)
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
            family: load_plugin(folder / "plugins" / name, name, backbone) for family, name in config.plugins.items()
        }
    except (OSError, SafetensorError, RuntimeError) as fault:
        raise ModelError(f"the model in {folder} cannot be loaded", found=str(fault).splitlines()[0]) from fault
    return HealthGPTModel(backbone, vision, fusion, config.plugins).eval(), config, specs


def plugin_specs_of(folder: Path) -> dict[Family, PluginSpec]:
    """What the plugins of a model folder can do, without loading a weight."""
    return {family: read_spec(folder / "plugins" / name) for family, name in read_config(folder).plugins.items()}


def _fill(module: torch.nn.Module, path: Path, dtype: torch.dtype) -> None:
    module.load_state_dict({key: tensor.to(dtype) for key, tensor in load_file(path).items()}, assign=True)

"""The authors' released weights as a model of this package: their files in, one model out, every tensor accounted for.

Layouts M3, L14 and XL32 (table 6; released files). A plugin file holds H-LoRA matrices and the two-layer projector of
one family under ``base_model.model.model.``; the fusion file holds embedding table and head. What tensors tell (merged
rank, experts, codes) is read off them; what no shape tells (alpha, template) comes from ``variants.py`` when the base
is a published one, else from the caller. Comprehension keeps the base model's own tables and generation uses the
fusion file's, as the released code does.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM, CLIPImageProcessorPil, CLIPVisionModel, PreTrainedModel

from healthgpt.errors import ModelError
from healthgpt.model.fusion import Fusion, Tables
from healthgpt.model.healthgpt import HealthGPTModel
from healthgpt.plugins.attach import attach, make_routable, routed_layers
from healthgpt.plugins.store import PluginSpec, adapter_maker
from healthgpt.tasks import MODALITIES, Family, Grain
from healthgpt.tokens import TokenLayout
from healthgpt.torch_file import read_tensors
from healthgpt.variants import VARIANTS, Variant
from healthgpt.vision.clip import VisionTower
from healthgpt.vision.grains import GrainedVision
from healthgpt.vision.preprocess import Preprocessing

PREFIX = "base_model.model."
TRAINED_FOR: dict[Family, tuple[str, ...]] = {"comprehension": MODALITIES, "generation": ("reconstruct",)}
"""What the released plugins were trained for: the generation one for reconstruction only."""
GRAINS: dict[Family, tuple[Grain, int]] = {"comprehension": ("abstract", -2), "generation": ("concrete", 1)}
PEFT_TYPE = "HLORA"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""A plugin in a folder as peft lays adapters out: what ``model/export.py`` writes."""
PROBE, AGREEMENT = 4, 0.02
"""Tokens a base model is tried on, and how far its scores may lie from ours, as a part of the largest: rounding."""
MARKERS = 3
"""Start, end and row separator beside the codes."""


@dataclass(frozen=True)
class PluginFile:
    """One family's file: H-LoRA tensors by layer (``0.mlp.down_proj.lora_A.weight``) and the projector's."""

    path: Path
    layers: dict[str, torch.Tensor]
    projector: dict[str, torch.Tensor]

    @property
    def rank(self) -> int:
        return next(int(t.shape[0]) for name, t in self.layers.items() if name.endswith("lora_A.weight"))

    @property
    def experts(self) -> int:
        return next(int(t.shape[0]) for name, t in self.layers.items() if name.endswith("lora_route.weight"))


def read_plugin_file(path: Path) -> PluginFile:
    """Read ``com_hlora_weights*.bin``, ``gen_hlora_weights.bin`` or an exported adapter folder.

    ``ModelError`` when it holds something else.
    """
    layers: dict[str, torch.Tensor] = {}
    projector: dict[str, torch.Tensor] = {}
    strange = []
    for name, tensor in _plugin_tensors(path).items():
        short = name.removeprefix(PREFIX).removeprefix("model.")
        if short.startswith("layers.") and ".lora_" in short:
            layers[short.removeprefix("layers.")] = tensor
        elif short.startswith("mm_projector."):
            projector[short.removeprefix("mm_projector.")] = tensor
        else:
            strange.append(name)
    if not layers or strange:
        raise ModelError(
            f"{path} is not a plugin file",
            found=f"{len(layers)} H-LoRA tensors, {len(strange)} others"
            + (f" (first: {strange[0]})" if strange else ""),
            allowed="H-LoRA matrices and a projector, as in com_hlora_weights.bin or gen_hlora_weights.bin",
            next_step="the file with embed_tokens and lm_head is the fusion file"
            if any("embed_tokens" in name for name in strange)
            else "",
        )
    return PluginFile(path, layers, projector)


def _plugin_tensors(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_dir():
        return read_tensors(path)
    try:
        described = json.loads((path / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        found = str(described.get("peft_type"))
        tensors = load_file(path / ADAPTER_WEIGHTS)
    except (OSError, ValueError, AttributeError, SafetensorError) as fault:
        raise ModelError(f"{path} is not an adapter folder", found=str(fault).splitlines()[0]) from fault
    if found != PEFT_TYPE:
        raise ModelError(f"the adapter in {path} is of another type", found=found, allowed=PEFT_TYPE)
    return tensors


def read_fusion_file(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Embedding table and head (rows, hidden) of ``fusion_layer_weights.bin``."""
    tensors = {name.removeprefix(PREFIX).removeprefix("model."): t for name, t in read_tensors(path).items()}
    wanted = ("embed_tokens.weight", "lm_head.weight")
    if set(tensors) != set(wanted):
        raise ModelError(
            f"{path} is not a fusion file", found=f"{len(tensors)} tensors (first: {min(tensors, default='none')})",
            allowed="exactly embed_tokens.weight and lm_head.weight",
            next_step="plugin files go to --comprehension and --generation",
        )  # fmt: skip
    return tensors[wanted[0]], tensors[wanted[1]]


def read_base(folder: str) -> tuple[PreTrainedModel, torch.Tensor, torch.Tensor]:
    """Decoder without its table, embedding table and head of a base model.

    ``ModelError`` when tensors are missing, or when the model does something to embeddings or scores that table,
    decoder and head alone do not do (Gemma's soft cap): its answers would be wrong.
    """
    loaded: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", output_loading_info=True)
    model, report = loaded
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ModelError(
            f"the base model {folder} is incomplete", found=f"{len(missing)} missing (first: {missing[0]})"
        )
    table, head = model.get_input_embeddings(), model.get_output_embeddings().weight.detach()
    embedding = table.weight.detach()
    if (scale := getattr(table, "embed_scale", None)) is not None:  # Gemma looks up scaled rows
        embedding = embedding * scale.to(embedding.dtype)
    probe = torch.arange(PROBE).unsqueeze(0)
    with torch.inference_mode():
        expected = model(probe).logits.float()
        decoder = model.base_model
        decoder.set_input_embeddings(nn.Identity())
        found = (decoder(inputs_embeds=embedding[probe]).last_hidden_state @ head.T).float()
    if (found - expected).abs().max() > AGREEMENT * expected.abs().max():
        raise ModelError(
            f"the base model {folder} does more than table, decoder and head", found=type(model).__name__,
            allowed="a decoder whose scores are its last states times the head",
        )  # fmt: skip
    return decoder, embedding, head


def read_tower(folder: str) -> VisionTower:
    """The CLIP vision tower of a folder or hub id."""
    clip = CLIPVisionModel.from_pretrained(folder, attn_implementation="sdpa")
    tower = VisionTower(clip.config)
    tower.clip = clip
    return tower


def matching_variant(hidden_size: int, layers: int) -> Variant | None:
    """The published variant whose backbone has these dimensions, if any."""
    rows = (VARIANTS[name] for name in ("m3", "l14", "xl32"))
    return next((row for row in rows if (row.hidden_size, row.layers) == (hidden_size, layers)), None)


def preprocessing_of(vision: str) -> Preprocessing:
    """What the released code does to an image before the tower: padded with the mean colour, then CLIP's own."""
    clip = CLIPImageProcessorPil.from_pretrained(vision)
    red, green, blue = clip.image_mean
    std_red, std_green, std_blue = clip.image_std
    return Preprocessing(
        size=clip.crop_size["height"], pad_colour=(int(255 * red), int(255 * green), int(255 * blue)),
        mean=(red, green, blue), std=(std_red, std_green, std_blue),
    )  # fmt: skip


def plugin_spec(family: Family, file: PluginFile, variant: Variant | None, alpha: float | None) -> PluginSpec:
    """What a plugin file is, checked against the variant's row; ``alpha`` given wins over the row's."""
    if variant is None:
        if alpha is None:
            raise ModelError(
                f"the alpha of {file.path} is not known", found="a base that is none of the published ones",
                next_step=f"give --{family}-alpha (published files: twice the merged rank, here {2 * file.rank})",
            )  # fmt: skip
        return PluginSpec(family=family, rank=file.rank, experts=file.experts, alpha=alpha, tasks=TRAINED_FOR[family])
    sizes = {"comprehension": variant.comprehension, "generation": variant.generation}
    row = sizes.pop(family)
    if (file.rank, file.experts) != (row.rank, row.experts):
        ((other, theirs),) = sizes.items()
        raise ModelError(
            f"{file.path} is not {variant.name}'s {family} plugin",
            found=f"merged rank {file.rank}, {file.experts} experts",
            allowed=f"rank {row.rank}, {row.experts} experts",
            next_step=f"it looks like the {other} file" if file.rank == theirs.rank else "",
        )
    return PluginSpec(
        family=family, rank=file.rank, experts=file.experts, alpha=row.alpha if alpha is None else alpha,
        tasks=TRAINED_FOR[family],
    )  # fmt: skip


def fill(module: nn.Module, tensors: Mapping[str, torch.Tensor], path: Path, what: str) -> None:
    """Give a module exactly these tensors, in their own precision; ``ModelError`` names what does not fit."""
    expected = module.state_dict()
    missing, unexpected = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    wrong = [name for name in expected.keys() & tensors.keys() if expected[name].shape != tensors[name].shape]
    if missing or unexpected or wrong:
        shapes = [f"{name} {tuple(tensors[name].shape)}, not {tuple(expected[name].shape)}" for name in sorted(wrong)]
        raise ModelError(
            f"{path} does not fit {what}",
            found=f"{len(missing)} tensors missing (first: {(missing or ['none'])[0]}), {len(unexpected)} unexpected "
            f"(first: {(unexpected or ['none'])[0]}), {len(wrong)} of another shape (first: {(shapes or ['none'])[0]})",
        )
    module.load_state_dict(dict(tensors), assign=True)


@torch.no_grad()
def fill_tables(tables: Tables, embedding: torch.Tensor, head: torch.Tensor, text: int) -> None:
    """Both tables from whole ones: rows up to ``text`` are words, the rest the image vocabulary."""
    state = {
        "text_embedding": embedding[:text], "image_embedding": embedding[text:],
        "text_head": head[:text], "image_head": head[text:],
    }  # fmt: skip
    for name, rows in state.items():
        setattr(tables, name, nn.Parameter(rows.clone(), requires_grad=False))


def widened(rows: torch.Tensor, text: int, total: int) -> torch.Tensor:
    """A base table as the released code resizes it: rows past ``text`` become the mean of those before."""
    mean = rows[:text].float().mean(dim=0, keepdim=True).to(rows.dtype)
    return torch.cat([rows[:text], mean.expand(total - text, -1)])


def attach_plugin(decoder: PreTrainedModel, family: Family, spec: PluginSpec, file: PluginFile) -> None:
    """Attach a plugin file to every linear layer of the decoder blocks."""
    attach(decoder, family, adapter_maker(spec))
    holders = nn.ModuleDict({name.replace(".", "/"): layer.adapters[family] for name, layer in routed_layers(decoder)})
    tensors = {}
    for name, tensor in file.layers.items():
        layer, _, part = name.partition(".lora_")
        tensors[f"{layer.replace('.', '/')}.lora_{part}"] = tensor
    fill(holders, tensors, file.path, f"the base model as its {family} plugin")


def build_published(
    *,
    base: str,
    vision: str,
    plugin_files: Mapping[Family, Path],
    fusion_file: Path | None,
    text_tokens: int | None,
    codes: int,
    grid: int | None,
    alphas: Mapping[Family, float | None],
) -> tuple[HealthGPTModel, dict[Family, PluginSpec], TokenLayout, Variant | None]:
    """One model from the released files, both families resident.

    ``base``, ``vision``: folders or hub ids. ``text_tokens``: entries of the base's tokenizer, where the release
    drops the padding rows of its tables and puts codes and markers there (M3, L14); None where it leaves the
    tables alone (XL32). ``codes``: how many codes it puts there when no fusion file tells; without one their rows are
    the mean of all others, never trained, and can win no choice. ``grid``: codes per side of an image, the
    variant's when None. Raises ``ModelError`` naming the file that does not fit, what it holds and what was expected.
    """
    decoder, embedding, head = read_base(base)
    text_tokens = text_tokens or int(embedding.shape[0])
    variant = matching_variant(int(decoder.config.hidden_size), int(decoder.config.num_hidden_layers))
    files = {family: read_plugin_file(path) for family, path in plugin_files.items()}
    specs = {family: plugin_spec(family, file, variant, alphas.get(family)) for family, file in files.items()}
    fused = read_fusion_file(fusion_file) if fusion_file is not None else None
    if "generation" in files and fused is None:
        raise ModelError(
            "a generation plugin draws with the fusion file's tables", found="no fusion file", next_step="give --fusion"
        )
    hidden = int(decoder.config.hidden_size)
    if fused is not None and (fused[0].shape[1] != hidden or fused[0].shape[0] <= text_tokens + MARKERS):
        raise ModelError(
            f"{fusion_file} does not fit the base model", found=f"tables of {tuple(fused[0].shape)}",
            allowed=f"more than {text_tokens + MARKERS} rows of {hidden} numbers",
        )  # fmt: skip
    codes = codes if fused is None else int(fused[0].shape[0]) - text_tokens - MARKERS
    layout = TokenLayout(text_tokens, codes)
    apart: tuple[Family, ...] = ("comprehension",) if fused is not None and "comprehension" in files else ()
    grid = grid or (variant.grid if variant is not None else 0)
    if "generation" in files and not grid:
        raise ModelError(
            "how many codes an image has is not known", found="a base that is none of the published ones",
            next_step="give the codec with --vqgan",
        )  # fmt: skip
    fusion = Fusion(layout, hidden, grid, apart)
    if fused is not None:
        fill_tables(fusion, *fused, text_tokens)
    if fused is None or apart:
        own = [widened(rows, text_tokens, layout.total) for rows in (embedding, head)]
        fill_tables(fusion.tables("comprehension"), own[0], own[1], text_tokens)
    for extra in (fusion.grid_rows, fusion.grid_columns):
        nn.init.zeros_(extra)
    tower = read_tower(vision)
    grained = GrainedVision(tower, hidden, {GRAINS[family][0]: GRAINS[family][1] for family in files})
    make_routable(decoder)
    for family, file in files.items():
        attach_plugin(decoder, family, specs[family], file)
        fill(grained.adapters[GRAINS[family][0]], file.projector, file.path, "the vision tower as its projector")
    model = HealthGPTModel(decoder, grained, fusion, {family: family for family in files})
    return model.eval(), specs, layout, variant

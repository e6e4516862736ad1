"""Parts that begin anew: adapters, plugins and image vocabulary, on a model's or on published backbone and tower."""

from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from healthgpt.backbone.hub import source_of
from healthgpt.errors import RecipeError
from healthgpt.inference.released import CODEC_CONFIG, base_of
from healthgpt.model.build import plugin_specs
from healthgpt.model.checkpoint import ModelConfig, load_model, save_model
from healthgpt.model.derived_folder import derive, stored
from healthgpt.model.fusion import Fusion
from healthgpt.model.healthgpt import HealthGPTModel
from healthgpt.model.published import GRAINS, matching_variant, preprocessing_of, read_base, read_tower
from healthgpt.plugins.attach import attach, detach, make_routable
from healthgpt.plugins.store import PluginSpec, adapter_maker
from healthgpt.tasks import Family, Grain
from healthgpt.tokens import TokenLayout
from healthgpt.training.parameters import group_parameters
from healthgpt.training.recipe import Recipe
from healthgpt.training.stages import STAGES
from healthgpt.variants import Variant, variant_named
from healthgpt.vision.grains import GrainedVision
from healthgpt.vision.preprocess import Preprocessing
from healthgpt.vq.published import read_published
from healthgpt.vq.store import load_codec, save_codec
from healthgpt.whole_folder import whole_folder


def specs_for(recipe: Recipe) -> dict[Family, PluginSpec]:
    """The recipe's plugins, trained for nothing yet: the variant's H-LoRA, or another kind where the recipe says so."""
    other = recipe.plugin.model_dump() if recipe.plugin is not None else {}
    specs = plugin_specs(variant_named(recipe.variant))
    return {family: spec.model_copy(update={**other, "tasks": ()}) for family, spec in specs.items()}


def fresh_plugin(recipe: Recipe, folder: Path, family: Family) -> dict[str, torch.Tensor]:
    """An untrained plugin for the model in ``folder``, of the recipe's make."""
    model, config, _ = load_model(folder)
    torch.manual_seed(recipe.seed)
    name = config.plugins[family]
    detach(model.backbone, name)
    attach(model.backbone, name, adapter_maker(specs_for(recipe)[family]))
    return stored(group_parameters(model, f"{family} plugin")).plugins[name]


def _grains(recipe: Recipe, families: tuple[Family, ...]) -> dict[Grain, int | tuple[int, ...]]:
    """Hidden states of each grain: as published, swapped, or the mean of both."""
    row = variant_named(recipe.variant)
    shallow, deep = row.concrete_state, row.abstract_state
    states: dict[str, dict[Grain, int | tuple[int, ...]]] = {
        "published": {"abstract": deep, "concrete": shallow},
        "swapped": {"abstract": shallow, "concrete": deep},
        "merged": {"abstract": (shallow, deep), "concrete": (shallow, deep)},
    }
    wanted = [GRAINS[family][0] for family in families]
    return {grain: states[recipe.grains][grain] for grain in wanted}


def renew(recipe: Recipe, source: Path, made: Path) -> None:
    """Backbone, tower, codec and words of a model; adapters, plugins and image vocabulary untrained."""
    old, config, _ = load_model(source)
    torch.manual_seed(recipe.seed)
    families = STAGES[recipe.stage].families
    for name in config.plugins.values():
        detach(old.backbone, name)
    fusion = Fusion(config.layout, config.hidden_size, config.grid)
    fusion.take_text_rows(old.fusion.text_embedding, old.fusion.text_head)
    if (source / "vqgan").is_dir():
        fusion.place_codes(load_codec(source / "vqgan").code_vectors)
    vision = GrainedVision(old.vision.tower, config.hidden_size, _grains(recipe, families))
    model = _with_plugins(recipe, old.backbone, vision, fusion, families)
    tensors = dict(group_parameters(model, "fusion"))
    tensors |= {name: p for name, p in model.named_parameters() if name.startswith("vision.adapters.")}
    changed = stored(tensors)
    bare = config.model_copy(
        update={"hashes": {file: digest for file, digest in config.hashes.items() if not file.startswith("plugins/")}}
    )
    specs = {family: specs_for(recipe)[family] for family in families}
    for family in families:
        changed.plugins |= stored(group_parameters(model, f"{family} plugin")).plugins
    with whole_folder(made) as partial:
        derive(
            source, bare, partial, changed, specs, name=recipe.name, stages=(), plugins=model.plugins, apart=(),
            grains=model.vision.hidden_states, guidance=1.0, provenance=f"parts of {config.name} ({config.provenance})",
        )  # fmt: skip


def _with_plugins(
    recipe: Recipe, backbone: nn.Module, vision: GrainedVision, fusion: Fusion, families: tuple[Family, ...]
) -> HealthGPTModel:
    for family in families:
        attach(backbone, family, adapter_maker(specs_for(recipe)[family]))
    return HealthGPTModel(backbone, vision, fusion, {family: family for family in families})


def assemble(recipe: Recipe, made: Path) -> None:
    """A published language model and tower with everything else untrained."""
    start, families = recipe.start, STAGES[recipe.stage].families
    assert start.base is not None
    assert start.tower is not None
    base, source = base_of(start.base, source_of(start.base))
    tower_folder, _ = base_of(start.tower, source_of(start.tower))
    variant = variant_named(recipe.variant)
    config = AutoConfig.from_pretrained(base)
    _check_size(variant, config.hidden_size, config.num_hidden_layers, start.base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    stops = GenerationConfig.from_pretrained(base).eos_token_id
    torch.manual_seed(recipe.seed)
    backbone, embedding, head = read_base(str(base))
    codec = shape = None
    if start.codec is not None:
        beside = start.codec.with_name(CODEC_CONFIG)
        codec, shape, _ = read_published(start.codec, beside if beside.is_file() else None)
    layout = TokenLayout(len(tokenizer), codec.code_count if codec is not None else variant.code_count)
    grid = codec.grid[0] if codec is not None else variant.grid
    fusion = Fusion(layout, config.hidden_size, grid)
    fusion.take_text_rows(embedding, head)
    if codec is not None:
        fusion.place_codes(codec.code_vectors)
    make_routable(backbone)
    vision = GrainedVision(read_tower(str(tower_folder)), config.hidden_size, _grains(recipe, families))
    model = _with_plugins(recipe, backbone, vision, fusion, families)
    size = codec.image_size if codec is not None else variant.codec_image_size
    described = ModelConfig(
        name=recipe.name, variant=recipe.variant, template=variant.template, text_size=layout.text_size,
        code_count=layout.code_count, grid=grid, context=config.max_position_embeddings,
        hidden_size=config.hidden_size, grains=vision.hidden_states, preprocessing=preprocessing_of(str(tower_folder)),
        codec_preprocessing=Preprocessing(size=size, fit="squash"), plugins=model.plugins,
        stop_ids=tuple(stops if isinstance(stops, list) else [stops] if stops is not None else []),
        backbone_source=source, licence="as published with its parts; research use only",
        provenance=f"{start.base} and {start.tower}, the rest untrained",
    )  # fmt: skip
    with whole_folder(made) as partial:
        tokenizer.save_pretrained(partial / "tokenizer")
        if codec is not None and shape is not None:
            save_codec(partial / "vqgan", codec, shape, torch.float32)
        save_model(partial, model, described, {family: specs_for(recipe)[family] for family in families})


def _check_size(variant: Variant, hidden: int, layers: int, base: str) -> None:
    if (hidden, layers) != (variant.hidden_size, variant.layers):
        other = matching_variant(hidden, layers)
        raise RecipeError(
            f"{base} is not the language model of {variant.name}", found=f"width {hidden}, {layers} layers",
            allowed=f"width {variant.hidden_size}, {variant.layers} layers",
            next_step=f"it is {other.name}'s" if other is not None else f"{variant.name} is {variant.backbone}",
        )  # fmt: skip

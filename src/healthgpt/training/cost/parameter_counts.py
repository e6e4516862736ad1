"""What the model of a recipe is made of, counted part by part before any of it is there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from healthgpt.inference.released import RELEASES, TEMPLATE_OF, UNEXTENDED
from healthgpt.model.build import FAMILIES, layout_of
from healthgpt.model.footprint import adapter_parameters, parameters_of, plugin_parameters, tower_parameters
from healthgpt.model.published import GRAINS
from healthgpt.tasks import GENERATION_TASKS, Family
from healthgpt.training.recipe import PluginShape, Recipe
from healthgpt.training.stages import STAGES
from healthgpt.variants import PluginSize, Variant, variant_named

UNEXTENDED_ROWS = 152_064
"""Rows of Qwen2.5-32B's table and head, padding included, which the released XL32 leaves as they are."""
FUSION = ("text rows", "image rows", "task and instruction rows", "tables apart")
"""What the group ``fusion`` is made of; ``image rows`` are a group of their own as well."""


@dataclass(frozen=True)
class Makeup:
    """What is resident while a recipe's stage trains.

    ``variant``: with the vocabulary of the weights it starts from. ``apart``: families with tables of their own, as
    the released M3 has. ``plugins``: of each family.
    """

    variant: Variant
    families: tuple[Family, ...]
    apart: tuple[Family, ...]
    plugins: Mapping[Family, PluginShape]


def makeup_of(recipe: Recipe) -> Makeup:
    """Told by the recipe alone: fresh parts get the stage's families, a released model has those of its release, and
    any other model both families with the variant's H-LoRA. ``ModelError`` for an unknown variant."""
    variant, stage = variant_named(recipe.variant), STAGES[recipe.stage]
    families: tuple[Family, ...] = FAMILIES if recipe.start.model else stage.families
    apart: tuple[Family, ...] = ()
    first = recipe.start.model[0] if recipe.start.model else ""
    if first in RELEASES:
        release = RELEASES[first]
        families = FAMILIES if release.generation is not None else ("comprehension",)
        apart = ("comprehension",) if release.fusion is not None else ()
        if TEMPLATE_OF[first] in UNEXTENDED:
            variant = replace(variant, text_size=UNEXTENDED_ROWS, code_count=0)
    plugins = {family: _plugin(recipe, variant, family) for family in families}
    return Makeup(variant, families, apart, plugins)


def _plugin(recipe: Recipe, variant: Variant, family: Family) -> PluginShape:
    size = variant.comprehension if family == "comprehension" else variant.generation
    if recipe.plugin is not None and f"{family} plugin" in STAGES[recipe.stage].trains:
        return recipe.plugin
    return PluginShape(kind="hlora", rank=size.rank, experts=size.experts, alpha=size.alpha)


def parameter_counts(makeup: Makeup) -> dict[str, int]:
    """Numbers in every part; the parts of a group of ``training/parameters.py`` bear its name or stand in ``FUSION``.

    The codec is no part of the model: it turns images into codes before a step begins.
    """
    variant, layout = makeup.variant, layout_of(makeup.variant)
    hidden = variant.hidden_size
    counts = {
        "backbone": parameters_of(variant).backbone,
        "tower": tower_parameters(variant),
        "text rows": 2 * hidden * layout.text_size,
        "image rows": 2 * hidden * layout.image_size + 2 * variant.grid * hidden,
        "task and instruction rows": (2 + len(GENERATION_TASKS)) * hidden,
        "tables apart": len(makeup.apart) * 2 * hidden * layout.total,
    }
    for family in makeup.families:
        counts[f"{GRAINS[family][0]} adapter"] = adapter_parameters(variant)
        counts[f"{family} plugin"] = shape_parameters(variant, makeup.plugins[family])
    return counts


def shape_parameters(variant: Variant, shape: PluginShape) -> int:
    """Of a plugin beside every linear layer of the blocks: A and B, and a router where it has experts."""
    experts = 0 if shape.kind == "lora" else shape.experts
    return plugin_parameters(variant, PluginSize(shape.rank, experts, shape.alpha))


def trained_parts(recipe: Recipe) -> tuple[str, ...]:
    """Names of the parts that the recipe's stage trains; all others are frozen."""
    groups = STAGES[recipe.stage].trains
    return tuple(part for group in groups for part in (FUSION if group == "fusion" else (group,)))

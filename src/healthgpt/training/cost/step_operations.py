"""How long the rows of a stage are and how many floating-point operations one takes, by the layers' arithmetic.

A product of matrices counts two operations for every multiplication; everything else is too little to count.
"""

from dataclasses import dataclass
from typing import NamedTuple

from healthgpt.data.mixture import load_mixture
from healthgpt.model.build import layout_of
from healthgpt.model.footprint import PROMPT_TOKENS, linear_layers
from healthgpt.model.published import GRAINS
from healthgpt.tasks import TASKS, Family
from healthgpt.training.cost.parameter_counts import Makeup, trained_parts
from healthgpt.training.recipe import PluginShape, Recipe
from healthgpt.training.stages import STAGES
from healthgpt.variants import Variant

MIXTURES_OF = {
    "stage1-comprehension": ("stage1-comprehension",),
    "stage1-generation": ("stage1-generation",),
    "stage2": ("mixed-47k",),
    "stage3-comprehension": ("stage3-comprehension",),
    "stage3-generation": ("stage3-generation",),
    "mixed": ("stage1-comprehension", "stage1-generation", "stage3-comprehension", "stage3-generation"),
}
"""The paper's samples of each stage; fine-tuning has the user's own."""


TOWER = "vision tower"
"""The part of a step that is spared where the tower's features lie on disk."""


@dataclass(frozen=True)
class Words:
    """Tokens assumed of a row's words: first prompt with its template, further questions, answers, reports to draw."""

    prompt: int
    question: int
    answer: int
    report: int


PUBLISHED_WORDS = Words(prompt=PROMPT_TOKENS, question=24, answer=100, report=100)
NANO_WORDS = Words(prompt=20, question=16, answer=8, report=40)


@dataclass(frozen=True)
class RowKind:
    """Rows that cost alike. ``share``: of all rows. ``length``: tokens. ``learned``: tokens that count in the loss."""

    family: Family
    share: float
    image_tokens: int
    length: int
    learned: int


class Work(NamedTuple):
    """Floating-point operations of one part of the model; ``again``: done anew on the way back."""

    forward: float
    backward: float
    again: float = 0.0


def paper_samples(recipe: Recipe) -> dict[str, int]:
    """Training records of the paper's mixtures for the recipe's stage by source; empty for fine-tuning."""
    counts: dict[str, int] = {}
    for mixture in MIXTURES_OF.get(recipe.stage, ()):
        for part in load_mixture(mixture).parts:
            name = ", ".join(part.sources)
            counts[name] = counts.get(name, 0) + (part.count or 0)
    return counts


def row_kinds(recipe: Recipe, makeup: Makeup) -> tuple[RowKind, ...]:
    """The kinds of rows a stage learns from: in the paper's proportions, or its families alike."""
    counts: dict[tuple[Family, bool], float] = {}
    if makeup.variant.template != "nano":
        for mixture in MIXTURES_OF.get(recipe.stage, ()):
            for part in load_mixture(mixture).parts:
                tasks = [TASKS[name] for name in part.tasks]
                family: Family = tasks[0].family if tasks else "comprehension"
                key = (family, all(task.takes_image for task in tasks))
                counts[key] = counts.get(key, 0) + (part.count or 0)
    counts = counts or {(family, True): 1.0 for family in STAGES[recipe.stage].families}
    whole = sum(counts.values())
    return tuple(_kind(recipe, makeup.variant, *key, count / whole) for key, count in counts.items())


def _kind(recipe: Recipe, variant: Variant, family: Family, has_image: bool, share: float) -> RowKind:
    words = NANO_WORDS if variant.template == "nano" else PUBLISHED_WORDS
    image = variant.image_tokens if has_image else 0
    if family == "generation":
        learned = variant.grid**2 + 1  # the codes and the end marker, after the start marker
        length = image + words.prompt + (0 if has_image else words.report) + 1 + learned
    else:
        further = recipe.rows.turns - 1
        learned = recipe.rows.turns * words.answer
        length = image + words.prompt + words.answer + further * (words.question + words.answer)
    length = min(length, recipe.rows.max_length)
    return RowKind(family, share, image, length, min(learned, length - image))


def operations(recipe: Recipe, makeup: Makeup, kind: RowKind) -> dict[str, Work]:
    """Of one row, part by part.

    A frozen product costs as much backward as forward (the gradient of its input), a trained one twice as much (the
    gradient of its weights too). Attention looks back only, and a fused kernel scores again on its way back: five
    products for two. With activation checkpointing the blocks' forward pass is done again.
    """
    variant, trained = makeup.variant, trained_parts(recipe)
    hidden, length, again = variant.hidden_size, kind.length, float(recipe.hardware.activation_checkpointing)
    blocks = 2.0 * length * variant.layers * sum(inner * outer for inner, outer in linear_layers(variant))
    plugin = 2.0 * length * plugin_products(variant, makeup.plugins[kind.family])
    attention = 2.0 * length**2 * hidden * variant.layers  # two products over half of all pairs
    layout = layout_of(variant)
    head = 2.0 * kind.learned * hidden * layout.total
    learning_rows = layout.total if "text rows" in trained else layout.image_size if "image rows" in trained else 0
    first, second = (2.0 * kind.image_tokens * width * hidden for width in (variant.vision_width, hidden))
    learns = f"{GRAINS[kind.family][0]} adapter" in trained
    tower = tower_operations(variant, tower_blocks(recipe, variant, kind.family)) if kind.image_tokens else 0.0
    return {
        "decoder blocks": Work(blocks, blocks, again * blocks),
        "plugins": Work(plugin, plugin * (2 if f"{kind.family} plugin" in trained else 1), again * plugin),
        "attention": Work(attention, 2.5 * attention, again * attention),
        "head": Work(head, head + 2.0 * kind.learned * hidden * learning_rows),
        "visual adapter": Work(first + second, first + 2 * second if learns else 0.0),  # features need no gradient
        TOWER: Work(tower, 0.0),
    }


def plugin_products(variant: Variant, shape: PluginShape) -> int:
    """Multiplications a token in a plugin beside every linear layer: as many as it has numbers, and in H-LoRA those
    that repeat each expert's weight over its columns."""
    experts = 0 if shape.kind == "lora" else shape.experts
    repeated = shape.rank * experts if shape.kind == "hlora" else 0
    layers = linear_layers(variant)
    return variant.layers * sum(shape.rank * (inner + outer) + experts * inner + repeated for inner, outer in layers)


def tower_blocks(recipe: Recipe, variant: Variant, family: Family) -> int:
    """Blocks of the vision tower that run for a family's grain (early exit)."""
    deep, shallow = (state % (variant.vision_layers + 1) for state in (variant.abstract_state, variant.concrete_state))
    if recipe.grains == "merged":
        return max(deep, shallow)
    return deep if (family == "comprehension") == (recipe.grains == "published") else shallow


def tower_operations(variant: Variant, blocks: int) -> float:
    """Of one image through so many blocks of the frozen tower: patches, then attention and an MLP four times as wide
    in every block."""
    width, tokens = variant.vision_width, variant.image_tokens + 1
    patches = 2.0 * variant.image_tokens * 3 * variant.patch_size**2 * width
    block = 2.0 * tokens * 12 * width**2 + 4.0 * tokens**2 * width
    return patches + blocks * block

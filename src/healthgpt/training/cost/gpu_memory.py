"""How many bytes one GPU needs while a stage trains: weights, what learning adds to them, and what the way back keeps.

Weights are laid out as ``Hardware`` says: ``ddp`` holds everything on every GPU, ``fsdp`` divides the frozen backbone,
DeepSpeed's ZeRO divides gradients and moments too, at stage 3 the weights as well.
"""

from dataclasses import dataclass

from healthgpt.backbone.quantise import BYTES
from healthgpt.model.build import layout_of
from healthgpt.model.footprint import linear_layers, parameters_of
from healthgpt.model.published import GRAINS
from healthgpt.tasks import Family
from healthgpt.training.cost.parameter_counts import Makeup, parameter_counts, trained_parts
from healthgpt.training.cost.step_operations import RowKind
from healthgpt.training.recipe import PluginShape, Recipe

LOGIT_BYTES = 12
"""A score's log-probability, and the gradients behind and before the softmax, in 32 bits."""
WHOLE_BLOCKS = 2
"""Decoder blocks that lie whole on a GPU where the backbone is divided: the one at work and the next."""
TOWER_STATES = 10
"""Widths that a block of the frozen tower holds at once for a token: input, sum, and the MLP twice."""


@dataclass(frozen=True)
class Amount:
    """A number with what it is of and how it arises."""

    what: str
    number: float
    how: str


def gpu_memory(recipe: Recipe, makeup: Makeup, rows: tuple[RowKind, ...], micro: int, gpus: int) -> tuple[Amount, ...]:
    """Bytes of one of ``gpus`` with ``micro`` rows of these kinds at a time, at the end of the forward pass."""
    amounts = (*_weights(recipe, makeup, gpus), *_kept(recipe, makeup, rows, micro))
    return tuple(amount for amount in amounts if amount.number)


def bytes_of(recipe: Recipe) -> int:
    """Bytes of a number in the recipe's precision."""
    return 4 if recipe.hardware.precision == "fp32" else 2


def _weights(recipe: Recipe, makeup: Makeup, gpus: int) -> tuple[Amount, ...]:
    hardware, each = recipe.hardware, bytes_of(recipe)
    counts, trained = parameter_counts(makeup), trained_parts(recipe)
    linear = parameters_of(makeup.variant).linear
    learning = sum(count for part, count in counts.items() if part in trained)
    others = sum(count for part, count in counts.items() if part not in trained and part != "backbone")
    shares = gpus if hardware.parallel == "fsdp" else 1
    moments = 1 if hardware.parallel == "ddp" else gpus
    small = BYTES[hardware.quantize] if hardware.quantize else each
    backbone = linear * small + (counts["backbone"] - linear) * each
    blocks = makeup.variant.layers
    plugins = sum(count for part, count in counts.items() if part in trained and part.endswith("plugin"))
    in_block = (backbone + 4 * plugins) * min(WHOLE_BLOCKS, blocks) / blocks
    outside = each * others + 4 * (learning - plugins)
    return (
        Amount(
            "frozen backbone", backbone / shares,
            f"{small:g} bytes a weight of its linear layers, {each} of the others{_among(shares)}",
        ),
        Amount("other frozen weights", each * others / shares, f"{each} bytes each{_among(shares)}"),
        Amount("trained weights", 4 * learning / shares, f"4 bytes each{_among(shares)}"),
        Amount(
            "gathered while computed", (in_block + outside) * (1 - 1 / shares),
            f"{WHOLE_BLOCKS} of {blocks} blocks and all that is in none, less this GPU's share",
        ),
        Amount(
            "copies of them", 0 if each == 4 else each * learning,
            f"{each} bytes each, as products run in {hardware.precision}",
        ),
        Amount("gradients", 4 * learning / moments, f"4 bytes each{_among(moments)}"),
        Amount("AdamW", 8 * learning / moments, f"two moments of 4 bytes each{_among(moments)}"),
        Amount(
            "moving average", 0 if recipe.optimisation.average is None else 4 * learning / shares,
            f"4 bytes each{_among(shares)}",
        ),
    )  # fmt: skip


def _among(gpus: int) -> str:
    return f", divided among {gpus} GPUs" if gpus > 1 else ""


def longest_row(recipe: Recipe, rows: tuple[RowKind, ...]) -> int:
    """Tokens that a batch may be padded to: a drawing's length is known, a reading's only bounded."""
    reads = any(kind.family == "comprehension" for kind in rows)
    return recipe.rows.max_length if reads else max(kind.length for kind in rows)


def _kept(recipe: Recipe, makeup: Makeup, rows: tuple[RowKind, ...], micro: int) -> tuple[Amount, ...]:
    variant, each, longest = makeup.variant, bytes_of(recipe), longest_row(recipe, rows)
    hidden, width, scores = variant.hidden_size, variant.vision_width, layout_of(variant).total
    tokens, seen = micro * longest, micro * max(kind.image_tokens for kind in rows)
    learned = micro * max(kind.learned for kind in rows)
    block = max(block_bytes(recipe, makeup, kind.family) for kind in rows)
    inputs, blocks = each * hidden, variant.layers
    again = recipe.hardware.activation_checkpointing
    return (
        Amount(
            "kept by decoder blocks", tokens * (blocks * inputs + block if again else blocks * block),
            f"{micro} rows of up to {longest:,} tokens; a token keeps "
            + (f"{inputs:,} bytes in each of {blocks} blocks and, where one is done again, " if again else "")
            + f"{block:,} bytes"
            + ("" if again else f" in each of {blocks} blocks"),
        ),
        Amount("last norm", 4 * tokens * hidden, "its input in 32 bits"),
        Amount(
            "visual adapter", seen * max(adapter_bytes(recipe, makeup, kind.family) for kind in rows),
            "of each visual token its features, hidden layer before and after GELU, and output",
        ),
        Amount(
            "scores", LOGIT_BYTES * learned * scores,
            f"{LOGIT_BYTES} bytes for each of {scores:,} ids at {learned:,} places that count in the loss",
        ),
        Amount(
            "vision tower at work", 0 if recipe.hardware.cache_features else seen * TOWER_STATES * each * width,
            f"{TOWER_STATES} states of width {width} a visual token",
        ),
    )  # fmt: skip


def block_bytes(recipe: Recipe, makeup: Makeup, family: Family) -> int:
    """Bytes a token that one decoder block keeps for the way back, with attention that keeps no scores (flash).

    Per token, with d the width, m the MLP's, n that of keys, r the plugin's rank and e the bytes of the precision:
    two norms keep their input in 32 bits (8 d); attention keeps query, key, value and output (e (2 d + 2 n)) and a
    sum a head (4 bytes each); the MLP keeps gate, activated gate and up (3 e m). A plugin that trains keeps its
    inputs beside those (e (2 d + m)) and its own products, see ``_plugin_bytes``.
    """
    variant, shape, each = makeup.variant, makeup.plugins[family], bytes_of(recipe)
    hidden, keys = variant.hidden_size, variant.kv_heads * (variant.hidden_size // variant.heads)
    kept = 8 * hidden + each * (2 * hidden + 2 * keys) + 4 * variant.heads + 3 * each * variant.mlp_size
    trains = f"{family} plugin" in trained_parts(recipe)
    if trains:
        kept += each * (2 * hidden + variant.mlp_size)
    return kept + len(linear_layers(variant)) * _plugin_bytes(shape, each, trains, recipe.optimisation.dropout > 0)


def _plugin_bytes(shape: PluginShape, each: int, trains: bool, drops: bool) -> int:
    """Of one layer's plugin, as gradients need it: what A gives, in MoELoRA weighted too, and the router's weights."""
    wide = {"hlora": (1, 1), "moelora": (1, 2), "lora": (0, 1)}[shape.kind][trains]
    routed = 0 if shape.kind == "lora" else shape.experts
    return each * (wide * shape.rank + routed) + (shape.rank if trains and drops else 0)


def adapter_bytes(recipe: Recipe, makeup: Makeup, family: Family) -> int:
    """Bytes a visual token that a training adapter keeps: features, hidden layer before and after GELU, output."""
    if f"{GRAINS[family][0]} adapter" not in trained_parts(recipe):
        return 0
    return bytes_of(recipe) * (makeup.variant.vision_width + 3 * makeup.variant.hidden_size)

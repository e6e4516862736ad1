"""What a run will cost before it starts: memory of each GPU, floating-point operations of a step, days.

Needs neither weights nor data, and every number comes with how it arises: parameters from the variant's dimensions
(parameter_counts.py), operations and kept bytes from the layers' arithmetic (step_operations.py, gpu_memory.py),
samples from the paper's counts. What no dimension tells is assumed and said: how many words rows have, and which share
of a card's peak is reached.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from healthgpt.errors import RecipeError, closest
from healthgpt.model.build import layout_of
from healthgpt.training.cost.gpu_memory import Amount, gpu_memory
from healthgpt.training.cost.parameter_counts import Makeup, makeup_of, parameter_counts, trained_parts
from healthgpt.training.cost.step_operations import (
    TOWER,
    RowKind,
    Work,
    operations,
    paper_samples,
    row_kinds,
    tower_blocks,
)
from healthgpt.training.recipe import Recipe

UTILISATION = 0.35
"""Share of a card's peak that is reached: what well-kept training runs of such models report (30 to 45 %)."""
RESERVE = 0.1
"""Share of a card's memory left to CUDA itself, to communication, and between allocations."""


@dataclass(frozen=True)
class Card:
    """A GPU: gigabytes (1e9 bytes), and operations a second of dense products in 16 and in 32 bits."""

    gigabytes: float
    half: float
    single: float


CARDS = {
    "RTX-4090": Card(24, 165e12, 83e12),
    "A100-40GB": Card(40, 312e12, 19.5e12),
    "L40S": Card(48, 362e12, 92e12),
    "A100-80GB": Card(80, 312e12, 19.5e12),
    "H100-80GB": Card(80, 989e12, 67e12),
    "H200": Card(141, 989e12, 67e12),
}
"""As their maker's data sheets say, without sparsity, in 32 bits without TF32."""

Line = tuple[str, str, str]
"""Quantity, its value, how it arises."""


@dataclass(frozen=True)
class Plan:
    """The prediction for one recipe on ``gpus`` cards. Memory is that of one card; operations are of all together."""

    recipe: Recipe
    card: str
    gpus: int
    gpu_gigabytes: float
    frozen: tuple[Amount, ...]
    """Parameters, part by part."""
    trained: tuple[Amount, ...]
    memory: tuple[Amount, ...]
    """Bytes."""
    largest_micro_batch: int
    """Most rows at a time that fit and divide a GPU's share of the global batch; 0: not even one fits."""
    rows: tuple[RowKind, ...]
    work: Mapping[str, Work]
    """Of one row, the mean over their kinds."""
    samples: Mapping[str, int]
    """The paper's training samples by source; empty where the data are the user's own."""
    utilisation: float

    @property
    def bytes(self) -> float:
        return sum(amount.number for amount in self.memory)

    @property
    def fits(self) -> bool:
        """Whether the reserve stays free."""
        return self.bytes <= _room(self.gpu_gigabytes)

    @property
    def step_operations(self) -> float:
        """Of one optimiser step, the tower included."""
        return self.recipe.optimisation.global_batch * sum(sum(work) for work in self.work.values())

    @property
    def operations_a_second(self) -> float:
        card = CARDS[self.card]
        peak = card.single if self.recipe.hardware.precision == "fp32" else card.half
        return self.gpus * self.utilisation * peak

    @property
    def run_rows(self) -> float | None:
        """Rows of the whole run: its steps', or its epochs' over the paper's samples; None for the user's own data."""
        plan = self.recipe.optimisation
        if plan.steps is not None:
            return float(plan.steps * plan.global_batch)
        if plan.epochs is None or not self.samples:
            return None
        return plan.epochs * sum(self.samples.values()) / self.recipe.rows.turns

    def days(self, rows: float) -> float:
        """Of so many rows. Where features are kept on disk, the tower works in the first epoch only."""
        plan, tower = self.recipe.optimisation, sum(self.work[TOWER])
        others = sum(sum(work) for part, work in self.work.items() if part != TOWER)
        if self.recipe.hardware.cache_features and plan.epochs is not None:
            tower /= max(1.0, plan.epochs)
        return rows * (others + tower) / self.operations_a_second / 86_400


def predict(
    recipe: Recipe, gpu_gigabytes: float | None, gpus: int, card: str = "H100-80GB", utilisation: float = UTILISATION
) -> Plan:
    """What a recipe's run costs on ``gpus`` cards of a kind in ``CARDS``; neither data nor weights need be there.

    ``gpu_gigabytes``: memory of each in 1e9 bytes, the card's own when None. ``utilisation``: share of its peak that is
    reached, in (0, 1]. Raises ``RecipeError`` for an unknown card, and for a global batch that the GPUs cannot share
    in whole micro-batches.
    """
    if card not in CARDS:
        raise RecipeError(f"unknown GPU '{card}'", allowed=", ".join(CARDS), next_step=closest(card, list(CARDS)))
    batch, micro = recipe.optimisation.global_batch, recipe.optimisation.micro_batch
    if batch % (gpus * micro):
        raise RecipeError(
            f"{gpus} GPUs cannot share a global batch of {batch} rows in micro-batches of {micro}",
            next_step=f"give a micro_batch that divides {batch // gpus}" if batch % gpus == 0
            else f"use a number of GPUs that divides {batch}",
        )  # fmt: skip
    makeup = makeup_of(recipe)
    rows = row_kinds(recipe, makeup)
    gigabytes = CARDS[card].gigabytes if gpu_gigabytes is None else gpu_gigabytes

    def fits(size: int) -> bool:
        return sum(amount.number for amount in gpu_memory(recipe, makeup, rows, size, gpus)) <= _room(gigabytes)

    own = batch // gpus
    frozen, trained = _parameters(recipe, makeup)
    return Plan(
        recipe, card, gpus, gigabytes, frozen, trained, gpu_memory(recipe, makeup, rows, micro, gpus),
        max((size for size in range(1, own + 1) if own % size == 0 and fits(size)), default=0),
        rows, _mean_work(recipe, makeup, rows), paper_samples(recipe), utilisation,
    )  # fmt: skip


def _room(gigabytes: float) -> float:
    return (1 - RESERVE) * gigabytes * 1e9


def _parameters(recipe: Recipe, makeup: Makeup) -> tuple[tuple[Amount, ...], tuple[Amount, ...]]:
    """Frozen and trained ones."""
    variant, ids, trained = makeup.variant, layout_of(makeup.variant), trained_parts(recipe)
    hows = {
        "backbone": f"{variant.backbone}: {variant.layers} blocks of width {variant.hidden_size}, no table, no head",
        "tower": f"{variant.vision_layers} blocks of width {variant.vision_width}",
        "text rows": f"table and head, {ids.text_size:,} words of {variant.hidden_size} numbers each",
        "image rows": f"table and head, {ids.image_size:,} codes and markers, and {2 * variant.grid} grid vectors",
        "task and instruction rows": f"of {variant.hidden_size} numbers each",
        "tables apart": "table and head that only reading uses",
    }
    for family, shape in makeup.plugins.items():
        hows[f"{family} plugin"] = f"{shape.kind} of rank {shape.rank}, experts: {shape.experts}, on every linear layer"
    amounts = [
        Amount(part, count, hows.get(part, f"two layers, {variant.vision_width} to {variant.hidden_size} numbers"))
        for part, count in parameter_counts(makeup).items()
        if count
    ]
    return (
        tuple(amount for amount in amounts if amount.what not in trained),
        tuple(amount for amount in amounts if amount.what in trained),
    )


def _mean_work(recipe: Recipe, makeup: Makeup, rows: tuple[RowKind, ...]) -> dict[str, Work]:
    works = [(kind.share, operations(recipe, makeup, kind)) for kind in rows]
    return {
        part: Work(*(sum(share * work[part][way] for share, work in works) for way in range(3))) for part in works[0][1]
    }


def explain(plan: Plan) -> list[Line]:
    """The plan line by line: quantity, value, how it arises."""
    return [*_parameter_lines(plan), *_memory_lines(plan), *_work_lines(plan), *_time_lines(plan)]


def _parameter_lines(plan: Plan) -> list[Line]:
    lines = []
    for state, amounts in (("trained", plan.trained), ("frozen", plan.frozen)):
        lines += [(f"{state}: {amount.what}", f"{amount.number:,.0f}", amount.how) for amount in amounts]
        whole = sum(amount.number for amount in amounts)
        lines.append((f"{state} in all", f"{whole:,.0f}", "added up"))
    return lines


def _memory_lines(plan: Plan) -> list[Line]:
    lines = [(f"memory: {amount.what}", f"{amount.number / 1e9:.2f} GB", amount.how) for amount in plan.memory]
    verdict = "fits" if plan.fits else "does not fit"
    room = f"of {plan.gpu_gigabytes:g} GB a {RESERVE:.0%} reserve stays free for CUDA and between allocations"
    best, micro = plan.largest_micro_batch, plan.recipe.optimisation.micro_batch
    return [
        *lines,
        ("memory of each GPU", f"{plan.bytes / 1e9:.1f} GB, {verdict}", f"added up for micro_batch {micro}; {room}"),
        (
            "largest micro_batch", f"{best} rows" if best else "none",
            "most that fit and divide a GPU's share of the global batch" if best
            else "one row is too much: more GPUs with fsdp, quantize, or activation_checkpointing",
        ),
    ]  # fmt: skip


def _work_lines(plan: Plan) -> list[Line]:
    batch, lines = plan.recipe.optimisation.global_batch, []
    for kind in plan.rows:
        title = "reading" if kind.family == "comprehension" else "drawing"
        seen = f"{kind.image_tokens} visual tokens" if kind.image_tokens else "no image"
        how = f"{kind.share:.0%} of rows; {seen}, {kind.length - kind.image_tokens:,} of words and codes (assumed)"
        lines.append((f"{title} row", f"{kind.length:,} tokens", f"{how}, {kind.learned:,} count in the loss"))
    for part, work in plan.work.items():
        ways = f"{_tera(work.forward)} forward, {_tera(work.backward)} backward"
        ways += f", {_tera(work.again)} again for checkpointing" if work.again else ""
        lines.append((f"step: {part}", _tera(batch * sum(work)), f"{batch} rows of {ways}{_tower_note(plan, part)}"))
    rule = "two a multiplication; backward as much for frozen weights, twice for trained ones"
    return [*lines, ("one step", _tera(plan.step_operations), f"added up, on all GPUs; {rule}")]


def _tera(operations: float) -> str:
    tera = operations / 1e12
    return f"{tera:,.0f} TFLOP" if tera >= 1000 else f"{tera:.3g} TFLOP"


def _tower_note(plan: Plan, part: str) -> str:
    if part != TOWER:
        return ""
    variant = makeup_of(plan.recipe).variant
    depths = sorted({tower_blocks(plan.recipe, variant, kind.family) for kind in plan.rows if kind.image_tokens})
    cached = "; first epoch only, then from disk" if plan.recipe.hardware.cache_features else ""
    return f"; {' or '.join(map(str, depths))} of {variant.vision_layers} blocks{cached}"


def _time_lines(plan: Plan) -> list[Line]:
    speed = f"{plan.operations_a_second / 1e12:,.0f} TFLOP a second"
    cards = f"{plan.gpus} x {plan.card} at {plan.utilisation:.0%} of its peak in {plan.recipe.hardware.precision}"
    lines = [("speed", speed, cards)]
    rows = plan.run_rows
    if rows is None:
        return [*lines, ("10,000 rows", _time(plan.days(10_000)), "of your own data")]
    settings = plan.recipe.optimisation
    if settings.steps is not None:
        how = f"{settings.steps:,} steps of {settings.global_batch} rows"
    else:
        sources = " + ".join(f"{count:,} {name}" for name, count in plan.samples.items())
        turns = plan.recipe.rows.turns
        how = f"{settings.epochs:g} epoch{'s' * (settings.epochs != 1)} of {sources}" + (
            f", up to {turns} in a row" if turns > 1 else ""
        )
    whole = ("the whole run", _time(plan.days(rows)), "rows times operations of a row, over the speed")
    return [*lines, ("rows", f"{rows:,.0f}", how), whole]


def _time(days: float) -> str:
    if days >= 1:
        return f"{days:.1f} days"
    return f"{days * 24:.1f} hours" if days * 24 >= 1 else f"{days * 24 * 60:.2g} minutes"

"""What a recipe's values must be together and on this disk; each check yields problems and none stops at the first."""

from collections.abc import Iterator
from pathlib import Path

from healthgpt.errors import closest
from healthgpt.tasks import TASKS
from healthgpt.training.recipe import Recipe
from healthgpt.training.stages import STAGES
from healthgpt.variants import VARIANTS

OWN_BASE = "released"
"""The variant of models imported on a base that is none of the table's; they can be tuned, not made anew."""
FAMILIES = ("comprehension", "generation")


def problems_of(recipe: Recipe) -> list[str]:
    """All that is wrong with values that are each allowed by themselves, ``where: what`` each; no file is looked at."""
    return [*_names(recipe), *_start(recipe), *_data(recipe), *_optimisation(recipe), *_hardware(recipe)]


def _names(recipe: Recipe) -> Iterator[str]:
    if recipe.variant not in VARIANTS and not (recipe.variant == OWN_BASE and recipe.stage.startswith("finetune")):
        yield f"variant: unknown '{recipe.variant}', {closest(recipe.variant, list(VARIANTS))}"
    known = {"tasks": list(TASKS), "families": list(FAMILIES)}
    for number, part in enumerate(recipe.data):
        for field, names in known.items():
            for name in getattr(part, field):
                if name not in names:
                    yield f"data.{number}.{field}: unknown '{name}', {closest(name, names)}"


def _start(recipe: Recipe) -> Iterator[str]:
    start, stage = recipe.start, STAGES[recipe.stage]
    published = start.base is not None or start.tower is not None
    ways = [bool(start.model), start.parts_of is not None, published]
    if sum(ways) != 1:
        yield "start: give one of model, parts_of, or base and tower"
    if published and (start.base is None or start.tower is None):
        yield f"start.{'tower' if start.tower is None else 'base'}: missing, base and tower belong together"
    if start.codec is not None and not published:
        yield "start.codec: only beside base and tower; a model brings its own"
    if published and start.codec is None and "generation" in stage.families:
        yield f"start.codec: missing, {recipe.stage} draws"
    if not start.model and not stage.fresh:
        yield f"start: {recipe.stage} goes on from trained weights, give start.model"
    if recipe.stage.startswith("finetune") and len(start.model) > 1:
        yield f"start.model: {recipe.stage} goes on from one model, found {len(start.model)}"
    if start.model and recipe.grains != "published":
        yield "grains: fixed by the model a run starts from; only with parts_of or base"
    if recipe.plugin is not None:
        yield from _plugin(recipe)


def _plugin(recipe: Recipe) -> Iterator[str]:
    plugin = recipe.plugin
    assert plugin is not None
    if not any(group.endswith("plugin") for group in STAGES[recipe.stage].trains):
        yield f"plugin: {recipe.stage} trains none"
    if recipe.stage.startswith(("finetune", "stage3-generation")):
        yield f"plugin: {recipe.stage} goes on with the plugin of the model it starts from"
    if plugin.kind == "lora" and plugin.experts != 1:
        yield f"plugin.experts: LoRA has none, found {plugin.experts}"
    if plugin.rank % plugin.experts:
        yield f"plugin.rank: {plugin.rank} is not a multiple of {plugin.experts} experts"


def _data(recipe: Recipe) -> Iterator[str]:
    stage = STAGES[recipe.stage]
    if not recipe.data:
        yield "data: empty, give a list of parts with a folder or an export each"
    shares = [part.share for part in recipe.data if part.share is not None]
    if shares and len(shares) < len(recipe.data):
        yield "data: all parts have a share or none has"
    if shares and abs(sum(shares) - 1) > 1e-6:
        yield f"data: shares add up to {sum(shares):g}, not 1"
    if shares and recipe.optimisation.epochs is not None:
        yield "optimisation.epochs: parts mixed by share have no common end; give steps"
    for number, part in enumerate(recipe.data):
        if (part.folder is None) == (part.export is None):
            yield f"data.{number}: give either a folder or an export"
        families: set[str] = {TASKS[task].family for task in part.tasks if task in TASKS}
        families |= {name for name in part.families if name in FAMILIES}
        if families and not families & set(stage.families):
            yield f"data.{number}: holds only {', '.join(sorted(families))}, which {recipe.stage} does not train"


def _optimisation(recipe: Recipe) -> Iterator[str]:
    plan = recipe.optimisation
    if (plan.epochs is None) == (plan.steps is None):
        yield "optimisation: give either epochs or steps"
    if plan.global_batch % plan.micro_batch:
        yield (
            f"optimisation.micro_batch: {plan.global_batch} rows do not divide into micro-batches of {plan.micro_batch}"
        )
    adapters = [group for group in STAGES[recipe.stage].trains if group.endswith("adapter")]
    if plan.adapter_learning_rate is not None and not adapters:
        yield f"optimisation.adapter_learning_rate: {recipe.stage} trains no adapter"


def _hardware(recipe: Recipe) -> Iterator[str]:
    hardware = recipe.hardware
    if hardware.quantize and hardware.parallel != "ddp":
        yield f"hardware.quantize: quantised weights cannot be sharded by {hardware.parallel}; use ddp"
    if recipe.variant in VARIANTS and recipe.rows.max_length > VARIANTS[recipe.variant].context:
        context = VARIANTS[recipe.variant].context
        yield f"rows.max_length: {recipe.rows.max_length} is more than the {context} of {recipe.variant}"


def missing_files(recipe: Recipe) -> list[str]:
    """What a recipe names and this disk lacks, ``where: what`` each. Hub repositories are not looked for."""
    return [*_missing_data(recipe), *_missing_weights(recipe)]


def _missing_data(recipe: Recipe) -> Iterator[str]:
    for number, part in enumerate(recipe.data):
        if part.export is not None and not part.export.is_dir():
            yield f"data.{number}.export: no folder {part.export}"
        folder = part.folder
        if folder is not None and not folder.is_dir():
            yield f"data.{number}.folder: no folder {folder}, build it with 'healthgpt data build'"
        elif folder is not None and not any((folder / name).is_file() for name in ("manifest.json", "records.jsonl")):
            yield f"data.{number}.folder: {folder} is not a finished data set, no manifest.json in it"


def _missing_weights(recipe: Recipe) -> Iterator[str]:
    start = recipe.start
    for name in (*start.model, *([start.parts_of] if start.parts_of else [])):
        if name not in VARIANTS and not any((Path(name) / place / "config.json").is_file() for place in ("", "model")):
            unfinished = (Path(name) / "run.json").is_file()
            yield f"start: {f'the run in {name} is not finished' if unfinished else f'no model or finished run {name}'}"
    if start.codec is not None and not start.codec.is_file():
        yield f"start.codec: no file {start.codec}"

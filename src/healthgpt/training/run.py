"""A run from its recipe to its model folder, read top-down.

RUN/run.json  groups.json  data.json        what the run is, what trains, what it learns from
RUN/data/  rows/  pictures/  start/         made ready once
RUN/checkpoints/                            to go on from
RUN/journal.jsonl  validation.jsonl  events.jsonl  samples/  logs/      to watch
RUN/model/  report.html                     the result
"""

import json
import shutil
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

from accelerate import Accelerator
from safetensors.torch import load_file

from healthgpt.errors import ModelError, RecipeError
from healthgpt.model.derived_folder import derive, stored
from healthgpt.plugins.store import PluginSpec
from healthgpt.tasks import TASKS, Family, Grain
from healthgpt.training.average import MovingAverage
from healthgpt.training.batches import MicroBatches
from healthgpt.training.checkpoints import AVERAGE, TRAINED, load_checkpoint, resume
from healthgpt.training.distributed import Distribution, Spread, spread, start_accelerator
from healthgpt.training.engine import CHECKPOINTS, State, Training, Watcher, measure_held_out, optimise
from healthgpt.training.features import FeatureStore, FrozenFeatures, tower_print
from healthgpt.training.journal import Journal
from healthgpt.training.objective import ResponseLoss
from healthgpt.training.order import Order
from healthgpt.training.prepare import RunData, prepare_data
from healthgpt.training.provenance import Provenance, hardware_here, refuse_other_recipe, settle_run, versions
from healthgpt.training.recipe import Recipe
from healthgpt.training.report.page import write_report
from healthgpt.training.samples import Sampler
from healthgpt.training.schedule import steps_of
from healthgpt.training.stages import STAGES
from healthgpt.training.start import Beginning, begin
from healthgpt.training.training_model import PRECISIONS, TrainingModel, load_for_training, prompt_builder
from healthgpt.vq.store import load_codec
from healthgpt.whole_folder import held_alone, whole_folder


def train(recipe: Recipe, run: Path, watcher: Watcher, *, workers: int = 1, cpu: bool = False) -> Path:
    """Train by a recipe in the folder ``run``, or go on there; returns the finished model folder.

    Raises ``RecipeError``, ``DataError`` and ``ModelError`` before anything trains, ``OutputError`` when the disk is
    full (the last checkpoint is then whole), ``DivergedError`` when the guard ends it.
    """
    refuse_other_recipe(run, recipe)
    _check_trackers(recipe)
    hardware = recipe.hardware
    settings = Distribution(hardware.precision, hardware.parallel, hardware.activation_checkpointing, cpu)
    accelerator = start_accelerator(settings, trackers=recipe.watch.trackers, folder=run / "logs")
    _divides(recipe, accelerator.num_processes)
    busy = RecipeError(
        f"another command is training in {run}", next_step="wait for its end, or choose another --output"
    )
    run.mkdir(parents=True, exist_ok=True)
    with held_alone(run, busy) if accelerator.is_main_process else nullcontext():
        try:
            return _train(recipe, run, watcher, accelerator, settings, workers)
        finally:
            if accelerator.is_main_process and not any(path.is_file() for path in run.rglob("*")):
                shutil.rmtree(run, ignore_errors=True)  # refused before anything was written


def _train(
    recipe: Recipe, run: Path, watcher: Watcher, accelerator: Accelerator, settings: Distribution, workers: int
) -> Path:
    with accelerator.main_process_first():
        beginning = begin(recipe, run)
        builder = prompt_builder(beginning, _patches(beginning))
        data = prepare_data(recipe, run, beginning, builder, accelerator.device, workers, watcher.doing)
    provenance = Provenance(
        recipe=recipe, data=data.fingerprint, start=beginning.fingerprint, started_from=str(beginning.folder),
        versions=versions(), hardware=hardware_here(), processes=accelerator.num_processes,
    )  # fmt: skip
    with accelerator.main_process_first():
        for note in settle_run(run, provenance):
            watcher.noted(note)
    if data.validation is None:
        watcher.noted("the data has no validation records: nothing is validated, and no checkpoint is the best")
    if (run / "model" / "config.json").is_file():
        watcher.noted(f"this run is finished; remove {run / 'model'} to finish it again")
        return run / "model"
    watcher.doing("loading the model", 0, 1)
    model = load_for_training(recipe, beginning, accelerator.device)
    watcher.doing("loading the model", 1, 1)
    table = model.table()
    watcher.trains(table)
    if accelerator.is_main_process:
        (run / "groups.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
        found = {split: one.model_dump() for split, one in data.found.items()}
        (run / "data.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    spread_loss = _spread(recipe, accelerator, settings, model)
    training = _training(recipe, run, spread_loss, beginning, data, model, provenance.fingerprint, watcher)
    accelerator.init_trackers("healthgpt")
    _go_on(training)
    try:
        optimise(training)
        if recipe.watch.finish_with == "best":
            _go_to_best(training)
        with training.average.in_place() if training.average is not None else nullcontext():
            measure_held_out(training)
        with accelerator.main_process_first():
            if accelerator.is_main_process:
                _finish(training, beginning)
    finally:  # what was seen until then is told even when the guard ends a run
        accelerator.end_training()
        if accelerator.is_main_process:
            write_report(run)
    return run / "model"


def _spread(recipe: Recipe, accelerator: Accelerator, settings: Distribution, model: TrainingModel) -> Spread:
    loss = ResponseLoss(model.model, packed_to=recipe.rows.max_length if recipe.hardware.packing else None)
    return spread(accelerator, settings, loss, lambda trained: model.optimizer(trained, recipe.optimisation.beta2))


def _go_on(training: Training) -> None:
    """Put a run back to where its last checkpoint left it, if there is one."""
    average = None if training.average is None else training.average.tensors
    found = resume(training.run / CHECKPOINTS, training.spread, State, average)
    if found is None:
        return
    step, state = found
    if state.fingerprint != training.state.fingerprint:
        raise ModelError(
            f"the checkpoints in {training.run} are of another run", found=f"fingerprint {state.fingerprint}",
            allowed=f"fingerprint {training.state.fingerprint}", next_step="choose another --output",
        )  # fmt: skip
    training.take_up(state)
    training.journal.go_back(step)
    training.journal.event(step, "went on")
    training.watcher.noted(f"going on from step {step} of {training.steps}")


def _check_trackers(recipe: Recipe) -> None:
    lacking = [name for name in recipe.watch.trackers if find_spec(name) is None]
    if lacking:
        raise RecipeError(
            f"watch.trackers: {lacking[0]} is not installed", next_step=f"pip install {lacking[0]}, or leave it out"
        )


def _divides(recipe: Recipe, processes: int) -> None:
    plan = recipe.optimisation
    if plan.global_batch % (plan.micro_batch * processes):
        fitting = [n for n in range(1, plan.global_batch + 1) if plan.global_batch % (n * processes) == 0]
        raise RecipeError(
            "the global batch does not divide over the processes",
            found=f"{plan.global_batch} rows, micro-batches of {plan.micro_batch}, {processes} processes",
            allowed=f"optimisation.micro_batch: {', '.join(map(str, fitting))}" if fitting
            else f"at most {plan.global_batch} processes",
        )  # fmt: skip


def _patches(beginning: Beginning) -> int:
    """Visual tokens per image."""
    described = json.loads((beginning.folder / "vision" / "config.json").read_text(encoding="utf-8"))
    return int(described["image_size"] // described["patch_size"]) ** 2


def _training(
    recipe: Recipe,
    run: Path,
    spread_loss: Spread,
    beginning: Beginning,
    data: RunData,
    model: TrainingModel,
    fingerprint: str,
    watcher: Watcher,
) -> Training:
    """Everything the loop works with, where the run stands."""
    config, accelerator = beginning.config, spread_loss.accelerator
    builder = prompt_builder(beginning, model.model.vision.tower.patches)
    steps = steps_of(recipe.optimisation, len(data.train))
    journal = Journal(run, writes=accelerator.is_main_process)
    features = FrozenFeatures(
        model.model.vision, config.preprocessing, accelerator.device, _stores(recipe, data, beginning)
    )
    has_codec = (beginning.folder / "vqgan").is_dir()
    codec = load_codec(beginning.folder / "vqgan").to(accelerator.device) if has_codec else None
    batches = MicroBatches(data.train, [], builder, config.preprocessing, recipe.rows.max_length)
    decay = recipe.optimisation.average
    return Training(
        recipe, run, spread_loss, model, data, batches, features,
        Sampler(model.model, config, builder, codec), _order(recipe, data), steps,
        journal, watcher, State(fingerprint=fingerprint),
        None if decay is None else MovingAverage(spread_loss.trained, decay),
    )  # fmt: skip


def _order(recipe: Recipe, data: RunData) -> Order:
    shares = [part.share for part in recipe.data if part.share is not None]
    lengths = [data.train.lengths[data.train.parts == part] for part in range(len(recipe.data))]
    kept = [part for part in lengths if len(part)]
    return Order(kept, recipe.optimisation.global_batch, recipe.seed, shares or None)


def _stores(recipe: Recipe, data: RunData, beginning: Beginning) -> dict[Grain, FeatureStore] | None:
    """Where the tower's features are kept, by tower, preprocessing, precision and hidden state: beside the first data
    set, so that other runs on it find them."""
    if not recipe.hardware.cache_features:
        return None
    config = beginning.config
    folder = data.train.pictures.folders[0] / "features"
    tower = tower_print(config.hashes, config.preprocessing, PRECISIONS[recipe.hardware.precision])
    states = {grain: state if isinstance(state, tuple) else (state,) for grain, state in config.grains.items()}
    return {grain: FeatureStore(folder / f"{tower}-{'+'.join(map(str, state))}") for grain, state in states.items()}


def _go_to_best(training: Training) -> None:
    """Back to the weights whose validation loss was lowest."""
    state = training.state
    if state.best_step is not None and state.best_step != state.step:
        average = None if training.average is None else training.average.tensors
        load_checkpoint(_checkpoint_of(training, state.best_step), training.spread, State, average)
        training.watcher.noted(f"finished with the weights of step {state.best_step}, whose validation loss was lowest")
        state.step = state.best_step


def _checkpoint_of(training: Training, step: int) -> Path:
    return training.run / CHECKPOINTS / f"step-{step:06d}"


def _finish(training: Training, beginning: Beginning) -> None:
    """The model folder: what was trained, in 32 bits, on what the run began with."""
    recipe, config, step = training.recipe, beginning.config, training.state.step
    tensors = load_file(_checkpoint_of(training, step) / (AVERAGE if training.average is not None else TRAINED))
    with whole_folder(training.run / "model") as partial:
        derive(
            beginning.folder, config, partial, stored(tensors), _specs_after(training), name=recipe.name,
            stages=(*config.stages, recipe.stage),
            provenance=f"{config.provenance}; {recipe.stage} by recipe {recipe.name}, {step} steps",
        )  # fmt: skip


def _specs_after(training: Training) -> dict[Family, PluginSpec]:
    """The plugins that trained, with the tasks they have now been trained for."""
    trained = training.data.found["train"].records
    specs = {}
    for family, spec in training.model.specs.items():
        if f"{family} plugin" in STAGES[training.recipe.stage].trains:
            own = {*spec.tasks, *(task for task in trained if TASKS[task].family == family)}
            specs[family] = spec.model_copy(update={"tasks": tuple(task for task in TASKS if task in own)})
    return specs

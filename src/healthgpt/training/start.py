"""The weights a run begins with, as a model folder: an earlier one as it is, several joined, or fresh parts.

RUN/start is written, whole or not at all, where no folder holds just these weights; a run that goes on finds it there.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from healthgpt.errors import RecipeError
from healthgpt.inference.session import model_folder
from healthgpt.model.build import FAMILIES
from healthgpt.model.checkpoint import ModelConfig, plugin_specs_of, read_config, verify
from healthgpt.model.derived_folder import StoredTensors, derive, read_stored
from healthgpt.model.published import GRAINS
from healthgpt.plugins.store import PluginSpec
from healthgpt.tasks import Family
from healthgpt.training.fresh_parts import assemble, fresh_plugin, renew, specs_for
from healthgpt.training.parameters import belongs
from healthgpt.training.recipe import Recipe
from healthgpt.training.stages import STAGES, check_history
from healthgpt.whole_folder import whole_folder

START = "start"
PRINTS = {"tokenizer": ("tokenizer",), "backbone": ("backbone",), "vision tower": ("vision/model", "vision/config")}
"""Parts that runs of one model share, by the beginnings of their files' names."""


@dataclass(frozen=True)
class Beginning:
    """A model folder to train from, with its description."""

    folder: Path
    config: ModelConfig

    @property
    def fingerprint(self) -> str:
        """Hash over all its files' hashes and where its backbone is published."""
        source = self.config.backbone_source
        content = json.dumps([sorted(self.config.hashes.items()), source and [source.repo, source.revision]])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def fingerprint_of(config: ModelConfig, part: str) -> str:
    """Hash over one of ``PRINTS`` of a model."""
    files = sorted(pair for pair in config.hashes.items() if pair[0].startswith(PRINTS[part]))
    source = config.backbone_source if part == "backbone" else None
    content = json.dumps([files, source and [source.repo, source.revision]])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def finished_folder(name: str) -> Path:
    """The model folder of a name, a folder, or the folder of a finished run."""
    model = Path(name) / "model"
    return model if (model / "config.json").is_file() else model_folder(name)


def begin(recipe: Recipe, run: Path) -> Beginning:
    """Where a run's weights come from, made in ``run`` where there is no folder of them yet.

    Raises ``RecipeError`` for weights of another variant, tokenizer or stage (with both fingerprints), for a drawing
    stage without a codec, and ``ModelError`` for a damaged folder.
    """
    made = run / START
    if not (made / "config.json").is_file():
        if len(recipe.start.model) == 1 and recipe.plugin is None:
            made = finished_folder(recipe.start.model[0])
        elif recipe.start.model:
            _join(recipe, made)
        elif recipe.start.parts_of is not None:
            renew(recipe, finished_folder(recipe.start.parts_of), made)
        else:
            assemble(recipe, made)
    beginning = Beginning(made, read_config(made))
    _check(recipe, beginning)
    return beginning


def _check(recipe: Recipe, beginning: Beginning) -> None:
    config, stage = beginning.config, STAGES[recipe.stage]
    if config.variant != recipe.variant:
        raise RecipeError(
            f"{beginning.folder} holds another variant",
            found=f"{config.variant}, fingerprint {beginning.fingerprint}", allowed=recipe.variant,
            next_step=f"start from weights of {recipe.variant}, or copy the recipe of {config.variant}",
        )  # fmt: skip
    check_history(recipe.stage, config.stages, f"{beginning.folder} (fingerprint {beginning.fingerprint})")
    lacking = [family for family in stage.families if family not in config.plugins]
    if lacking:
        raise RecipeError(
            f"{recipe.stage} needs a {lacking[0]} plugin", found=f"{beginning.folder} without one",
            next_step="add one with 'healthgpt plugins add', or start from the run that made it",
        )  # fmt: skip
    if "generation" in stage.families and not (beginning.folder / "vqgan").is_dir():
        raise RecipeError(
            f"{recipe.stage} learns to draw, but {beginning.folder} has no codec",
            next_step="import the release again with its VQGAN (docs/how-to/published-weights.md)",
        )
    if recipe.rows.max_length > config.context:
        raise RecipeError("rows.max_length is more than the model's context", found=str(recipe.rows.max_length),
                          allowed=str(config.context))  # fmt: skip


def _join(recipe: Recipe, made: Path) -> None:
    """The first model with what the others' stages trained laid over it, and new plugins if the recipe says so."""
    folders = [finished_folder(name) for name in recipe.start.model]
    configs = [read_config(folder) for folder in folders]
    for folder, config in zip(folders, configs, strict=True):
        verify(folder, config)
        for part in PRINTS:
            ours, theirs = fingerprint_of(configs[0], part), fingerprint_of(config, part)
            if ours != theirs:
                raise RecipeError(
                    f"{folder} and {folders[0]} cannot be joined: another {part}",
                    found=f"{part} {theirs}", allowed=f"{part} {ours}", next_step="train both from the same start",
                )  # fmt: skip
    first = configs[0]
    stages, plugins, grains = list(first.stages), dict(first.plugins), dict(first.grains)
    specs: dict[Family, PluginSpec] = {}
    changed = StoredTensors()
    for folder, config in zip(folders[1:], configs[1:], strict=True):
        groups = {group for stage in config.stages if stage not in stages for group in _trains(stage)}
        theirs_stored = read_stored(folder, config)
        new = [family for family in config.plugins if family not in plugins]
        groups |= {f"{family} plugin" for family in new} | {f"{GRAINS[family][0]} adapter" for family in new}
        _lay_over(changed, theirs_stored, groups, config.plugins)
        specs |= {family: plugin_specs_of(folder)[family] for family in new}
        plugins |= {family: config.plugins[family] for family in new}
        grains |= {grain: state for grain, state in config.grains.items() if grain not in grains}
        stages += [stage for stage in config.stages if stage not in stages]
    if recipe.plugin is not None:
        families = [family for family in FAMILIES if f"{family} plugin" in STAGES[recipe.stage].trains]
        fresh_specs = {family: specs_for(recipe)[family] for family in families}
        changed.plugins |= {plugins[family]: fresh_plugin(recipe, folders[0], family) for family in families}
        specs |= fresh_specs
    with whole_folder(made) as partial:
        derive(folders[0], first, partial, changed, specs, stages=tuple(stages), plugins=plugins, grains=grains)


def _trains(stage: str) -> tuple[str, ...]:
    return STAGES[stage].trains if stage in STAGES else ()  # type: ignore[index]


def _lay_over(changed: StoredTensors, theirs: StoredTensors, groups: set[str], plugins: dict[Family, str]) -> None:
    """Those of ``theirs`` that belong to a group."""

    def trained(name: str) -> bool:
        return any(belongs(name, group, plugins) for group in groups)

    changed.fusion |= {key: rows for key, rows in theirs.fusion.items() if trained(f"fusion.{key}")}
    changed.adapters |= {key: rows for key, rows in theirs.adapters.items() if trained(f"vision.adapters.{key}")}
    for name, tensors in theirs.plugins.items():
        if trained(f"backbone.0.adapters.{name}.0"):
            changed.plugins[name] = tensors

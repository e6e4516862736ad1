"""The bundled recipes hold the paper's numbers and differ only in what they are about; a file's faults come at once."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from healthgpt.errors import RecipeError
from healthgpt.training.recipe import PluginShape, Recipe
from healthgpt.training.recipe_files import FROM_NOTHING, load_recipe, recipe_names, recipe_path
from healthgpt.training.stages import STAGE_NAMES, STAGES
from healthgpt.variants import VARIANTS

NAMES = [name for name in recipe_names() if name != FROM_NOTHING]
EVERYWHERE = {
    "stage1-comprehension", "stage1-generation", "stage2", "stage3-comprehension", "stage3-generation", "mixed",
    "stage3-comprehension-lora", "stage3-comprehension-moelora", "hvp-swapped-comprehension",
    "hvp-swapped-generation", "hvp-merged-comprehension", "hvp-merged-generation", "finetune-comprehension",
    "finetune-generation",
}  # fmt: skip
RELEASED = {
    "m3": {"continue-comprehension", "continue-generation"},
    "l14": {"continue-comprehension"},
    "xl32": {"continue-comprehension"},
}

# (adapter's rate, the other rate, global batch, dropout, schedule); None where the paper has a dash
TABLE_8 = {
    ("m3", "stage1-comprehension"): (1e-3, None, 256, 0.0, "warm-up"),
    ("m3", "stage1-generation"): (2e-5, 2e-4, 64, 0.05, "warm-up"),
    ("m3", "stage2"): (None, 2e-4, 32, 0.05, "constant"),
    ("m3", "stage3-comprehension"): (2e-5, 2e-4, 128, 0.05, "warm-up"),
    ("m3", "stage3-generation"): (2e-5, 2e-4, 64, 0.05, "warm-up"),
    ("l14", "stage1-comprehension"): (1e-3, None, 256, 0.0, "warm-up"),
    ("l14", "stage1-generation"): (2e-5, 1e-4, 64, 0.05, "warm-up"),
    ("l14", "stage2"): (None, 2e-4, 32, 0.05, "constant"),
    ("l14", "stage3-comprehension"): (2e-5, 2e-4, 128, 0.05, "warm-up"),
    ("l14", "stage3-generation"): (2e-5, 2e-4, 64, 0.05, "warm-up"),
}
TABLE_7 = {
    "stage1-comprehension": {"abstract adapter"},
    "stage1-generation": {"concrete adapter", "generation plugin", "image rows"},
    "stage2": {"fusion"},
    "stage3-comprehension": {"comprehension plugin", "abstract adapter"},
    "stage3-generation": {"generation plugin", "concrete adapter"},
}
DATA = {
    "stage1-comprehension": "stage1-comprehension",
    "stage1-generation": "stage1-generation",
    "stage2": "mixed-47k",
    "stage3-comprehension": "stage3-comprehension",
    "stage3-generation": "stage3-generation",
}


def bundled(name: str) -> Recipe:
    return load_recipe(recipe_path(name), on_this_disk=False)


def published(recipe: Recipe) -> tuple[float | None, float | None, int, float, str]:
    """A recipe's row of table 8."""
    plan, groups = recipe.optimisation, STAGES[recipe.stage].trains
    adapters = [group for group in groups if group.endswith("adapter")]
    adapter = plan.learning_rate if plan.adapter_learning_rate is None else plan.adapter_learning_rate
    others = len(groups) > len(adapters)
    return (
        adapter if adapters else None, plan.learning_rate if others else None, plan.global_batch, plan.dropout,
        plan.schedule,
    )  # fmt: skip


def test_each_variant_has_every_recipe():
    for variant in ("nano", "m3", "l14", "xl32"):
        stems = {name.removeprefix(f"{variant}-") for name in NAMES if name.startswith(f"{variant}-")}
        assert stems == EVERYWHERE | RELEASED.get(variant, set())


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_recipe_is_whole(name):
    recipe = bundled(name)
    assert recipe.name == name
    assert recipe.variant == name.partition("-")[0]
    assert recipe.about
    assert recipe.rows.max_length == (1024 if recipe.variant == "nano" else 2048)
    if recipe.start.base is not None:
        assert recipe.start.base == VARIANTS[recipe.variant].backbone


@pytest.mark.parametrize(("variant", "stage"), TABLE_8)
def test_tables_7_and_8(variant, stage):
    recipe = bundled(f"{variant}-{stage}")
    assert published(recipe) == TABLE_8[variant, stage]
    assert recipe.stage == stage
    assert set(STAGES[stage].trains) == TABLE_7[stage]
    assert [str(part.folder) for part in recipe.data] == [f"data/{DATA[stage]}"]


@pytest.mark.parametrize("stage", TABLE_7)
def test_xl32_follows_l14(stage):
    assert published(bundled(f"xl32-{stage}")) == TABLE_8["l14", stage]


@pytest.mark.parametrize("variant", ["nano", "m3", "l14", "xl32"])
def test_ablations_differ_in_one_thing_only(variant):
    size = VARIANTS[variant].comprehension
    own = {"name", "about"}
    stage3 = bundled(f"{variant}-stage3-comprehension")
    for kind, experts in (("lora", 1), ("moelora", size.experts)):
        recipe = bundled(f"{variant}-stage3-comprehension-{kind}")
        assert recipe.plugin == PluginShape(kind=kind, rank=size.rank, experts=experts, alpha=size.alpha)
        assert recipe.model_dump(exclude=own | {"plugin"}) == stage3.model_dump(exclude=own | {"plugin"})
    for grains in ("swapped", "merged"):
        for family in ("comprehension", "generation"):
            recipe = bundled(f"{variant}-hvp-{grains}-{family}")
            stage1 = bundled(f"{variant}-stage1-{family}")
            assert recipe.grains == grains
            assert recipe.model_dump(exclude=own | {"grains"}) == stage1.model_dump(exclude=own | {"grains"})


@pytest.mark.parametrize("variant", ["nano", "m3", "l14", "xl32"])
def test_each_stage_starts_from_runs_that_came_before(variant):
    been: set[str] = set()
    for stage in STAGE_NAMES:
        if stage == "mixed":
            continue
        recipe = bundled(f"{variant}-{stage}")
        runs = [Path(name).name for name in recipe.start.model if name.startswith("runs/")]
        assert {name.removeprefix(f"{variant}-") for name in runs} <= been
        been.add(stage)
    history = {"stage1-comprehension", "stage1-generation", "stage2", "stage3-comprehension", "stage3-generation"}
    assert history <= been


def faults(tmp_path: Path, **changes: Any) -> str:
    """What is told of a bundled recipe with these blocks changed; None takes a block out."""
    content = yaml.safe_load(recipe_path("m3-stage3-comprehension").read_text(encoding="utf-8")) | changes
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}), "utf-8")
    with pytest.raises(RecipeError) as fault:
        load_recipe(file)
    return str(fault.value)


OPTIMISATION = {"learning_rate": 1e-4, "global_batch": 8, "micro_batch": 4, "epochs": 1}


def test_a_misspelt_key_is_told_with_the_closest(tmp_path):
    told = faults(tmp_path, optimisation={**OPTIMISATION, "adapter_learing_rate": 1e-5})
    assert "optimisation.adapter_learing_rate: unknown key, did you mean 'adapter_learning_rate'?" in told
    assert "data.0.foldr: unknown key, did you mean 'folder'?" in faults(tmp_path, data=[{"foldr": "x"}])


def test_a_wrong_type_is_told_with_what_was_found(tmp_path):
    told = faults(tmp_path, optimisation={**OPTIMISATION, "global_batch": "many"})
    assert "optimisation.global_batch: " in told
    assert "found 'many'" in told


def test_problems_of_several_blocks_come_in_one_error(tmp_path):
    told = faults(
        tmp_path, optimisation={**OPTIMISATION, "micro_batch": 3}, rows={"max_length": 9999},
        hardware={"precission": "bf16"}, start={"model": "runs/none"},
    )  # fmt: skip
    assert "has 5 problems" in told
    for problem in (
        "hardware.precission: unknown key, did you mean 'precision'?",
        "optimisation.micro_batch: 8 rows do not divide into micro-batches of 3",
        "rows.max_length: 9999 is more than the 4096 of m3",
        "data.0.folder: no folder data/stage3-comprehension, build it with 'healthgpt data build'",
        "start: no model or finished run runs/none",
    ):
        assert problem in told


@pytest.mark.parametrize("changes", [{"stage": "stage4"}, {"variant": None}])
def test_nothing_is_said_of_what_a_wrong_stage_or_variant_would_decide(tmp_path, changes):
    assert "has 1 problem;" in faults(tmp_path, **changes)


def test_an_unknown_recipe_is_told_with_the_closest():
    with pytest.raises(RecipeError, match="did you mean 'm3-stage2'"):
        recipe_path("m3-stage-2")

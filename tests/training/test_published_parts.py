"""Training from published files: from language model, tower and VQGAN up, and on from released weights."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_run import Recorder, tiny_data, tiny_recipe

from healthgpt.errors import RecipeError
from healthgpt.inference.released import ReleasedFiles, Untold, import_files
from healthgpt.inference.session import Session
from healthgpt.model.checkpoint import load_model, plugin_specs_of, read_config
from healthgpt.training.parameters import belongs
from healthgpt.training.run import train
from healthgpt.variants import VARIANTS, PluginSize

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "golden"
pytestmark = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="the small published-style weights (shared/golden) are not beside this checkout"
)
M3 = GOLDEN / "m3"
PARTS = {"base": str(M3 / "base"), "tower": str(GOLDEN / "clip"), "codec": str(GOLDEN / "vqgan" / "last.ckpt")}
LONG = {"rows": {"max_length": 256}}


@pytest.fixture(scope="module", autouse=True)
def small_m3() -> Iterator[None]:
    """M3's row at the size of the golden files."""
    VARIANTS["small-m3"] = replace(
        VARIANTS["m3"], name="small-m3", hidden_size=56, layers=3, mlp_size=112, heads=4, kv_heads=4,
        comprehension=PluginSize(8, 4, 16), generation=PluginSize(16, 4, 32),
    )  # fmt: skip
    yield
    del VARIANTS["small-m3"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden release as a model folder."""
    folder = tmp_path_factory.mktemp("released") / "model"
    folder.mkdir()
    files = ReleasedFiles(
        M3 / "base", GOLDEN / "clip",
        {"comprehension": M3 / "com_hlora_weights.bin", "generation": M3 / "gen_hlora_weights.bin"},
        M3 / "fusion_layer_weights.bin", GOLDEN / "vqgan" / "last.ckpt",
    )  # fmt: skip
    import_files(folder, "small", files, Untold("phi3_instruct", {"comprehension": 16, "generation": 32}))
    return folder


def test_stages_from_published_parts_end_in_a_model_that_does_both(data, tmp_path) -> None:
    runs: dict[str, Path] = {}
    for stage, start in (
        ("stage1-comprehension", PARTS),
        ("stage1-generation", PARTS),
        ("stage2", ["stage1-comprehension", "stage1-generation"]),
        ("stage3-comprehension", ["stage2"]),
        ("stage3-generation", ["stage3-comprehension"]),
    ):
        begun = start if isinstance(start, dict) else {"model": [str(runs[name]) for name in start]}
        runs[stage] = tmp_path / stage
        recipe = tiny_recipe(begun, data, name=stage, stage=stage, variant="small-m3", **LONG)
        train(recipe, runs[stage], Recorder(), cpu=True)
    first = read_config(runs["stage1-comprehension"] / "model")
    assert list(first.plugins) == ["comprehension"]  # what a stage does not train is not written
    session = Session.from_pretrained(runs["stage3-generation"] / "model", device="cpu")
    picture = data / "images" / "0.png"
    assert session.ask(picture, "is there a nodule", max_new_tokens=3).task
    assert session.generate("reconstruct", picture).pixels.shape[:2] == (64, 64)


def test_a_base_of_another_size_is_refused(data, tmp_path) -> None:
    recipe = tiny_recipe(PARTS, data, stage="stage1-generation", variant="l14", **LONG)
    with pytest.raises(RecipeError, match="is not the language model of l14; found width 56, 3 layers"):
        train(recipe, tmp_path / "run", Recorder(), cpu=True)


@pytest.mark.parametrize("family", ["comprehension", "generation"])
def test_released_weights_go_on_learning(released, data, tmp_path, family) -> None:
    assert read_config(released).variant == "released"
    recipe = tiny_recipe(released, data, variant="released", stage=f"finetune-{family}", **LONG)
    model = train(recipe, tmp_path / "run", Recorder(), cpu=True)
    before, after = load_model(released)[0].state_dict(), load_model(model)[0].state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    grain = {"comprehension": "abstract", "generation": "concrete"}[family]
    assert all(belongs(name, f"{family} plugin") or belongs(name, f"{grain} adapter") for name in changed)
    assert read_config(model).stages[-1] == f"finetune-{family}"
    tasks = {one: spec.tasks for one, spec in plugin_specs_of(model).items()}
    assert "ct" in tasks["comprehension"]
    assert tasks["generation"] == (("ct-to-mri", "reconstruct") if family == "generation" else ("reconstruct",))

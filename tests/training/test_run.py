"""A run from recipe to model folder: what trains and nothing else, what is left behind, and what stops it early."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_run import Recorder, tiny_data, tiny_folder, tiny_in_table, tiny_recipe

from healthgpt.data.codes import codes_of
from healthgpt.data.collate import right_padded
from healthgpt.data.shards import picture_of, records_of
from healthgpt.errors import DataError, RecipeError
from healthgpt.inference.session import Session
from healthgpt.model.checkpoint import load_model, plugin_specs_of, read_config, sha256_of, verify
from healthgpt.training import run as run_module
from healthgpt.training.objective import response_loss
from healthgpt.training.parameters import belongs
from healthgpt.training.run import train
from healthgpt.training.stages import STAGE_NAMES, STAGES
from healthgpt.whole_folder import held_alone

FIRST = ("stage1-comprehension", "stage1-generation")


@pytest.fixture(scope="module", autouse=True)
def tiny():
    with tiny_in_table():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tiny_data(tmp_path_factory.mktemp("data") / "set")


def start_for(stage: str, folder: Path) -> dict[str, str]:
    """Weights a stage may start from."""
    row = STAGES[stage]
    if row.fresh:
        return {"parts_of": str(tiny_folder(folder))}
    return {"model": str(tiny_folder(folder, stages=row.needs))}


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_a_stage_trains_exactly_its_groups(stage, data, tmp_path) -> None:
    recipe = tiny_recipe(start_for(stage, tmp_path / "base"), data, stage=stage)
    watcher = Recorder()
    model = train(recipe, tmp_path / "run", watcher, cpu=True)
    begun = tmp_path / "run" / "start"
    before, config, _ = load_model(begun if begun.is_dir() else tmp_path / "base")
    after, described, _ = load_model(model)
    verify(model, described)
    changed = {
        name
        for (name, old), new in zip(before.state_dict().items(), after.state_dict().values(), strict=True)
        if not torch.equal(old, new)
    }
    for name in changed:
        assert any(belongs(name, group) for group in STAGES[stage].trains), f"{name} changed in {stage}"
    for group in STAGES[stage].trains:
        assert any(belongs(name, group) for name in changed), f"{group} did not learn in {stage}"
    table = json.loads((tmp_path / "run" / "groups.json").read_text())
    assert [row["group"] for row in table] == [*STAGES[stage].trains, "frozen"]
    assert table == watcher.table
    assert described.stages == (*config.stages, stage)
    for family, spec in plugin_specs_of(model).items():
        if stage in ("stage1-generation", "mixed") and family == "generation":
            assert spec.tasks == ("ct-to-mri", "reconstruct")  # what the data held, no more
    assert [step.number for step in watcher.steps] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _, _ in watcher.validations] == [0, 3, 6]


def test_the_finished_model_answers_and_draws(data, tmp_path) -> None:
    recipe = tiny_recipe(start_for("mixed", tmp_path / "base"), data, stage="mixed")
    session = Session.from_pretrained(train(recipe, tmp_path / "run", Recorder(), cpu=True), device="cpu")
    picture = data / "images" / "0.png"
    assert session.ask(picture, "is there a nodule", max_new_tokens=3).task
    assert session.generate("reconstruct", picture).pixels.shape[:2] == (16, 16)


def test_the_stages_follow_one_another(data, tmp_path) -> None:
    base = str(tiny_folder(tmp_path / "base"))
    runs = {}
    for stage, start in (
        ("stage1-comprehension", {"parts_of": base}),
        ("stage1-generation", {"parts_of": base}),
        ("stage2", {"model": ["stage1-comprehension", "stage1-generation"]}),
        ("stage3-comprehension", {"model": ["stage2"]}),
        ("stage3-generation", {"model": ["stage2", "stage3-comprehension"]}),
    ):
        if "model" in start:
            start = {"model": [str(runs[name]) for name in start["model"]]}
        runs[stage] = tmp_path / stage
        train(tiny_recipe(start, data, stage=stage, name=stage), runs[stage], Recorder(), cpu=True)
    last, config, _ = load_model(runs["stage3-generation"] / "model")
    reading, _, _ = load_model(runs["stage3-comprehension"] / "model")
    own = {**last.state_dict()}
    for name, tensor in reading.state_dict().items():
        if belongs(name, "comprehension plugin") or belongs(name, "abstract adapter"):
            assert torch.equal(own[name], tensor), name
    assert set(config.stages) == {"stage1-comprehension", "stage1-generation", "stage2", "stage3-comprehension",
                                  "stage3-generation"}  # fmt: skip


def test_a_wrong_start_is_refused_by_name(data, tmp_path) -> None:
    recipe = tiny_recipe(tiny_folder(tmp_path / "base", stages=FIRST[:1]), data, stage="stage2")
    with pytest.raises(
        RecipeError, match=r"stage2 cannot start from .*\(fingerprint \w+\).*train stage1-generation first"
    ):
        train(recipe, tmp_path / "run", Recorder(), cpu=True)
    assert not (tmp_path / "run").exists()
    done = tiny_folder(tmp_path / "done", stages=(*FIRST, "stage2", "stage3-comprehension"))
    with pytest.raises(RecipeError, match="and not through stage2, stage3-comprehension"):
        train(tiny_recipe(done, data, stage="stage2"), tmp_path / "other", Recorder(), cpu=True)
    with pytest.raises(RecipeError, match="holds another variant; found miniature, fingerprint"):
        train(tiny_recipe(done, data, variant="nano"), tmp_path / "third", Recorder(), cpu=True)


def test_a_run_that_is_there_is_not_another_recipe_s(data, tmp_path) -> None:
    base = tiny_folder(tmp_path / "base")
    run = tmp_path / "run"
    first = train(tiny_recipe(base, data), run, Recorder(), cpu=True)
    config = read_config(first)
    watcher = Recorder()
    assert train(tiny_recipe(base, data), run, watcher, cpu=True) == first
    assert "finished" in watcher.notes[0]
    assert read_config(first) == config
    with pytest.raises(RecipeError, match=r"holds another run.*seed: 0 then, 5 now.*allowed: fingerprint"):
        train(tiny_recipe(base, data, seed=5), run, Recorder(), cpu=True)


def test_unusable_images_are_listed_and_too_many_stop_the_run(tmp_path) -> None:
    base, data = tiny_folder(tmp_path / "base"), tiny_data(tmp_path / "set")
    (data / "images" / "1.png").write_bytes(b"no picture")
    (data / "images" / "3.png").unlink()
    with pytest.raises(DataError, match=r"4 of 16 train records have an image that cannot be used.*allowed: 1.0%"):
        train(tiny_recipe(base, data), tmp_path / "run", Recorder(), cpu=True)
    lines = [json.loads(line) for line in (tmp_path / "run" / "quarantine.jsonl").read_text().splitlines()]
    assert {line["record"] for line in lines} == {"1-0", "1-1", "3-0", "3-1"}
    assert all(line["reason"] and line["image"] for line in lines)
    recipe = tiny_recipe(base, data, rows={"quarantine_share": 0.5})
    train(recipe, tmp_path / "patient", Recorder(), cpu=True)
    found = json.loads((tmp_path / "patient" / "data.json").read_text())
    assert found["train"]["quarantined"] == 4
    assert found["train"]["rows"] == 12


def test_targets_that_cannot_be_opened_are_listed_in_whichever_split_they_are(tmp_path) -> None:
    base, data = tiny_folder(tmp_path / "base"), tiny_data(tmp_path / "set")
    (data / "images" / "2-inverse.png").write_bytes(b"no picture")  # of the validation split
    recipe = tiny_recipe(base, data, stage="finetune-generation", rows={"quarantine_share": 0.5})
    train(recipe, tmp_path / "run", Recorder(), cpu=True)
    lines = [json.loads(line) for line in (tmp_path / "run" / "quarantine.jsonl").read_text().splitlines()]
    assert [(line["record"], line["split"], line["image"]) for line in lines] == [
        ("2-ct-to-mri", "validation", "images/2-inverse.png")
    ]


def test_a_response_that_is_too_long_is_refused_or_cut_as_told(data, tmp_path) -> None:
    base = tiny_folder(tmp_path / "base")
    with pytest.raises(RecipeError, match=r"rows are longer than rows.max_length.*too_long: cut"):
        train(tiny_recipe(base, data, rows={"max_length": 16}), tmp_path / "run", Recorder(), cpu=True)
    cut = tiny_recipe(base, data, rows={"max_length": 24, "too_long": "cut"})
    train(cut, tmp_path / "cut", Recorder(), cpu=True)
    found = json.loads((tmp_path / "cut" / "data.json").read_text())
    assert found["train"]["cut"] > 0


def test_micro_batches_change_nothing_but_rounding(data, tmp_path) -> None:
    base = tiny_folder(tmp_path / "base", stages=FIRST)
    losses, weights = [], []
    for size in (1, 2, 4):
        plan = {"global_batch": 4, "micro_batch": size, "dropout": 0.0}
        watcher = Recorder()
        model = train(
            tiny_recipe(base, data, stage="stage2", optimisation=plan), tmp_path / str(size), watcher, cpu=True
        )
        losses.append([step.loss for step in watcher.steps])
        weights.append(load_model(model)[0].fusion.text_head)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] == pytest.approx(losses[2], rel=1e-5)
    assert torch.allclose(weights[0], weights[2], atol=1e-4)


def test_the_first_loss_is_the_mean_over_all_response_tokens(data, tmp_path) -> None:
    base = tiny_folder(tmp_path / "base", stages=FIRST)
    rows = 16 + 16  # of both families
    plan = {"global_batch": rows, "micro_batch": 4, "dropout": 0.0, "steps": 1}
    watcher = Recorder()
    train(tiny_recipe(base, data, stage="stage2", optimisation=plan), tmp_path / "run", watcher, cpu=True)
    found = json.loads((tmp_path / "run" / "data.json").read_text())["train"]
    assert found["rows"] == rows
    model, config, _ = load_model(base)
    session = Session.from_pretrained(base, device="cpu")
    codes = dict(codes_of(data, session.codec))
    prompts, tasks, images = [], [], []
    for record in records_of(data, "train"):
        if record.target_image is None:
            prompts.append(session.builder.reading([(record.instruction, record.response)], has_image=True))
        else:
            drawn = codes[record.target_image].tolist()
            prompts.append(session.builder.drawing(record.instruction, has_image=True, codes=drawn))
        tasks.append(record.task)
        images.append(config.preprocessing.square(picture_of(data, record.image)))
    mean, tokens = response_loss(model, right_padded(prompts, tasks, images, config.preprocessing))
    assert tokens == found["learned"]
    assert watcher.steps[0].loss == pytest.approx(mean.item(), rel=1e-5)


def test_questions_about_one_image_share_a_row(data, tmp_path) -> None:
    base = tiny_folder(tmp_path / "base")
    train(tiny_recipe(base, data, rows={"turns": 4}), tmp_path / "run", Recorder(), cpu=True)
    found = json.loads((tmp_path / "run" / "data.json").read_text())["train"]
    assert found["rows"] == 8
    assert found["records"] == {"ct": 16}


def test_a_quantised_backbone_trains_and_stays_out_of_the_result(data, tmp_path) -> None:
    base = tiny_folder(tmp_path / "base")
    model = train(tiny_recipe(base, data, hardware={"quantize": "int8"}), tmp_path / "run", Recorder(), cpu=True)
    before, after = load_model(base)[0].state_dict(), load_model(model)[0].state_dict()
    for name, tensor in before.items():
        trained = belongs(name, "comprehension plugin") or belongs(name, "abstract adapter")
        assert trained or torch.equal(tensor, after[name]), name


def test_the_best_weights_may_end_a_run(data, tmp_path) -> None:
    base = tiny_folder(tmp_path / "base")
    plan = {"optimisation": {"learning_rate": 0.3, "steps": 12}, "watch": {"validate_every": 2, "finish_with": "best"}}
    watcher = Recorder()
    model = train(tiny_recipe(base, data, **plan), tmp_path / "run", watcher, cpu=True)
    best = [step for step, _, is_best in watcher.validations if is_best][-1]
    kept = load_file(tmp_path / "run" / "checkpoints" / f"step-{best:06d}" / "trained.safetensors")
    after = load_model(model)[0].state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in kept.items())


@pytest.mark.parametrize("kind", ["lora", "moelora"])
def test_other_plugins_train_in_place_of_h_lora(data, tmp_path, kind) -> None:
    base = tiny_folder(tmp_path / "base", stages=(*FIRST, "stage2"))
    plugin = {"kind": kind, "rank": 4, "experts": 1 if kind == "lora" else 2, "alpha": 8}
    recipe = tiny_recipe(base, data, stage="stage3-comprehension", plugin=plugin)
    model, _, specs = load_model(train(recipe, tmp_path / "run", Recorder(), cpu=True))
    assert specs["comprehension"].kind == kind
    assert specs["generation"].kind == "hlora"
    up = [
        tensor for name, tensor in model.state_dict().items() if ".adapters.comprehension." in name and "lora_B" in name
    ]
    assert all(tensor.abs().max() > 0 for tensor in up)


@pytest.mark.parametrize(("grains", "states"), [("swapped", 1), ("merged", (1, -2))])
def test_grains_may_be_swapped_or_merged(data, tmp_path, grains, states) -> None:
    recipe = tiny_recipe(start_for("stage1-comprehension", tmp_path / "base"), data, stage="stage1-comprehension",
                         grains=grains)  # fmt: skip
    config = read_config(train(recipe, tmp_path / "run", Recorder(), cpu=True))
    assert config.grains == {"abstract": states}


def test_two_commands_do_not_train_in_one_folder(data, tmp_path) -> None:
    base, run = tiny_folder(tmp_path / "base"), tmp_path / "run"
    run.mkdir()
    with held_alone(run, RecipeError("never raised")), pytest.raises(RecipeError, match="another command is training"):
        train(tiny_recipe(base, data), run, Recorder(), cpu=True)


@pytest.mark.parametrize("hardware", [{"loader_workers": 1}, {"packing": True}, {"activation_checkpointing": True}])
def test_the_layout_of_the_work_changes_nothing_but_rounding(data, tmp_path, hardware) -> None:
    base = tiny_folder(tmp_path / "base", stages=FIRST)
    losses = []
    for name, own in (("plain", {}), ("other", hardware)):
        watcher = Recorder()
        recipe = tiny_recipe(base, data, stage="stage2", optimisation={"dropout": 0.0}, hardware=own)
        train(recipe, tmp_path / name, watcher, cpu=True)
        losses.append([step.loss for step in watcher.steps])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_half_precision_trains_and_keeps_what_trains_in_32_bits(data, tmp_path) -> None:
    start = start_for("mixed", tmp_path / "base")
    recipe = tiny_recipe(start, data, stage="mixed", hardware={"precision": "bf16"})
    model = train(recipe, tmp_path / "run", Recorder(), cpu=True)
    adapters = load_file(model / "vision" / "adapters.safetensors")
    assert all(tensor.dtype == torch.float32 for tensor in adapters.values())
    assert any((tensor != tensor.bfloat16().float()).any() for tensor in adapters.values())


def test_runs_of_another_origin_are_not_joined(data, tmp_path) -> None:
    ours = tiny_folder(tmp_path / "ours", stages=FIRST[:1])
    other = tiny_folder(tmp_path / "other", stages=FIRST[1:], seed=1)
    recipe = tiny_recipe({"model": [str(ours), str(other)]}, data, stage="stage2")
    with pytest.raises(
        RecipeError, match=r"cannot be joined: another backbone; found backbone \w{16}; allowed: backbone"
    ):
        train(recipe, tmp_path / "run", Recorder(), cpu=True)
    config = read_config(ours)
    for file in config.hashes:
        (other / file).write_bytes((ours / file).read_bytes())
    (other / "tokenizer" / "tokenizer.json").write_text("{}", encoding="utf-8")
    hashes = {**config.hashes, "tokenizer/tokenizer.json": sha256_of(other / "tokenizer" / "tokenizer.json")}
    (other / "config.json").write_text(
        config.model_copy(update={"hashes": hashes, "stages": FIRST[1:]}).model_dump_json(), encoding="utf-8"
    )
    with pytest.raises(RecipeError, match=r"another tokenizer; found tokenizer \w{16}; allowed: tokenizer \w{16}"):
        train(recipe, tmp_path / "again", Recorder(), cpu=True)


def test_a_tracker_that_is_not_installed_is_named(data, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(run_module, "find_spec", lambda name: None)
    recipe = tiny_recipe(tiny_folder(tmp_path / "base"), data, watch={"trackers": ["wandb"]})
    with pytest.raises(RecipeError, match=r"wandb is not installed.*pip install wandb"):
        train(recipe, tmp_path / "run", Recorder(), cpu=True)
    assert not (tmp_path / "run").exists()

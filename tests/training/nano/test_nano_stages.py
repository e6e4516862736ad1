"""Each stage trains exactly its tensors; a killed run goes on to the same bits; the finished model reads and draws."""

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import tiny_recipe
from PIL import Image

from healthgpt.data.dataset import Drawing
from healthgpt.errors import RecipeError
from healthgpt.inference.session import Session
from healthgpt.record import Provenance, Record
from healthgpt.request import Request
from healthgpt.tasks import TASKS
from healthgpt.training.nano import loop, stage1_align, stage2_fuse, stage3_findings, stage3_instruct
from healthgpt.training.nano.parts import PARTS
from healthgpt.training.nano.stage_run import model_after
from healthgpt.training.nano.workspace import Workspace
from healthgpt.training.parameters import belongs, train_only

STAGES = {
    "stage1-comprehension": ((), stage1_align.COMPREHENSION),
    "stage1-generation": ((), stage1_align.GENERATION),
    "stage2": (stage2_fuse.AFTER, stage2_fuse.TRAINED),
    "stage3-comprehension": (stage3_instruct.AFTER, stage3_instruct.COMPREHENSION),
    "stage3-generation": (stage3_instruct.AFTER, stage3_instruct.GENERATION),
    "stage3-words": ((*stage3_instruct.AFTER, "stage3-generation"), stage3_instruct.GENERATION),
    "stage3-findings": ((*stage3_instruct.AFTER, "stage3-generation", "stage3-words"), stage3_instruct.GENERATION),
}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_trains_exactly_its_tensors(finished_run, name):
    before_parts, groups = STAGES[name]
    before = model_after(finished_run, before_parts).state_dict()
    after = model_after(finished_run, (*before_parts, name)).state_dict()
    for key in before:
        trained = any(belongs(key, group) for group in groups)
        same = torch.equal(before[key], after[key])
        if not trained:
            assert same, f"{key} changed in {name}"
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    for group in groups:
        assert any(belongs(key, group) for key in changed), f"{group} did not learn in {name}"
    table = json.loads((finished_run.part(name) / "trains.json").read_text())
    assert [row["group"] for row in table] == list(groups)


def test_gradients_reach_every_trained_tensor_and_no_other(finished_run):
    model = model_after(finished_run, ())
    chosen = train_only(model, ("generation plugin", "concrete adapter"))
    allowed = {name for parameters in chosen.values() for name in parameters}
    assert {name for name, p in model.named_parameters() if p.requires_grad} == allowed


@pytest.mark.parametrize("name", ["language", "tower-deep", "codec", "stage3-generation", "stage3-findings"])
def test_a_killed_part_goes_on_to_the_same_bits(finished_run, tmp_path, monkeypatch, name):
    workspace = Workspace(tmp_path / "run", finished_run.recipe, None)
    shutil.copytree(finished_run.root, workspace.root)
    shutil.rmtree(workspace.part(name))
    saves = []
    whole = loop.save_checkpoint

    def save_then_die(path, content):
        whole(path, content)
        saves.append(content["step"])
        if len(saves) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        PARTS[name].run(workspace)
    assert (workspace.part(name) / "checkpoint.pt").is_file()
    assert not workspace.is_done(name)
    monkeypatch.setattr(loop, "save_checkpoint", whole)
    PARTS[name].run(workspace)
    expected, resumed = finished_run.trained(name), workspace.trained(name)
    assert expected.keys() == resumed.keys()
    assert all(torch.equal(expected[key], resumed[key]) for key in expected)


def test_the_finished_model_reads_and_draws(finished_run):
    session = Session.from_pretrained(finished_run.model)
    picture = finished_run.data / "images" / "0.png"
    answer = session.ask(picture, "is there a nodule", max_new_tokens=5)
    drawing = session.generate("ct-to-mri", picture)
    assert drawing.pixels.shape[:2] == (16, 16)
    assert np.array(drawing.codes).shape == (2, 2)
    assert 0 <= answer.confidence <= 1
    together = session.run([Request("ask", picture, "is there a nodule"), Request("ct-to-mri", picture)])
    assert together[1].codes == drawing.codes
    assert together[0].text.startswith(answer.text)
    assert "".join(session.stream(picture, "is there a nodule", max_new_tokens=5)).strip() == answer.text


def test_the_drawn_picture_is_the_codec_s(finished_run, tmp_path):
    session = Session.from_pretrained(finished_run.model)
    drawing = session.generate("reconstruct", finished_run.data / "images" / "1.png")
    painted = session.paint(np.array(drawing.codes)[None])[0]
    shown = drawing.pixels if drawing.pixels.ndim == 3 else np.repeat(drawing.pixels[..., None], 3, 2)
    assert np.array_equal(painted, shown)
    drawing.save(tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as saved:
        assert np.array_equal(np.asarray(saved), drawing.pixels)
        assert "research use only" in " ".join(map(str, saved.info.values())).lower()


def test_a_part_that_has_not_run_is_named(tiny_in_table, tmp_path):
    workspace = Workspace(tmp_path, tiny_recipe(), None)
    with pytest.raises(RecipeError, match="part 'language' of this run is not finished"):
        model_after(workspace, ())


def test_the_deep_phase_leaves_what_drawing_sees_through(finished_run):
    first, deep = finished_run.trained("tower"), finished_run.trained("tower-deep")
    changed = {name for name in first if name in deep and not torch.equal(first[name], deep[name])}
    assert changed
    assert all(name.startswith("tower.clip.encoder.layers.1.") for name in changed)  # the blocks are 0, 1 and 2


@pytest.mark.parametrize("name", ["stage3-generation", "stage3-findings"])
def test_codes_of_another_codec_are_refused(finished_run, tmp_path, name):
    workspace = Workspace(tmp_path / "run", finished_run.recipe, None)
    shutil.copytree(finished_run.root, workspace.root)
    workspace.keep("codec-colour", {key: tensor + 1 for key, tensor in finished_run.trained("codec-colour").items()})
    shutil.rmtree(workspace.part(name))
    with pytest.raises(RecipeError, match="made by another codec"):
        PARTS[name].run(workspace)
    assert not workspace.is_done(name)


def test_left_out_words_leave_the_task_s_phrasing():
    phrasing = TASKS["report-to-cxr"].instructions[1]
    origin = Provenance(source="vl-phantom", licence="none", original_id="0", group="0")
    record = Record(
        id="0", task="report-to-cxr", instruction=f"{phrasing} No nodule.", split="train", provenance=origin
    )
    assert record.words == "No nodule."
    wordless = stage3_findings.without_words(Drawing("report-to-cxr", None, 7, record))
    assert wordless.record.instruction == phrasing
    assert wordless.record.words == ""
    assert wordless.target == 7


def test_a_folder_of_another_recipe_is_refused(tiny_in_table, tmp_path):
    Workspace(tmp_path, tiny_recipe(), None).settle_recipe()
    with pytest.raises(RecipeError, match="run of another recipe"):
        Workspace(tmp_path, tiny_recipe(seed=1), None).settle_recipe()

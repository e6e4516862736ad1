"""The training report: from the files of a run alone, at any time, whole; nothing in it acts; bounded."""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_outline import Outline

from healthgpt.errors import OutputError, RecipeError
from healthgpt.tasks import TASKS
from healthgpt.training.provenance import Provenance
from healthgpt.training.recipe import Recipe
from healthgpt.training.report.curves import BUCKETS, Axis, Series, curve, smoothed, thinned, value_axis
from healthgpt.training.report.files import read_run_files
from healthgpt.training.report.page import write_report

PICTURES = Path(__file__).resolve().parents[2] / "src/healthgpt/weights/nano/samples"
ATTACK = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;</style>"


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def begun_run(folder: Path, **changes: Any) -> Path:
    """A run that wrote ``run.json`` and nothing else."""
    recipe = {
        "name": "nano-mixed", "variant": "nano", "stage": "mixed", "about": "Reading and drawing at once.",
        "start": {"parts_of": "nano"}, "data": [{"folder": "data/phantoms"}],
        "optimisation": {"learning_rate": 2e-4, "global_batch": 16, "micro_batch": 4, "steps": 400},
    }  # fmt: skip
    provenance = Provenance(
        recipe=Recipe.model_validate(recipe | changes), data="3f0c", start="91ab", started_from="nano",
        versions={"healthgpt": "0.3.0", "torch": "2.8.0"}, hardware={"cpu": "Xeon", "cores": "2"}, processes=1,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(provenance.model_dump_json())
    return folder


def journal_line(step: int, steps: int, rng: np.random.Generator) -> dict[str, Any]:
    loss = 0.4 + 6 * math.exp(-8 * step / steps) + rng.normal(0, 0.08)
    return {
        "step": step, "steps": steps, "epoch": step * 16 / 5000, "loss": round(loss, 4),
        "tasks": {"x-ray": loss * 0.8, "ct-to-mri": loss * 1.3} if step % 3 else {"x-ray": loss},
        "gradient_norm": math.exp(rng.normal(-0.5, 0.5)), "learning_rate": 2e-4 * min(1.0, step / (0.03 * steps)),
        "tokens_per_second": 5300 + rng.normal(0, 150), "memory_gb": 2.1, "seconds": step * 1.7,
    }  # fmt: skip


def write_journal(run: Path, logged: int, steps: int, every: int = 1) -> None:
    rng = np.random.default_rng(0)
    rows = [journal_line(step, steps, rng) for step in range(every, logged + 1, every)]
    write_lines(run / "journal.jsonl", rows)


def validation_line(step: int, loss: float, right: float, best: bool = False) -> dict[str, Any]:
    reading = {"loss": loss, "rows": 40, "right": right, "ssim": None}
    drawing = {"loss": loss * 1.4, "rows": 20, "right": None, "ssim": 30 + 40 * right}
    tasks = {"x-ray": reading, "ct": {**reading, "loss": loss * 0.9}, "ct-to-mri": drawing, "report-to-cxr": drawing}
    return {"step": step, "loss": loss, "tasks": tasks, "best": best}


def write_samples(run: Path, step: int) -> None:
    folder = run / "samples" / f"step-{step:06d}"
    folder.mkdir(parents=True)
    for name in ("x-ray", "ct-to-mri-input", "ct-to-mri-reference", "report-to-cxr-reference", "reconstruct-input"):
        shutil.copy(PICTURES / f"{name}.png", folder)
    rows = [
        {"task": "x-ray", "record": f"film {number}", "instruction": f"Is finding {number} there?", "reference": "yes",
         "answer": "yes" if step else "", "right": bool(step), "image": f"{folder.name}/x-ray.png", "ssim": None}
        for number in range(3)
    ] + [
        {"task": "ct-to-mri", "record": "head 7", "instruction": "Draw the MRI of this CT.", "ssim": 61.25,
         "image": f"{folder.name}/ct-to-mri-input.png", "target": f"{folder.name}/ct-to-mri-reference.png",
         "drawn": f"{folder.name}/reconstruct-input.png"},
        {"task": "report-to-cxr", "record": "film 9", "instruction": "Draw the chest X-ray: heart enlarged.",
         "image": None, "target": f"{folder.name}/report-to-cxr-reference.png", "ssim": 12.0 + step / 10,
         "drawn": f"{folder.name}/report-to-cxr-reference.png"},
    ]  # fmt: skip
    write_lines(folder.with_suffix(".jsonl"), rows)


def finished_run(folder: Path, steps: int = 400) -> Path:
    run = begun_run(folder)
    groups = [
        {"group": name, "tensors": 20, "parameters": 1_234_567, "learning_rate": 2e-4, "dropout": 0.05}
        for name in ("abstract adapter", "comprehension plugin")
    ]
    frozen = {"group": "frozen", "tensors": 90, "parameters": 9_000_000, "learning_rate": None, "dropout": None}
    (run / "groups.json").write_text(json.dumps([*groups, frozen]))
    found = {
        "rows": 5000, "records": {"x-ray": 3000, "ct-to-mri": 2000}, "tokens": 900_000, "learned": 80_000,
        "quarantined": 3, "cut": 2,
    }  # fmt: skip
    (run / "data.json").write_text(json.dumps({"train": found, "validation": {**found, "records": {"x-ray": 77}}}))
    write_journal(run, steps, steps)
    checks = [
        validation_line(0, 6.4, 0.05), validation_line(steps // 4, 1.4, 0.3, True),
        validation_line(steps // 2, 0.51, 0.55, True), validation_line(steps, 0.56, 0.5),
    ]  # fmt: skip
    write_lines(run / "validation.jsonl", checks)
    events = [
        {"step": steps // 7, "what": "step skipped", "why": "loss nan"},
        {"step": 50, "what": "went on from step 50", "why": ""},
        {"step": 200, "what": "checkpoint", "why": None},
    ]
    write_lines(run / "events.jsonl", events)
    write_samples(run, 0)
    write_samples(run, steps)
    return run


def page_of(run: Path) -> str:
    path = write_report(run)
    assert path == run / "report.html"
    assert not list(run.glob("*.partial"))
    return path.read_text(encoding="utf-8")


def test_a_finished_run_is_told_whole(tmp_path: Path) -> None:
    outline = Outline(page_of(finished_run(tmp_path)))
    for words in (
        "nano-mixed", "stage mixed : both families at once", "Finished after 400 steps.", "Research use only.",
        "answers right, before → after 5.0 % → 50.0 %", "best validation loss, at step 200 0.510", "11 min",
        "1 skipped step is marked", "First: step 0, before training; best: step 200; last: step 400.",
        "Before training (nothing) ✗ wrong After step 400 yes ✓ right", "synthetic, drawn after step 400, SSIM 61.2 %",
        "Is finding 2 there?", "comprehension plugin 20 1,234,567 10.8 % 0.0002 0.05", "frozen 90 9,000,000",
        "X-ray 3,000 train, 77 validation 3,077", "responses cut to fit 2 2", "went on from step 50",
        "learning_rate: 0.0002", "2.8.0", "Xeon", "3f0c", "91ab",
    ):  # fmt: skip
        assert words in outline.text, words
    # Three readings; input, target and two drawings; target and two drawings.
    assert outline.tags["img"] == 3 + 4 + 3
    drawn = [
        value for tag, name, value in outline.attributes if (tag, name) == ("img", "alt") and "drawn" in str(value)
    ]
    assert len(drawn) == 4
    assert all(str(value).startswith("synthetic") for value in drawn)


def test_the_page_is_whole_by_itself_and_can_be_read_aloud(tmp_path: Path) -> None:
    outline = Outline(page_of(finished_run(tmp_path)))
    for tag, name, value in outline.attributes:
        if name in ("src", "href"):
            assert (value or "").startswith(("data:image/", "#")), (tag, value)
        assert not name.startswith("on")
    assert not {"script", "link", "iframe", "object", "form"} & outline.tags.keys()
    assert outline.headings[0] == 1
    assert outline.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False))
    assert outline.tags["table"] == outline.tags["caption"]
    told = [value for tag, name, value in outline.attributes if (tag, name) == ("svg", "aria-label")]
    assert any(
        "Loss: training from" in str(value) and "kept as the best: 0.510 at step 200" in str(value) for value in told
    )


def test_a_run_is_reported_as_far_as_it_is(tmp_path: Path) -> None:
    run = begun_run(tmp_path)
    assert "Not finished: no step is logged yet, of 400 steps." in Outline(page_of(run)).text
    for name in ("groups.json", "data.json", "journal.jsonl", "validation.jsonl", "events.jsonl"):
        (run / name).touch()
    assert "Nothing is logged yet." in Outline(page_of(run)).text
    write_journal(run, 57, 400)
    outline = Outline(page_of(run))
    assert "Not finished: at step 57 of 400 steps (14.2 %); at this pace 10 min to go." in outline.text
    assert ("progress", "value", "57") in outline.attributes
    assert "No validation yet." in outline.text


def test_without_run_json_there_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"run\.json"):
        write_report(tmp_path)


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    run = begun_run(tmp_path)
    (run / "report.html").mkdir()
    with pytest.raises(OutputError):
        write_report(run)
    assert sorted(path.name for path in run.iterdir()) == ["report.html", "run.json"]


def test_the_same_files_give_the_same_page(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    assert page_of(run) == page_of(run)


def test_texts_of_a_run_cannot_act_and_images_stay_in_its_folder(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    shutil.copy(PICTURES / "ct.png", run / "outside.png")
    sample = {"task": ATTACK, "record": ATTACK, "instruction": ATTACK, "reference": ATTACK, "answer": ATTACK,
              "right": False, "image": "../outside.png", "drawn": ATTACK, "target": "x" * 5000}  # fmt: skip
    write_lines(run / "samples/step-000400.jsonl", [sample, {**sample, "task": "ct-to-mri", "answer": None}])
    (run / "samples/step-000000.jsonl").unlink()
    check = validation_line(0, 1.0, 0.5) | {"tasks": {ATTACK: {"loss": 1.0, "rows": 2}}}
    write_lines(run / "validation.jsonl", [check, check | {"step": 400}])
    write_lines(run / "events.jsonl", [{"step": 1, "what": ATTACK, "why": ATTACK}])
    (run / "groups.json").write_text(json.dumps([{"group": ATTACK, "tensors": 1, "parameters": 1}]))
    page = page_of(run)
    outline = Outline(page)
    assert "<script" not in page
    assert outline.tags["img"] == 0
    assert outline.text.count("image not at hand") == 6
    assert not [name for _, name, _ in outline.attributes if name.startswith("on")]


def test_damaged_lines_are_as_if_not_written(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    for name in ("journal.jsonl", "validation.jsonl", "events.jsonl", "samples/step-000400.jsonl"):
        with (run / name).open("ab") as stream:
            stream.write(b'[]\n{"step": "no"}\n7\n\xff\xfe\n{"step": 401, "steps": 400, "lo')
    (run / "samples/step-x.jsonl").touch()
    (run / "data.json").write_text('{"train": {"rows": 1}, "validation": null}')
    files = read_run_files(run)
    assert (files.reached, len(files.validations), len(files.events), files.found) == (400, 4, 3, {})
    assert [len(moment.samples) for moment in files.sampled] == [5, 5]
    page_of(run)


def test_what_a_kill_undid_is_not_shown(tmp_path: Path) -> None:
    run = begun_run(tmp_path)
    write_journal(run, 57, 400)
    line = journal_line(51, 400, np.random.default_rng(1)) | {"loss": 9.0}
    with (run / "journal.jsonl").open("a") as stream:
        stream.write(json.dumps(line) + "\n")
    files = read_run_files(run)
    assert files.reached == 51
    assert files.journal.last("loss") == 9.0
    assert files.journal.steps.tolist() == list(range(1, 52))


def test_values_that_are_no_numbers_leave_gaps(tmp_path: Path) -> None:
    run = begun_run(tmp_path)
    rng = np.random.default_rng(0)
    rows = [journal_line(step, 20, rng) for step in range(1, 21)]
    rows[4] |= {"loss": math.nan, "gradient_norm": math.inf, "tasks": None, "learning_rate": None}
    rows[19] |= {"loss": None, "seconds": "soon"}
    write_lines(run / "journal.jsonl", rows)
    check = validation_line(0, math.nan, 0.5)
    write_lines(run / "validation.jsonl", [check, check | {"step": 20, "loss": None, "best": True}])
    page = page_of(run)
    assert "not finite" in page
    assert "Finished" in page
    assert not re.search(r'(?:d|cx|cy|style)="[^"]*(?:nan|inf)', page)


@pytest.mark.parametrize("steps", [1, 10])
def test_short_runs_have_curves_too(tmp_path: Path, steps: int) -> None:
    outline = Outline(page_of(finished_run(tmp_path, steps)))
    assert f"Finished after {steps} step" in outline.text
    assert ("circle", "class", "training") in outline.attributes


def test_the_page_does_not_grow_with_the_run(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    write_journal(run, 20_000, 20_000)
    write_lines(run / "validation.jsonl", [validation_line(step, 1.0 + step % 7, 0.5) for step in range(0, 20_001, 10)])
    write_lines(run / "events.jsonl", [{"step": step, "what": f"odd {step}"} for step in range(5000)])
    sample = {"task": "ct", "instruction": "What? " * 1000, "answer": "No. " * 1000}
    write_lines(run / "samples/step-000400.jsonl", [{**sample, "record": str(number)} for number in range(500)])
    page = page_of(run)
    assert len(page) < 450_000
    assert "494 more samples" in page


def test_thinning_keeps_spikes_and_ends() -> None:
    rng = np.random.default_rng(0)
    steps, values = np.arange(1, 200_001), rng.normal(0, 1, 200_000)
    values[77_777], values[123_456] = 50.0, -50.0
    kept, shown = thinned(steps, values)
    assert len(kept) <= 2 * BUCKETS + 2
    assert {1, 77_778, 123_457, 200_000} <= set(kept.tolist())
    assert (values[kept - 1] == shown).all()
    assert thinned(steps[:10], values[:10])[0].tolist() == list(range(1, 11))


def test_the_running_mean_is_a_mean_that_wild_values_do_not_pull() -> None:
    steps, values = np.arange(1000), np.full(1000, 2.0) + np.tile([-0.1, 0.1], 500)
    values[500] = 1e9
    raw, mean = smoothed("training", steps, values)
    assert raw.style == "raw"
    assert raw.values.max() == 1e9
    assert np.allclose(mean.values, 2.0, atol=0.12)
    assert [one.style for one in smoothed("training", steps[:10], values[:10])] == ["training"]


def test_axes_suit_their_values() -> None:
    def axis(*values: float, style: Any = "validation", from_zero: bool = False) -> Axis:
        return value_axis([Series("", np.arange(len(values)), np.array(values), style)], from_zero=from_zero)

    assert not axis(1.0, 5.0).log
    assert axis(0.1, 5.0).log
    assert not axis(0.0, 5.0).log
    assert axis(2e-4, 1e-5, from_zero=True).low == 0
    alone = axis(3.0)
    assert alone.low < 3 < alone.high
    assert axis(*[1.0, 2.0] * 200, 1e6, style="raw").high < 4
    assert axis(*[1.0, 2.0] * 200, 1e6).high > 1e6
    for low, high in ((0.0, 1.0), (0.41, 0.43), (0.0, 2e-4), (-3.0, 12_345.0), (6.0, 6.0001)):
        assert 2 <= len(Axis(low, high).ticks(2)) <= 6
    for low, high in ((0.1, 1.1), (1e-9, 1e9), (3.0, 31.0)):
        ticks = Axis(low, high, log=True).ticks(2)
        assert 1 <= len(ticks) <= 5
        assert all(low <= tick <= high for tick in ticks)
    assert Axis(0.0, 1.0).ticks(3, whole=True) == [0.0, 1.0]


def test_a_curve_says_what_it_leaves_out() -> None:
    steps = np.arange(1, 101)
    values = np.where(steps == 50, 1e9, 1.0 + steps % 3)
    told = curve("Gradient norm", "before clipping", smoothed("norm", steps, values), 100, skipped=[50, 50])
    assert "1 single values lie beyond the axis" in told
    assert told.count('class="skipped"') == 1
    assert "no values yet" in curve("Loss", "nats", [Series("", steps, np.full(100, math.nan), "training")], 100)


def test_every_task_has_a_chart_and_a_row(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    tasks = {name: {"loss": 1.0, "rows": 5} for name in [*TASKS, "a task of tomorrow"]}
    write_lines(run / "validation.jsonl", [{"step": step, "loss": 1.0, "tasks": tasks} for step in (0, 400)])
    text = Outline(page_of(run)).text
    for name in [*(task.title for task in TASKS.values()), "a task of tomorrow"]:
        assert text.lower().count(f"{name.lower()} ") >= 2, name

"""``healthgpt train`` and ``recipes`` as typed: listing, copying, planning, tuning, going on, and what is refused."""

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from healthgpt.cli.main import main

ANSWERS = ("bright", "dark")


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Twenty gradients and a CSV that says which are bright."""
    folder = tmp_path / "export"
    (folder / "images").mkdir(parents=True)
    rows = ["image,question,answer,modality"]
    for number in range(20):
        grey = 40 + 160 * (number % 2)
        picture = Image.linear_gradient("L").resize((32, 32)).point(lambda value, grey=grey + number: grey + value // 8)
        picture.save(folder / f"images/{number}.png")
        rows.append(f"images/{number}.png,Is this bright or dark?,{ANSWERS[1 - number % 2]},x-ray")
    (folder / "questions.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def short(recipe: Path) -> Path:
    """A copied recipe cut to three steps."""
    content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    content["optimisation"].pop("epochs")
    content["optimisation"] |= {"steps": 3, "global_batch": 4, "micro_batch": 4}
    content["watch"] |= {"validate_every": 2, "samples": 2}
    recipe.write_text(yaml.safe_dump(content), encoding="utf-8")
    return recipe


def test_a_copied_recipe_tunes_nano_on_an_export(export, tmp_path, capsys) -> None:
    recipe, run = tmp_path / "my.yaml", tmp_path / "run"
    assert main(["recipes", "copy", "nano-finetune-comprehension", str(recipe)]) == 0
    line = [
        "train",
        str(short(recipe)),
        "--data",
        str(export),
        "--output",
        str(run),
        "--workers",
        "1",
        "--device",
        "cpu",
    ]
    assert main(line) == 0
    told = capsys.readouterr().err
    assert "Research use only" in told
    assert "comprehension plugin" in told
    assert "held out, before training" in told
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Is this bright or dark?" in page
    assert "Research use only" in page
    assert list((run / "logs").rglob("events.out.tfevents*"))
    described = json.loads((run / "run.json").read_text())
    assert described["recipe"]["optimisation"]["steps"] == 3
    assert described["versions"]["torch"]
    assert (
        main(["ask", str(export / "images" / "0.png"), "Is this bright or dark?", "--model", str(run / "model")]) == 0
    )
    capsys.readouterr()
    assert main([*line, "--resume"]) == 0
    assert "this run is finished" in capsys.readouterr().err


def test_a_recipe_is_not_copied_over_a_file(tmp_path, capsys) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine", encoding="utf-8")
    assert main(["recipes", "copy", "nano-stage2", str(file)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert file.read_text(encoding="utf-8") == "mine"


def test_a_plan_needs_neither_weights_nor_data(capsys) -> None:
    assert main(["train", "l14-stage3-comprehension", "--plan", "--gpus", "4", "--gpu", "H200"]) == 0
    told = capsys.readouterr().out
    assert "H200" in told
    assert "memory" in told


def test_data_in_place_of_several_parts_is_refused(export, tmp_path, capsys) -> None:
    recipe = tmp_path / "two.yaml"
    main(["recipes", "copy", "nano-finetune-comprehension", str(recipe)])
    content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    content["data"] = content["data"] * 2
    recipe.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert main(["train", str(recipe), "--data", str(export)]) == 2
    assert "2 parts in the recipe" in capsys.readouterr().err


def test_what_is_wrong_with_an_export_is_told_in_the_words_of_training(export, tmp_path, capsys) -> None:
    for picture in (export / "images").iterdir():
        picture.unlink()
    line = ["train", "nano-finetune-comprehension", "--data", str(export), "--output", str(tmp_path / "run")]
    assert main([*line, "--workers", "1", "--device", "cpu"]) == 2
    told = capsys.readouterr().err
    assert "image missing (20)" in told
    assert "rows.quarantine_share" in told
    assert main(["train", "nano-finetune-comprehension", "--data", str(tmp_path / "nowhere")]) == 2
    assert "check --data, or the file" in capsys.readouterr().err

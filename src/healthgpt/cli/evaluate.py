"""``healthgpt evaluate``: measure a model on held-out cases and write every figure down beside its baseline."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from healthgpt.cli import options
from healthgpt.cli.console import note, print_table, research_note, working
from healthgpt.cli.models import bundled
from healthgpt.errors import OutputError

RESULTS = Path("benchmarks/results")


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name or its folder.")] = "nano",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help=f"JSON file for the figures; {RESULTS}/MODEL.json if unset.")
    ] = None,
    work: Annotated[
        Path | None, typer.Option("--work", help="Folder for data and predictions; runs/evaluate-MODEL if unset.")
    ] = None,
    questions: Annotated[int, typer.Option("--questions", min=1, help="VL-Phantom questions to ask.")] = 1000,
    pictures: Annotated[int, typer.Option("--pictures", min=2, help="VL-Phantom images to draw for each task.")] = 200,
    packs: Annotated[Path | None, typer.Option("--packs", help="Folder of real packs, to measure on them too.")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that build the data.")] = 2,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Score a model on cases it has not seen."""
    options.check_packs(packs)
    name = Path(model).name
    target = output or RESULTS / f"{name}.json"
    folder = work or Path("runs") / f"evaluate-{name}"
    for needed in (target.parent, folder):
        try:
            needed.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise OutputError(f"cannot make the folder {needed}", found=str(fault.strerror)) from fault

    from healthgpt.evaluation.card import write_card
    from healthgpt.evaluation.cost import measure_cost
    from healthgpt.evaluation.nano import evaluate_nano
    from healthgpt.inference.session import Session
    from healthgpt.sources.catalog import SOURCES, present
    from healthgpt.training.nano.recipe import load_recipe

    with working(f"loading {model}"):
        session = Session.from_pretrained(model, device=device, dtype=dtype)
    figures = evaluate_nano(
        session, folder, questions=questions, pictures=pictures, packs=packs, workers=workers, say=note
    )
    with working("measuring time and memory"):
        figures["cost"] = measure_cost(model, sorted((folder / "data" / "images").glob("*.png"))[0])
    _write_whole(target, figures)
    place = bundled(model) if bundled(model).is_dir() else Path(model)
    plan = load_recipe("nano").data
    learned = [name for name in present(packs) if name in (*plan.packs, *plan.text_packs)] if packs else []
    trained_on = [f"{SOURCES[name].title} ({SOURCES[name].licence})" for name in learned]
    size = sum(path.stat().st_size for path in place.rglob("*.safetensors")) / 1e6
    write_card(place / "README.md", figures, trained_on, size)
    print_table(f"{figures['model']}: reading", ["held out", "closed", "open", "blind", "majority"], _reading(figures))
    print_table("drawing, SSIM", ["held out", "task", "model", "codec ceiling", "input copied"], _drawing(figures))
    note(f"all figures are in {target}, and in the model card {place / 'README.md'}")
    research_note()


def _write_whole(path: Path, figures: dict[str, Any]) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def _reading(figures: dict[str, Any]) -> list[list[str]]:
    """Percent right: the model closed and open, then without the image and by the majority answer."""
    rows = []
    for group in ("phantom", "real"):
        if "reading" in figures[group]:
            ways = figures[group]["reading"]["all"]
            told = {way: (rates["closed_accuracy"], rates["open_exact_match"]) for way, rates in ways.items()}
            blind, majority = (" / ".join(map(str, told[way])) for way in ("blind", "majority"))
            rows.append([group, *map(str, told["model"]), blind, majority])
    return rows


def _drawing(figures: dict[str, Any]) -> list[list[str]]:
    """Mean SSIM in percent for each task."""
    rows = []
    for group in ("phantom", "real"):
        for task, scores in figures[group].get("drawing", {}).items():
            ways = [scores.get(way, {}).get("ssim", "-") for way in ("model", "codec_ceiling", "copying_the_input")]
            rows.append([group, task, *map(str, ways)])
    return rows

"""``healthgpt evaluate``: measure a model on held-out cases, write the figures and the model card."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from healthgpt.cli import options
from healthgpt.cli.console import note, research_note
from healthgpt.errors import OutputError


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name or its folder.")] = "nano",
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON file for the figures.")] = Path(
        "benchmarks/results/nano.json"
    ),
    work: Annotated[Path, typer.Option("--work", help="Folder for held-out data and predictions.")] = Path(
        "runs/evaluation"
    ),
    packs: Annotated[Path | None, typer.Option("--packs", help="Folder of real data packs to measure on too.")] = None,
    questions: Annotated[int, typer.Option("--questions", min=7, help="Simulated questions.")] = 1000,
    pictures: Annotated[int, typer.Option("--pictures", min=1, help="Simulated images a generation task.")] = 200,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Measure a model beside trivial baselines; write the figures and its card."""
    options.check_packs(packs)
    for folder in (output.parent, work):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise OutputError(f"cannot make the folder {folder}", found=str(fault.strerror)) from fault

    from healthgpt.evaluation.card import write_card
    from healthgpt.evaluation.cost import measure_cost
    from healthgpt.evaluation.nano import evaluate_nano
    from healthgpt.inference.session import Session, model_folder
    from healthgpt.sources.catalog import SOURCES, present

    session = Session.from_pretrained(model, device=device, dtype=dtype)
    figures = evaluate_nano(
        session, work, questions=questions, pictures=pictures, packs=packs, workers=os.cpu_count() or 1, say=note
    )
    note("latency and memory")
    picture = next((work / "data" / "images").glob("x-ray-*.png"))
    figures["cost"] = measure_cost(model, picture)
    partial = output.with_name(output.name + ".partial")
    partial.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    partial.replace(output)
    folder = model_folder(model)
    size = sum(path.stat().st_size for path in folder.rglob("*.safetensors")) / 1e6
    used = [f"{SOURCES[name].title} ({SOURCES[name].licence})" for name in present(packs)] if packs is not None else []
    write_card(folder / "README.md", figures, used, size)
    note(f"figures in {output}, card in {folder / 'README.md'}")
    research_note()

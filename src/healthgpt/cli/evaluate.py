"""``healthgpt evaluate``: measure a model on VL-Phantom's test cases and write the figures down."""

import json
from pathlib import Path
from typing import Annotated

import typer

from healthgpt.cli import options
from healthgpt.cli.console import note, print_table, research_note
from healthgpt.errors import OutputError


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name or its folder.")] = "nano",
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON file for the figures.")] = Path(
        "benchmarks/results/nano.json"
    ),
    cases: Annotated[int, typer.Option("--cases", min=1, help="Unseen cases of each modality and task.")] = 100,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Score a model on unseen cases."""
    options.check_hardware(device, dtype)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OutputError(f"cannot make the folder {output.parent}", found=str(fault.strerror)) from fault

    from rich.console import Console
    from rich.progress import Progress

    from healthgpt.evaluation.benchmarks import evaluate_phantom
    from healthgpt.inference.session import Session

    session = Session.from_pretrained(model, device=device, dtype=dtype)
    with Progress(console=Console(stderr=True)) as bar:
        line = bar.add_task("evaluating", total=None)
        figures = evaluate_phantom(
            session, cases, progress=lambda done, total: bar.update(line, completed=done, total=total)
        )
    partial = output.with_name(output.name + ".partial")
    partial.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    partial.replace(output)
    rows = [[name, json.dumps(value)] for name, value in figures.items()]
    print_table(model, ["figure", "value"], rows)
    note(f"written to {output}")
    research_note()

"""The recipe that makes nano from nothing: its parts side by side, each told with its last loss."""

import json
import os
from pathlib import Path

from healthgpt.cli.console import note


def train_from_nothing(recipe: str, root: Path, packs: Path | None, workers: int | None, device: str) -> None:
    """Run all parts that are not done; a run that stopped goes on."""
    from healthgpt.backbone.load import device_named
    from healthgpt.training.nano.recipe import load_recipe

    place = "cuda" if device_named(device).type == "cuda" else "cpu"  # never tried on mps
    plan = load_recipe(recipe, cuda=place == "cuda")
    if packs is None:
        note("no --packs folder given: training on VL-Phantom alone, without real images")

    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from healthgpt.training.nano.parts import train as run_parts
    from healthgpt.training.nano.workspace import Workspace

    workspace = Workspace(root, plan, packs, place)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    told: set[str] = set()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        line = bar.add_task("starting")

        def show_running(running: set[str]) -> None:
            for name in sorted(running - told):  # also where stderr is a file and the moving line is not shown
                bar.console.print(f"part {name} starts")
            told.update(running)
            bar.update(line, description=", ".join(_standing(workspace.part(name)) for name in sorted(running)))

        run_parts(
            workspace,
            workers=workers or (1 if place == "cuda" else os.cpu_count() or 1),
            on_data=lambda done, total: bar.update(line, description=f"data: {done} of {total} jobs"),
            on_wait=show_running,
        )
    note(f'done; next: healthgpt ask IMAGE "What does this image show?" --model {workspace.model}')


def _standing(part: Path) -> str:
    """How far a part is, from the last line of its journal."""
    journal = part / "journal.jsonl"
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.is_file() else []
    if not lines:
        return part.name
    last = json.loads(lines[-1])
    return f"{part.name} {last['step']}/{last['steps']} loss {last['loss']:.3f}"

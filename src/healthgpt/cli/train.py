"""``healthgpt train`` and ``healthgpt recipes``: run a training recipe, list the bundled ones."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from healthgpt.cli import options
from healthgpt.cli.console import note, print_table
from healthgpt.errors import RecipeError


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A bundled recipe's name ('healthgpt recipes') or a YAML file.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the run; runs/RECIPE if unset.")
    ] = None,
    packs: Annotated[Path | None, typer.Option("--packs", help="Folder of real data packs to mix in.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that stopped.")] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Parts trained side by side; the number of cores if unset.")
    ] = None,
    device: options.Device = "auto",
) -> None:
    """Train a model by a recipe."""
    options.check_packs(packs)

    from healthgpt.training.nano.recipe import load_recipe

    root = output or Path("runs") / load_recipe(recipe).name
    _check_run(root, resume)

    from healthgpt.backbone.load import device_named

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


def _check_run(root: Path, resume: bool) -> None:
    """Starting over a run that is there, or resuming one that is not, are both mistakes."""
    there = (root / "recipe.json").is_file()
    if there and not resume:
        raise RecipeError(
            f"{root} already holds a run", next_step="go on with it by --resume, or choose another --output"
        )
    if resume and not there:
        raise RecipeError(f"no run to resume at {root}", next_step="name its folder with --output")


def recipes() -> None:
    """List the bundled recipes."""
    from healthgpt.training.nano.recipe import load_recipe, recipe_names, recipe_path

    rows = [[name, load_recipe(name).variant, str(recipe_path(name))] for name in recipe_names()]
    print_table("", ["recipe", "trains", "file"], rows)

"""``healthgpt train`` and ``healthgpt recipes``: run a training recipe, list the bundled ones."""

from pathlib import Path
from typing import Annotated

import typer

from healthgpt.cli import options
from healthgpt.cli.console import note, print_table


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A bundled recipe's name ('healthgpt recipes') or a YAML file.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the run; runs/RECIPE if unset.")
    ] = None,
    packs: Annotated[Path | None, typer.Option("--packs", help="Folder of real data packs to mix in.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the same run stopped.")] = False,
    device: options.Device = "auto",
) -> None:
    """Train a model by a recipe."""
    options.check_hardware(device)
    options.check_packs(packs)

    from healthgpt.training.config import load_recipe

    plan = load_recipe(recipe)
    root = output or Path("runs") / plan.name

    from healthgpt.training.run import run_recipe

    folder = run_recipe(plan, root, packs=packs, device=device, resume=resume)
    note(f"done; next: healthgpt ask IMAGE QUESTION --model {folder}")


def recipes() -> None:
    """List the bundled recipes."""
    from healthgpt.training.config import load_recipe, recipe_names, recipe_path

    rows = [[name, load_recipe(name).variant, str(recipe_path(name))] for name in recipe_names()]
    print_table("", ["recipe", "trains", "file"], rows)

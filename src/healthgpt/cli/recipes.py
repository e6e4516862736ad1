"""``healthgpt recipes``: list the bundled training recipes, copy one for editing."""

from pathlib import Path
from typing import Annotated

import typer

from healthgpt.cli.console import note, print_table

app = typer.Typer(help="List training recipes, copy one for editing.", invoke_without_command=True)


@app.callback()
def recipes(context: typer.Context) -> None:
    """List the bundled recipes."""
    if context.invoked_subcommand is not None:
        return
    from healthgpt.training.recipe_files import read_yaml, recipe_names, recipe_path

    rows = []
    for name in recipe_names():
        about = read_yaml(recipe_path(name)).get("about", "All parts of nano, from nothing.")
        rows.append([name, about])
    print_table("", ["recipe", "about"], rows)
    note("next: healthgpt recipes copy NAME FILE, then healthgpt train FILE")


@app.command("copy")
def copy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A bundled recipe.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")],
) -> None:
    """Copy a bundled recipe for editing."""
    from healthgpt.training.recipe_files import copy_recipe

    copy_recipe(name, file)
    note(f"next: edit {file}, then healthgpt train {file}")

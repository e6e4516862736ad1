"""``healthgpt plugins``: what a model has learned to do, one family at a time: list, extract, add, remove."""

from pathlib import Path
from typing import Annotated

import typer

from healthgpt.cli.console import note, print_table, working
from healthgpt.tasks import Family

app = typer.Typer(help="List, add, remove or ship the plugins of a model.", invoke_without_command=True)

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model's name or its folder.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The plugin's name in 'healthgpt plugins list'.")]
FAMILIES: tuple[Family, ...] = ("comprehension", "generation")


@app.callback()
def _bare(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("list")
def list_plugins(model: Model) -> None:
    """List a model's plugins: kind, size and the tasks each was trained for."""
    from healthgpt.inference.session import model_folder
    from healthgpt.model.plugin_changes import present_plugins

    folder = model_folder(model)
    present = present_plugins(folder)

    def told(family: Family) -> list[str]:
        plugin = present.get(family)
        if plugin is None:
            return ["none"] + [""] * 7
        spec = plugin.spec
        tables = "its own" if plugin.own_tables else "the model's"
        facts = [plugin.name, spec.kind, str(spec.rank), str(spec.experts), f"{spec.alpha:g}", tables]
        return [*facts, f"{plugin.stored_bytes / 1e6:.2f} MB", ", ".join(spec.tasks)]

    facts = ("name", "kind", "rank", "experts", "alpha", "tables", "size", "tasks")
    rows = [list(row) for row in zip(facts, *(told(family) for family in FAMILIES), strict=True)]
    print_table(str(folder), ["plugin", *FAMILIES], rows)


@app.command("extract")
def extract(
    model: Model,
    name: Name,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
) -> None:
    """Ship a plugin: write it to a folder of its own. The model stays as it is."""
    from healthgpt.inference.session import model_folder
    from healthgpt.model.checkpoint import read_config
    from healthgpt.model.plugin_changes import family_named
    from healthgpt.model.plugin_folder import extract_plugin
    from healthgpt.whole_folder import check_vacant, whole_folder

    check_vacant(output)
    folder = model_folder(model)
    config = read_config(folder)
    family = family_named(folder, config, name)
    with whole_folder(output) as partial, working(f"extracting {name}"):
        names = extract_plugin(folder, config, family, partial)
    for file in names:
        print(output / file)
    note(f"next: healthgpt plugins add MODEL {output}")


@app.command("add")
def add(
    model: Model,
    plugin: Annotated[Path, typer.Argument(metavar="FOLDER", help="What 'healthgpt plugins extract' wrote.")],
    force: Annotated[
        bool, typer.Option("--force", help="Add a plugin trained on other weights, as long as every shape fits.")
    ] = False,
) -> None:
    """Give a model a plugin, in place; it must have none of that family."""
    from healthgpt.inference.session import model_folder
    from healthgpt.model.plugin_changes import add_plugin

    folder = model_folder(model)
    with working(f"adding {plugin}"):
        name = add_plugin(folder, plugin, force=force)
    note(f"{folder} has the plugin '{name}' now; next: healthgpt models check {folder}")


@app.command("remove")
def remove(model: Model, name: Name) -> None:
    """Take a plugin out of a model, in place. Extract it first to keep it."""
    from healthgpt.inference.session import model_folder
    from healthgpt.model.plugin_changes import remove_plugin

    folder = model_folder(model)
    with working(f"removing {name}"):
        remove_plugin(folder, name)
    note(f"{folder} has no plugin '{name}' any more")

"""``healthgpt models export``: the plugins of a model folder in the authors' released layout, or as peft has it."""

from pathlib import Path
from typing import Annotated

import typer

from healthgpt.cli.console import note
from healthgpt.errors import InputError
from healthgpt.whole_folder import check_vacant, whole_folder

LAYOUTS = ("released", "peft")
FAMILIES = ("comprehension", "generation")


def export_released(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name or its folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    layout: Annotated[str, typer.Option("--layout", help="released, or peft (one plugin).")] = "released",
    family: Annotated[str, typer.Option("--family", help="Which plugin, with --layout peft.")] = "comprehension",
) -> None:
    """Export plugins for other programs; 'models import' reads them back to the same bits."""
    for name, value, allowed in (("--layout", layout, LAYOUTS), ("--family", family, FAMILIES)):
        if value not in allowed:
            raise InputError(f"{name} is not known", found=value, allowed=", ".join(allowed))
    check_vacant(output)

    from healthgpt.inference.session import model_folder
    from healthgpt.model.checkpoint import read_config, verify
    from healthgpt.model.export import export_peft
    from healthgpt.model.export import export_released as export_files

    folder = model_folder(model)
    config = read_config(folder)
    verify(folder, config)
    with whole_folder(output) as partial:
        if layout == "released":
            names = export_files(folder, config, partial)
        else:
            names = export_peft(folder, config, family, partial)  # type: ignore[arg-type]  # checked above
    for name in names:
        print(output / name)
    note("base model, vision tower and codec are not part of it: they are published by others")

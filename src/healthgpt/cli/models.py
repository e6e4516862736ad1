"""``healthgpt models``: which models there are, and what is in one."""

from pathlib import Path
from typing import Annotated

import typer

from healthgpt.cli import check_model, export_released, import_released
from healthgpt.cli.console import print_table
from healthgpt.errors import ModelError, closest

app = typer.Typer(
    help="List the models, show, check or export one, or import the authors' weights.",
    no_args_is_help=False,
    invoke_without_command=True,
)
WEIGHT_SUFFIX = ".safetensors"


@app.callback()
def _bare(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_models()


@app.command("list")
def list_models() -> None:
    """List the named models and whether their weights are here."""
    from healthgpt.inference.released import RELEASES, VISION, model_home
    from healthgpt.variants import VARIANTS

    rows = []
    for name, variant in VARIANTS.items():
        if name in RELEASES:
            parts = (RELEASES[name].base, RELEASES[name].plugins, VISION)
            size = sum(part.gigabytes or 0 for part in parts)
            folder = model_home() / name
            found = str(folder) if folder.is_dir() else f"downloaded on first use ({size:.0f} GB)"
            if Path(name).is_dir():
                found = f"./{name}, a folder here, comes first; else {found}"
        else:
            found = "bundled" if has_weights(bundled(name)) else "not here; give --model a folder that holds it"
        rows.append([name, variant.backbone, f"{variant.codec_image_size} px", found])
    print_table("", ["model", "language model", "draws at", "weights"], rows)


@app.command("show")
def show(name: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name or its folder.")]) -> None:
    """Show a model's dimensions and files."""
    from healthgpt.variants import VARIANTS

    folder = bundled(name) if name in VARIANTS else Path(name)
    if name not in VARIANTS and not folder.is_dir():
        raise ModelError(
            f"no model '{name}'",
            found="neither a known name nor a folder",
            allowed=f"{', '.join(VARIANTS)} or a model folder",
            next_step=closest(name, list(VARIANTS)),
        )
    if name in VARIANTS:
        rows = [[field, str(value)] for field, value in vars(VARIANTS[name]).items()]
        print_table(name, ["dimension", "value"], rows)
    entries = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    if not entries:
        print(f"No weights here: {name} is not bundled.")
        return
    files_here = [[str(path.relative_to(folder)), f"{path.stat().st_size / 1e6:.2f} MB"] for path in entries]
    print_table(str(folder), ["file", "size"], files_here)


app.command("check")(check_model.check)
app.command("export")(export_released.export_released)
app.command("import")(import_released.import_released)


def bundled(name: str) -> Path:
    """Where a bundled model's folder is, or would be."""
    return Path(__file__).resolve().parents[1] / "weights" / name


def has_weights(folder: Path) -> bool:
    """Whether a model folder holds weights at all; loading checks that they are whole."""
    return folder.is_dir() and any(path.suffix == WEIGHT_SUFFIX for path in folder.iterdir())

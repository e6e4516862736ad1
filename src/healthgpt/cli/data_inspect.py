"""``healthgpt data inspect``: a data set as one page to look at in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from healthgpt.cli.console import note, working


def inspect(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A finished data set.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="PAGE.html", help="FOLDER/inspect.html if unset.")
    ] = None,
) -> None:
    """Write one HTML page: what the set holds, samples with their images, leaks, what was left out."""
    from healthgpt.data.inspect_page import inspect_page

    path = folder / "inspect.html" if output is None else output
    with working("reading the records"):
        size = inspect_page(folder, path)
    note(f"{path}: {size / 1e6:.1f} MB, for any browser, without a network")

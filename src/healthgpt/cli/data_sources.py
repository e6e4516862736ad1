"""``healthgpt data sources | fetch | mixtures``: what can be built, from where, and how much of it a stage takes."""

from pathlib import Path
from typing import Annotated, Any

import typer

from healthgpt.cli.console import note, print_table
from healthgpt.errors import DataError


def sources(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One source, in full.")] = None,
    root: Annotated[Path | None, typer.Option("--from", help="Folder of downloads, to see which are there.")] = None,
) -> None:
    """List the data sets that can be built: licences, splits, what is on this disk; or one of them in full."""
    from healthgpt.data.sample_folder import LICENCE, PHANTOM
    from healthgpt.sources.catalog import SOURCES, present

    if root is not None and not root.is_dir():
        raise DataError(f"no folder of downloads at {root}", next_step="name the folder that holds them with --from")
    if name is not None:
        _in_full(name, root)
        return
    here = set(present(root)) if root is not None else set()
    rows = [[PHANTOM, "procedural images with known truth (healthgpt data phantom)", LICENCE, "public", "generated"]]
    for known, source in SOURCES.items():
        access = "public" if source.published is None else source.published.access
        rows.append(
            [known, source.title, source.licence, "public" if access == "public" else "apply",
             "yes" if known in here else "no" if root else "see --from"]
        )  # fmt: skip
    print_table("", ["source", "what", "licence", "access", "here"], rows)
    note("next: healthgpt data sources NAME  shows files, splits and how to get one")


def _in_full(name: str, root: Path | None) -> None:
    from healthgpt.sources.catalog import source_named

    source = source_named(name)
    rows = [
        ["what", source.title],
        ["licence", source.licence],
        ["published at", source.obtain],
        ["folder", source.folder],
        ["images", f"{source.published_images:,}" if source.published_images else "none of its own"],
        ["questions", f"{source.published_questions:,}" if source.published_questions else "made from its labels"],
    ]
    published = source.published
    if published is not None:
        rows += [["access", published.access], ["splits", published.splits], ["yields", published.yields]]
        rows += [["cite", published.citation]] if published.citation else []
        for table in published.tables:
            of_split = f", {table.split}" if table.split else ""
            rows.append(
                ["reads", f"{table.pattern} ({table.form}{of_split}{f', {table.rows:,} rows' if table.rows else ''})"]
            )
        for pattern, size, what in published.expected:
            there = ""
            if root is not None:
                count = sum(1 for _ in (root / source.folder).glob(pattern)) if source.is_present(root) else 0
                there = f"; here: {count}"
            rows.append(["file", f"{pattern} ({what}{f', {size / 1e6:,.1f} MB' if size else ''}{there})"])
        rows += [["note", text] for text in published.notes]
        rows.append(
            ["fetch", f"healthgpt data fetch {name} FOLDER" if published.downloads else "by hand, as said above"]
        )
    print_table(name, ["", ""], rows)


def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A source with a public download.")],
    root: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of downloads; it gets a folder of its own.")],
) -> None:
    """Download a public data set, resumably and with checksums."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from healthgpt.data.fetch import fetch as fetch_source
    from healthgpt.sources.catalog import source_named

    source = source_named(name)
    with Progress(
        TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn(), console=Console(stderr=True)
    ) as bar:
        lines: dict[str, Any] = {}

        def show(file: str, done: int, total: int | None) -> None:
            if file not in lines:
                lines[file] = bar.add_task(file, total=total)
            bar.update(lines[file], completed=done, total=total)

        got = fetch_source(source, root, show)
    note(f"{len(got)} files in {root / source.folder}; next: healthgpt data build OUT --from {root} --source {name}")


def mixtures() -> None:
    """List the mixtures of training records that come with the package."""
    from healthgpt.data.mixture import load_mixture, mixture_names

    rows = []
    for name in mixture_names():
        mixture = load_mixture(name)
        wanted = [part.count for part in mixture.parts if part.count is not None]
        rows.append(
            [
                name,
                mixture.stage,
                f"{sum(wanted):,}",
                ", ".join(dict.fromkeys(s for p in mixture.parts for s in p.sources)),
            ]
        )
    print_table("", ["mixture", "stage", "records", "sources"], rows)

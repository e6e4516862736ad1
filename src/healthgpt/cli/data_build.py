"""``healthgpt data build``: original downloads to a VL-Health data set; ``data show``: its records, one a line."""

from pathlib import Path
from typing import Annotated, Any

import typer

from healthgpt.cli.console import note, print_table
from healthgpt.errors import DataError, closest

IMAGE_FORMS = ("files", "embed")
SPLIT_POLICIES = ("clean", "published", "disjoint")
SPLITS = ("train", "validation", "test")


def build(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the data set goes; new or empty.")],
    root: Annotated[
        Path | None, typer.Option("--from", help="Folder that holds the downloads, each in a folder of its own name.")
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="NAME below --from, or NAME=FOLDER; several times. All that are there if unset."),
    ] = None,
    words_only: Annotated[
        list[str] | None, typer.Option("--words-only", help="Source whose images are not at hand; several times.")
    ] = None,
    mixture: Annotated[
        str | None, typer.Option("--mixture", help="Counts of the training records: a name or a YAML file.")
    ] = None,
    scans: Annotated[
        Path | None, typer.Option("--scans", help="YAML file that says how volumes are cut into slices.")
    ] = None,
    splits: Annotated[
        str, typer.Option("--splits", help="clean (no leaks into held-out), published or disjoint.")
    ] = "clean",
    images: Annotated[str, typer.Option("--images", help="files beside the records, or embed in them.")] = "files",
    choice_share: Annotated[
        float, typer.Option("--choice-share", min=0, max=1, help="Share of training questions put as single choice.")
    ] = 0.5,
    max_quarantined: Annotated[
        float, typer.Option("--max-quarantined", min=0, max=1, help="Share of malformed rows at which to stop.")
    ] = 0.01,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of forms, options, phrasings and mixture.")] = 0,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes to use.")] = 1,
    ray: Annotated[
        str | None, typer.Option("--ray", help="Address of a Ray cluster to build on: auto, local or host:port.")
    ] = None,
) -> None:
    """Turn original downloads into a VL-Health data set; a stopped build goes on where it was."""
    _check_choice("--splits", splits, SPLIT_POLICIES)
    _check_choice("--images", images, IMAGE_FORMS)

    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from healthgpt.data.build import LocalWorkers, Workers
    from healthgpt.data.build import build as build_data_set
    from healthgpt.data.mixture import load_mixture
    from healthgpt.data.scans import ScanSettings
    from healthgpt.data.settings import BuildSettings, load_scan_settings

    sources = _sources(root, source or [])
    unknown = [name for name in words_only or [] if name not in sources]
    if unknown:
        raise DataError(f"--words-only {unknown[0]} is not one of the sources built", allowed=", ".join(sources))
    settings = BuildSettings(
        sources=sources,
        words_only=tuple(words_only or ()),
        images=images,  # type: ignore[arg-type]
        splits=splits,  # type: ignore[arg-type]
        choice_share=choice_share,
        max_quarantined=max_quarantined,
        seed=seed,
        scans=load_scan_settings(scans) if scans is not None else ScanSettings(),
        mixture=load_mixture(mixture) if mixture is not None else None,
    )
    hands: Workers = LocalWorkers(workers)
    if ray is not None:
        hands = _ray_workers(ray, folder / "work", tuple(sources.values()))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        lines: dict[str, Any] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in lines:
                lines[step] = bar.add_task(step, total=total)
            bar.update(lines[step], completed=done, total=total)

        manifest = build_data_set(folder, settings, hands, show)
    rows = [[split, f"{sum(own.values()):,}"] for split, own in manifest.counts.items()]
    rows += [[reason, f"{count:,}"] for reason, count in manifest.left_out.items()]
    rows.append(["quarantined rows", f"{sum(own['quarantined'] for own in manifest.sources.values()):,}"])
    print_table("", ["records", "count"], rows)
    for part in manifest.mixture.get("parts", ()):
        if part["wanted"] is not None and part["found"] < part["wanted"]:
            note(f"mixture: {', '.join(part['sources'])}: wanted {part['wanted']:,}, found {part['found']:,}")
    note(f"{folder} is finished; next: healthgpt data check {folder} && healthgpt data inspect {folder}")


def _ray_workers(address: str, shared: Path, originals: tuple[Path, ...]) -> Any:
    try:
        from healthgpt.cluster.data_on_ray import RayWorkers, connect
    except ImportError as fault:
        raise DataError(
            "--ray needs Ray", found=str(fault), next_step="pip install 'healthgpt[cluster]', or use --workers"
        ) from fault
    connect(address)  # before anything is written
    return RayWorkers(address, shared, originals)


def show(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A data set.")],
    split: Annotated[str | None, typer.Option("--split", help="Only train, validation or test.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many.")] = None,
    identity: Annotated[str | None, typer.Option("--id", help="Only the record of this id.")] = None,
) -> None:
    """Print records as JSON, one a line."""
    if split is not None:
        _check_choice("--split", split, SPLITS)

    from itertools import islice

    from healthgpt.data.shards import record_by_id, records_of

    if identity is not None:
        print(record_by_id(folder, identity).model_dump_json(exclude_defaults=True))
        return
    for record in islice(records_of(folder, split), limit):  # type: ignore[arg-type]
        print(record.model_dump_json(exclude_defaults=True))


def _check_choice(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise DataError(
            f"unknown {option} '{value}'", allowed=", ".join(allowed), next_step=closest(value, list(allowed))
        )


def _sources(root: Path | None, named: list[str]) -> dict[str, Path]:
    """Folder of each source to build, in the catalogue's order: those named, or all that lie below ``root``."""
    from healthgpt.sources.catalog import SOURCES, present, source_named

    if root is not None and not root.is_dir():
        raise DataError(f"no folder of downloads at {root}", next_step="name the folder that holds them with --from")
    found: dict[str, Path] = {}
    for one in named:
        name, equals, place = one.partition("=")
        source = source_named(name)
        if not equals and root is None:
            raise DataError(
                f"--source {name} does not say where it lies", next_step=f"add --from, or --source {name}=FOLDER"
            )
        found[name] = Path(place) if equals else Path(root or ".") / source.folder
    if not named:
        if root is None:
            raise DataError("no sources named", next_step="give --from FOLDER, or --source NAME=FOLDER")
        found = {name: root / SOURCES[name].folder for name in present(root) if SOURCES[name].has_files(root)}
        if not found:
            raise DataError(
                f"none of the known data sets lies in {root}",
                allowed="folders named " + ", ".join(source.folder for source in SOURCES.values()),
                next_step="see 'healthgpt data sources', or name one with --source NAME=FOLDER",
            )
    return {name: found[name].absolute() for name in SOURCES if name in found}

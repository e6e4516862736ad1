"""``healthgpt data``: build a data folder from VL-Phantom and real packs, list the sources, make sample images."""

from pathlib import Path
from typing import Annotated

import typer

from healthgpt.cli import options
from healthgpt.cli.console import note, print_table
from healthgpt.errors import DataError, OutputError, closest
from healthgpt.tasks import GENERATION_TASKS, MODALITIES

app = typer.Typer(help="Build data sets, list their sources, make sample images.", invoke_without_command=True)
SPLITS = ("train", "validation", "test")


@app.callback()
def _bare(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        sources()


@app.command("sources")
def sources(
    packs: Annotated[Path | None, typer.Option("--packs", help="Folder of real packs, to see which are there.")] = None,
) -> None:
    """List the data sets that can be built, with their licences."""
    from healthgpt.data.build import LICENCE, PHANTOM
    from healthgpt.sources.catalog import SOURCES, present

    here = set(present(packs)) if packs is not None else set()
    rows = [[PHANTOM, "procedural images with known truth", LICENCE, "yes, generated"]]
    for name, source in SOURCES.items():
        rows.append([name, source.title, source.licence, "yes" if name in here else "no" if packs else "see --packs"])
    print_table("", ["source", "what", "licence", "here"], rows)


@app.command("build")
def build(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where records.jsonl and images/ go.")],
    cases: Annotated[int, typer.Option("--cases", min=0, help="VL-Phantom cases of each modality.")] = 100,
    pairs: Annotated[int, typer.Option("--pairs", min=0, help="Pairs of each generation task.")] = 100,
    split: Annotated[str, typer.Option("--split", help=f"Seeds of the cases: {', '.join(SPLITS)}.")] = "train",
    packs: Annotated[
        Path | None, typer.Option("--packs", help="Folder of real packs; every one with images joins in.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes to use.")] = 1,
) -> None:
    """Write VL-Phantom cases and real packs as records and PNG files; a stopped build goes on where it was."""
    if split not in SPLITS:
        raise DataError(f"unknown split '{split}'", allowed=", ".join(SPLITS), next_step=closest(split, list(SPLITS)))
    options.check_packs(packs)

    from rich.console import Console
    from rich.progress import Progress

    from healthgpt.data.build import build as build_folder
    from healthgpt.data.build import plan_jobs
    from healthgpt.sources.catalog import SOURCES, present

    jobs = plan_jobs(
        dict.fromkeys(MODALITIES, cases),
        dict.fromkeys(GENERATION_TASKS, pairs),
        split,  # type: ignore[arg-type]
        [name for name in present(packs) if SOURCES[name].samples is not None] if packs is not None else (),
    )
    _make_folder(folder)
    with Progress(console=Console(stderr=True)) as bar:
        line = bar.add_task("building", total=len(jobs))
        count = build_folder(
            folder,
            jobs,
            packs=packs,
            workers=workers,
            progress=lambda done, total: bar.update(line, completed=done, total=total),
        )
    note(f"{count} records in {folder / 'records.jsonl'}")


@app.command("samples")
def samples(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the images and samples.json go.")],
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of the cases; a test seed if unset.")] = None,
) -> None:
    """Make the demo's sample images: one of each modality, one pair of each generation task."""
    from healthgpt.cli.samples import FIRST_SEED, make_samples

    _make_folder(folder)
    count = make_samples(folder, FIRST_SEED if seed is None else seed)
    note(f"{count} images and samples.json in {folder}")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OutputError(
            f"cannot make the folder {folder}", found=str(fault.strerror), next_step="choose another folder"
        ) from fault

"""``healthgpt data``: the group of data commands, and those about VL-Phantom."""

from pathlib import Path
from typing import Annotated

import typer

from healthgpt.cli import data_build, data_check, data_encode, data_inspect, data_sources
from healthgpt.cli.console import note
from healthgpt.errors import DataError, OutputError, closest
from healthgpt.tasks import GENERATION_TASKS, MODALITIES

app = typer.Typer(help="Build data sets, check and look at them, list their sources.", invoke_without_command=True)
SPLITS = ("train", "validation", "test")


@app.callback()
def _bare(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        data_sources.sources(None, None)


app.command("sources")(data_sources.sources)
app.command("fetch")(data_sources.fetch)
app.command("mixtures")(data_sources.mixtures)
app.command("build")(data_build.build)
app.command("show")(data_build.show)
app.command("encode")(data_encode.encode)
app.command("check")(data_check.check)
app.command("inspect")(data_inspect.inspect)


@app.command("phantom")
def phantom(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where records.jsonl and images/ go.")],
    cases: Annotated[int, typer.Option("--cases", min=0, help="Cases of each modality.")] = 100,
    pairs: Annotated[int, typer.Option("--pairs", min=0, help="Pairs of each generation task.")] = 100,
    split: Annotated[str, typer.Option("--split", help=f"Seeds of the cases: {', '.join(SPLITS)}.")] = "train",
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes to use.")] = 1,
) -> None:
    """Write VL-Phantom cases as records and PNG files; a stopped build goes on where it was."""
    if split not in SPLITS:
        raise DataError(f"unknown split '{split}'", allowed=", ".join(SPLITS), next_step=closest(split, list(SPLITS)))

    from rich.console import Console
    from rich.progress import Progress

    from healthgpt.data.sample_folder import build as build_folder
    from healthgpt.data.sample_folder import plan_jobs

    jobs = plan_jobs(dict.fromkeys(MODALITIES, cases), dict.fromkeys(GENERATION_TASKS, pairs), split)  # type: ignore[arg-type]
    _make_folder(folder)
    with Progress(console=Console(stderr=True)) as bar:
        line = bar.add_task("building", total=len(jobs))
        count = build_folder(
            folder, jobs, workers=workers, progress=lambda done, total: bar.update(line, completed=done, total=total)
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

"""``healthgpt data check``: everything that is wrong with a data set, at once."""

from pathlib import Path
from typing import Annotated, Any

import typer

from healthgpt.cli.console import note, print_json
from healthgpt.errors import DataError


def check(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A finished data set.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Verify every file, record and image of a data set; exit code 2 when anything is wrong."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from healthgpt.data.check import check_data

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        lines: dict[str, Any] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in lines:
                lines[step] = bar.add_task(step, total=total or None)
            bar.update(lines[step], completed=done, total=total or None)

        report = check_data(folder, show)
    if as_json:
        print_json(report.model_dump(mode="json") | {"clean": report.clean})
    else:
        print(f"{report.records:,} records, {report.images:,} images in {report.shards:,} files of records")
        for problem in report.problems:
            print(f"\n{problem.count:,} x {problem.kind}: {problem.what}")
            for example in problem.examples:
                print(f"    {example}")
            if problem.count > len(problem.examples):
                print(f"    ... and {problem.count - len(problem.examples):,} more")
        for line in report.notes:
            print(f"\nnote: {line}")
    if not report.clean:
        count = sum(problem.count for problem in report.problems)
        raise DataError(
            f"{folder} has {count:,} problem{'s' if count > 1 else ''}",
            found=", ".join(problem.kind for problem in report.problems),
            next_step="mend or remove what is named above, or build the data set again in another folder",
        )
    note(f"{folder} is as it should be; next: healthgpt data inspect {folder}")

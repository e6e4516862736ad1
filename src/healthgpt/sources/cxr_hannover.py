"""Hannover COVID-19 image repository: chest X-rays of COVID-19 patients with a clinical table.

The table has no free text, so the report says what a row and its picture share: projection, sex and the
disease all patients had. A patient's pictures stay in one split.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from healthgpt.errors import DataError
from healthgpt.record import Sample
from healthgpt.sources.base import Source, required_file, split_of
from healthgpt.sources.picture import Picture, load_pixels

PROJECTIONS = ("ap", "pa")
PATIENTS = {"m": "Male patient", "f": "Female patient"}


def samples(root: Path) -> Iterator[Sample]:
    """All pictures with their questions; each is also a report-to-chest-X-ray target."""
    folder = SOURCE.folder_in(root)
    for row in read_table(folder / "data.csv"):
        path = required_file(folder / "png" / f"{row['image_id']}.png", SOURCE.name)
        patient = row["patient_id"]
        picture = Picture(
            SOURCE.name, SOURCE.licence, row["image_id"], patient, split_of(SOURCE.name, patient),
            "x-ray", "chest", load_pixels(path),
        )  # fmt: skip
        yield from picture.about()
        if row["projection"] in PROJECTIONS:
            yield from picture.ask(
                "projection",
                (
                    "Is this an AP or a PA projection?",
                    "Which projection is this chest X-ray, AP or PA?",
                    "What is the projection of this chest X-ray?",
                ),
                row["projection"],
                PROJECTIONS,
            )
        report = report_of(row)
        yield picture.described(report)
        yield picture.drawn_from(report)
        yield picture.reconstructed()


def read_table(table: Path) -> list[dict[str, str]]:
    """The rows with values lower-cased and stripped; an empty cell is unknown."""
    with required_file(table, SOURCE.name).open(encoding="utf-8-sig", newline="") as stream:
        rows = [{key: (value or "").strip().lower() for key, value in row.items()} for row in csv.DictReader(stream)]
    missing = {"patient_id", "image_id", "sex", "projection"} - set(rows[0] if rows else ())
    if missing:
        raise DataError(f"{table} is not the clinical table", found=f"no column {', '.join(sorted(missing))}")
    return rows


def report_of(row: dict[str, str]) -> str:
    """A short report written from a row of the table."""
    view = f", {row['projection'].upper()} projection" if row["projection"] in PROJECTIONS else ""
    return f"Frontal chest X-ray{view}. {PATIENTS.get(row['sex'], 'Patient')} with COVID-19."


SOURCE = Source(
    name="cxr_hannover",
    title="COVID-19 image repository, Hannover Medical School",
    licence="CC BY 3.0",
    obtain="https://doi.org/10.6084/m9.figshare.12275009",
    folder="cxr_hannover",
    published_images=243,
    published_questions=0,
    samples=samples,
)

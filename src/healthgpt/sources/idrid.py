"""IDRiD, part B (disease grading): fundus photographs with retinopathy grade and risk of macular edema.

The header "Risk of macular edema " ends in a blank and the training table has nine empty trailing columns.
The same image name occurs in both folders for different images, so the folder is part of the identity.
The published testing folder is the test split; the training folder is divided 7 : 1 into train and
validation by image (patients are not told).
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from healthgpt.errors import DataError
from healthgpt.record import Sample, Split
from healthgpt.sources.base import Source, required_file, split_of
from healthgpt.sources.picture import Picture, load_pixels

GRADES = ("no retinopathy", "mild", "moderate", "severe", "proliferative")
"""International Clinical Diabetic Retinopathy scale, grades 0 to 4."""
EDEMA_RISKS = ("no risk", "some risk", "high risk")

FOLDERS = (
    ("train", "a. Training Set", "a. IDRiD_Disease Grading_Training Labels.csv"),
    ("test", "b. Testing Set", "b. IDRiD_Disease Grading_Testing Labels.csv"),
)


def samples(root: Path) -> Iterator[Sample]:
    """All labelled pictures with their questions."""
    folder = SOURCE.folder_in(root) / "B. Disease Grading"
    for part, images, table in FOLDERS:
        for name, grade, risk in read_grades(folder / "2. Groundtruths" / table):
            path = required_file(folder / "1. Original Images" / images / f"{name}.jpg", SOURCE.name)
            identity = f"{part}/{name}"
            split: Split = "test" if part == "test" else split_of(SOURCE.name, identity, train=0.875, validation=0.125)
            picture = Picture(
                SOURCE.name, SOURCE.licence, identity, identity, split, "fundus", "eye", load_pixels(path, colour=True)
            )
            yield from _sample_one(picture, grade, risk)


def read_grades(table: Path) -> list[tuple[str, int, int]]:
    """(image name, retinopathy grade 0-4, risk of macular edema 0-2) of every row."""
    with required_file(table, SOURCE.name).open(encoding="utf-8-sig", newline="") as stream:
        rows = [{(key or "").strip(): value for key, value in row.items()} for row in csv.DictReader(stream)]
    try:
        return [
            (row["Image name"].strip(), int(row["Retinopathy grade"]), int(row["Risk of macular edema"]))
            for row in rows
            if row["Image name"].strip()
        ]
    except (KeyError, ValueError) as fault:
        raise DataError(
            f"{table} is not an IDRiD grading table",
            found=str(fault),
            allowed="columns 'Image name', 'Retinopathy grade' and 'Risk of macular edema '",
        ) from fault


def _sample_one(picture: Picture, grade: int, risk: int) -> Iterator[Sample]:
    yield from picture.about()
    yield from picture.ask(
        "presence",
        (
            "Is there diabetic retinopathy?",
            "Does this eye have diabetic retinopathy?",
            "Are there signs of diabetic retinopathy?",
        ),
        "yes" if grade else "no",
        topic="retinopathy",
    )
    yield from picture.ask(
        "presence",
        ("Is there a risk of macular edema?", "Is macular edema a risk here?", "Does this eye risk macular edema?"),
        "yes" if risk else "no",
        topic="edema",
    )
    yield from picture.ask(
        "grade",
        (
            "What is the grade of diabetic retinopathy?",
            "How severe is the diabetic retinopathy?",
            "Which retinopathy grade fits this fundus photograph?",
        ),
        GRADES[grade],
        GRADES,
    )
    finding = f"{GRADES[grade]} diabetic retinopathy" if grade else "no diabetic retinopathy"
    yield picture.described(f"Fundus photograph with {finding} and {EDEMA_RISKS[risk]} of macular edema.")
    yield picture.reconstructed()


SOURCE = Source(
    name="idrid_fundus",
    title="IDRiD: fundus photographs with retinopathy grades",
    licence="CC BY 4.0",
    obtain="https://doi.org/10.21227/H25W98",
    folder="idrid_fundus",
    published_images=516,
    published_questions=0,
    samples=samples,
)

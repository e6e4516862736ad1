"""BCCD: stained blood smears with a box and a name for each cell.

Left and right are those of the picture. Boxes of red cells that touch the border or overlap are not all
marked by the publishers, so red cells are compared between the halves and not counted, and only where the
difference is clear. Patients are not told: each picture is its own group.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from healthgpt.errors import DataError
from healthgpt.record import Sample
from healthgpt.sources.base import Source, required_file, split_of
from healthgpt.sources.picture import Picture, load_pixels

CLEAR_DIFFERENCE = 3
"""Red cells that one half must have more than the other before the halves are compared."""
OFF_CENTRE = 0.08
"""Share of the width by which a white cell's middle must lie beside the picture's before it has a half."""


@dataclass(frozen=True)
class Cell:
    """``kind``: RBC, WBC or Platelets; ``centre``: horizontal position of the box, 0 left to 1 right."""

    kind: str
    centre: float


def samples(root: Path) -> Iterator[Sample]:
    """All pictures with their questions."""
    folder = SOURCE.folder_in(root) / "BCCD"
    for annotation in sorted((folder / "Annotations").glob("*.xml")):
        name = annotation.stem
        path = required_file(folder / "JPEGImages" / f"{name}.jpg", SOURCE.name)
        picture = Picture(
            SOURCE.name, SOURCE.licence, name, name, split_of(SOURCE.name, name),
            "microscopy", "blood smear", load_pixels(path, colour=True),
        )  # fmt: skip
        cells = read_cells(annotation)
        yield from picture.about()
        yield from _counted(picture, cells)
        yield from _placed(picture, cells)
        yield from _compared(picture, cells)
        yield picture.described(report_of(cells))
        yield picture.reconstructed()


def read_cells(annotation: Path) -> list[Cell]:
    """The cells of one Pascal VOC file; ``DataError`` when it is not one."""
    try:
        tree = ElementTree.parse(annotation)
        width = float(tree.findtext("size/width", ""))
        return [
            Cell(
                box.findtext("name", "").strip(),
                (float(box.findtext("bndbox/xmin", "")) + float(box.findtext("bndbox/xmax", ""))) / 2 / width,
            )
            for box in tree.iter("object")
        ]
    except (ElementTree.ParseError, ValueError, ZeroDivisionError) as fault:
        raise DataError(f"{annotation} is not a Pascal VOC annotation", found=str(fault)) from fault


def report_of(cells: list[Cell]) -> str:
    """One sentence with the white cells and platelets; red cells are not counted exactly."""
    white, platelets = _number_of(cells, "WBC"), _number_of(cells, "Platelets")
    red = "red blood cells" if _number_of(cells, "RBC") else "no red blood cells"
    return f"Stained blood smear with {red}, {_spelt(white, 'white blood cell')} and {_spelt(platelets, 'platelet')}."


def _counted(picture: Picture, cells: list[Cell]) -> Iterator[Sample]:
    platelets = _number_of(cells, "Platelets")
    yield from picture.ask(
        "presence",
        ("Is there a white blood cell?", "Does this smear show a white blood cell?", "Are white blood cells present?"),
        "yes" if _number_of(cells, "WBC") else "no",
        topic="white-cell",
    )
    yield from picture.ask(
        "presence",
        ("Are there platelets?", "Does this smear show platelets?", "Is any platelet visible?"),
        "yes" if platelets else "no",
        topic="platelets",
    )
    yield from picture.ask(
        "count",
        ("How many platelets are there?", "Count the platelets.", "What is the number of platelets?"),
        str(platelets),
        tuple(str(number) for number in range(5)),
        topic="platelet-count",
    )


def _placed(picture: Picture, cells: list[Cell]) -> Iterator[Sample]:
    """Nearly every picture is taken around a white cell, so its presence is asked for each half as well."""
    centres = [cell.centre for cell in cells if cell.kind == "WBC"]
    if any(abs(centre - 0.5) < OFF_CENTRE for centre in centres):
        return
    for half, present in (("left", any(x < 0.5 for x in centres)), ("right", any(x > 0.5 for x in centres))):
        yield from picture.ask(
            "presence",
            (
                f"Is there a white blood cell in the {half} half of the image?",
                f"Does the {half} half of this smear show a white blood cell?",
                f"Are white blood cells present on the {half} of the image?",
            ),
            "yes" if present else "no",
            topic=f"white-cell-{half}",
        )


def _compared(picture: Picture, cells: list[Cell]) -> Iterator[Sample]:
    left = sum(cell.kind == "RBC" and cell.centre < 0.5 for cell in cells)
    right = _number_of(cells, "RBC") - left
    if abs(left - right) >= CLEAR_DIFFERENCE:
        yield from picture.ask(
            "comparison",
            (
                "Which half of the image has more red blood cells, left or right?",
                "Are there more red blood cells on the left or on the right of the image?",
                "On which side of the image are there more red blood cells?",
            ),
            "left" if left > right else "right",
            ("left", "right"),
        )


def _number_of(cells: list[Cell], kind: str) -> int:
    return sum(cell.kind == kind for cell in cells)


def _spelt(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


SOURCE = Source(
    name="bccd_microscopy",
    title="BCCD: blood smear microscopy with cell boxes",
    licence="MIT",
    obtain="https://github.com/Shenggan/BCCD_Dataset",
    folder="bccd_microscopy",
    published_images=364,
    published_questions=0,
    samples=samples,
)

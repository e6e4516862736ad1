"""Questions and reports about a blood smear, from its truth."""

from typing import Any

import numpy as np

from healthgpt.phantoms.asking import YES_NO, ask, yes_no
from healthgpt.phantoms.case import Question
from healthgpt.phantoms.specimen import MODALITIES, MODALITY_PHRASINGS, SPECIMEN_PHRASINGS, SPECIMENS

COUNTS = ("0", "1", "2", "3")


def questions(rng: np.random.Generator, truth: dict[str, Any]) -> tuple[Question, ...]:
    """Six to nine exact questions; presence of white cells is asked so that yes and no come out even."""
    count = truth["white_cells"]
    asked = [
        ask(rng, "modality", MODALITY_PHRASINGS, "microscopy", MODALITIES),
        ask(rng, "region", SPECIMEN_PHRASINGS, "blood smear", SPECIMENS),
        ask(
            rng,
            "count",
            (
                "How many white blood cells are there?",
                "How many white cells can be seen?",
                "Count the white blood cells.",
            ),
            str(count),
            COUNTS,
        ),
        ask(
            rng,
            "count",
            ("How many platelets are there?", "How many platelets can be seen?", "Count the platelets."),
            str(truth["platelets"]),
            COUNTS,
        ),
        ask(
            rng,
            "size",
            (
                "Is the central pallor of the red cells small or large?",
                "How large is the pale centre of the red cells?",
                "Do the red cells have a small or a large central pallor?",
            ),
            truth["pallor"],
            ("small", "large"),
        ),
    ]
    if count == 0 or rng.random() < 1 / 3:
        asked.append(
            ask(
                rng,
                "presence",
                (
                    "Is there a white blood cell?",
                    "Are there any white cells?",
                    "Does the smear show a white blood cell?",
                ),
                yes_no(count > 0),
                YES_NO,
            )
        )
    if count:
        asked.append(
            ask(
                rng,
                "presence",
                (
                    "Are the white cells neutrophils with lobed nuclei?",
                    "Is the nucleus of the white cells lobed?",
                    "Do the white cells have a lobed nucleus?",
                ),
                yes_no(truth["nucleus"] == "lobed"),
                YES_NO,
            )
        )
    if truth["white_cell_half"]:
        asked.append(
            ask(
                rng,
                "side",
                (
                    "Which half of the image holds the white cell?",
                    "Is the white blood cell in the left or the right half?",
                    "On which side of the image is the white cell?",
                ),
                truth["white_cell_half"],
                ("left", "right"),
            )
        )
    if truth["red_cell_half"]:
        asked.append(
            ask(
                rng,
                "comparison",
                (
                    "Which half has more red cells, left or right?",
                    "Are there more red cells in the left or the right half?",
                    "In which half are the red cells denser?",
                ),
                truth["red_cell_half"],
                ("left", "right"),
            )
        )
    return tuple(asked)


def report(rng: np.random.Generator, truth: dict[str, Any]) -> str:
    """Two or three sentences with every finding."""
    count, platelets = truth["white_cells"], truth["platelets"]
    pallor = truth["pallor"]
    opening = (
        f"Blood smear; the red cells have a {pallor} central pallor.",
        f"Smear of blood with red cells of {pallor} central pallor.",
        f"Blood smear. The central pallor of the red cells is {pallor}.",
    )
    plural = "s" if count > 1 else ""
    if count:
        where = f" in the {truth['white_cell_half']} half" if truth["white_cell_half"] else ""
        cells = f"{count} white cell{plural} with {truth['nucleus']} nucle{'i' if count > 1 else 'us'}{where}"
    else:
        cells = "no white cells"
    small = f"{platelets} platelet{'' if platelets == 1 else 's'}" if platelets else "no platelets"
    findings = (
        f"There {'is' if count == 1 else 'are'} {cells} and {small}.",
        f"Seen: {cells}, {small}.",
        f"{cells[0].upper()}{cells[1:]}; {small}.",
    )
    sentences = [opening[int(rng.integers(3))], findings[int(rng.integers(3))]]
    if truth["red_cell_half"]:
        sentences.append(f"Red cells are denser in the {truth['red_cell_half']} half.")
    return " ".join(sentences)

"""Questions and reports about a tissue section, from its truth."""

from typing import Any

import numpy as np

from healthgpt.phantoms.asking import YES_NO, ask, yes_no
from healthgpt.phantoms.case import Question
from healthgpt.phantoms.specimen import MODALITIES, MODALITY_PHRASINGS, SPECIMEN_PHRASINGS, SPECIMENS

COUNTS = ("0", "1", "2", "3")
CELLULARITIES = ("low", "medium", "high")


def questions(rng: np.random.Generator, truth: dict[str, Any]) -> tuple[Question, ...]:
    """Seven to ten exact questions; presences of counted things are asked so that yes and no come out even."""
    asked = [
        ask(rng, "modality", MODALITY_PHRASINGS, "microscopy", MODALITIES),
        ask(rng, "region", SPECIMEN_PHRASINGS, "tissue section", SPECIMENS),
        ask(
            rng,
            "count",
            ("How many glands are there?", "How many glands can be seen?", "Count the glands."),
            str(truth["glands"]),
            COUNTS,
        ),
        ask(
            rng,
            "size",
            ("Are the nuclei small or large?", "How large are the nuclei?", "What is the size of the nuclei?"),
            truth["nuclear_size"],
            ("small", "large"),
        ),
        ask(
            rng,
            "size",
            (
                "Is the cellularity low, medium or high?",
                "How dense are the nuclei in the stroma?",
                "What is the density of the stromal nuclei?",
            ),
            truth["cellularity"],
            CELLULARITIES,
        ),
        ask(
            rng,
            "presence",
            (
                "Is there a lymphocyte aggregate?",
                "Are there clustered lymphocytes?",
                "Does the tissue show a lymphocyte aggregate?",
            ),
            yes_no(truth["lymphocytes"]),
            YES_NO,
        ),
    ]
    if rng.random() < 0.5:
        asked.append(
            ask(
                rng,
                "presence",
                ("Do the nuclei vary in size?", "Is there nuclear pleomorphism?", "Are the nuclei pleomorphic?"),
                yes_no(truth["pleomorphism"]),
                YES_NO,
            )
        )
    if rng.random() < 0.5:
        asked.append(
            ask(
                rng,
                "count",
                ("How many mitoses are there?", "How many mitoses can be seen?", "Count the mitoses."),
                str(truth["mitoses"]),
                COUNTS,
            )
        )
    if truth["mitoses"] == 0 or rng.random() < 1 / 3:
        asked.append(
            ask(
                rng,
                "presence",
                ("Is there a mitosis?", "Are there mitoses?", "Can a mitosis be seen?"),
                yes_no(truth["mitoses"] > 0),
                YES_NO,
            )
        )
    if truth["glands"] == 0 or rng.random() < 1 / 3:
        asked.append(
            ask(
                rng,
                "presence",
                ("Is there a gland?", "Are there glands?", "Does the tissue show glands?"),
                yes_no(truth["glands"] > 0),
                YES_NO,
            )
        )
    if truth["lymphocyte_half"]:
        asked.append(
            ask(
                rng,
                "side",
                (
                    "Which half of the image holds the lymphocyte aggregate?",
                    "Is the lymphocyte aggregate in the left or the right half?",
                    "On which side of the image are the lymphocytes?",
                ),
                truth["lymphocyte_half"],
                ("left", "right"),
            )
        )
    if truth["nuclei_half"]:
        asked.append(
            ask(
                rng,
                "comparison",
                (
                    "Which half has more nuclei, left or right?",
                    "Are there more nuclei in the left or the right half?",
                    "In which half are the nuclei more numerous?",
                ),
                truth["nuclei_half"],
                ("left", "right"),
            )
        )
    return tuple(asked)


def report(rng: np.random.Generator, truth: dict[str, Any]) -> str:
    """Two or three sentences with every finding."""

    def counted(number: int, one: str, many: str) -> str:
        return f"no {many}" if number == 0 else f"{number} {one if number == 1 else many}"

    glands, mitoses = counted(truth["glands"], "gland", "glands"), counted(truth["mitoses"], "mitosis", "mitoses")
    nuclei = f"{truth['nuclear_size']}{', pleomorphic' if truth['pleomorphism'] else ''} nuclei"
    density = truth["cellularity"]
    sentences = [
        (
            f"Tissue section with {glands} and {density} cellularity.",
            f"Section of tissue of {density} cellularity with {glands}.",
            f"Tissue section: {glands}, {density} cellularity.",
        )[int(rng.integers(3))],
        (
            f"There are {nuclei} and {mitoses}.",
            f"{nuclei.capitalize()}, {mitoses}.",
            f"The section has {nuclei} with {mitoses}.",
        )[int(rng.integers(3))],
    ]
    if truth["lymphocytes"]:
        half = truth["lymphocyte_half"]
        sentences.append(
            (
                f"A lymphocyte aggregate lies in the {half} half.",
                f"Lymphocytes cluster in the {half} half.",
                f"There is a lymphocyte aggregate in the {half} half.",
            )[int(rng.integers(3))]
        )
    return " ".join(sentences)

"""Questions and reports about a fundus photograph, from its truth."""

from typing import Any

import numpy as np

from healthgpt.phantoms.asking import YES_NO, ask, yes_no
from healthgpt.phantoms.case import Question

_MODALITIES = ("fundus photograph", "oct", "microscopy", "x-ray", "ultrasound", "mri", "ct")
_REGIONS = ("retina", "chest", "brain", "abdomen", "blood smear", "tissue section")


def questions(rng: np.random.Generator, truth: dict[str, Any]) -> tuple[Question, ...]:
    """Six to nine exact questions.

    Findings of retinopathy are asked in every eye that has it and in just so many healthy eyes that yes
    and no, and the counts 0 to 3, come out even over many cases (see ``fundus._draw_findings``).
    """
    diseased = truth["retinopathy"]

    def asked_if_healthy(share: float) -> bool:
        return diseased or rng.random() < share

    asked = [
        ask(
            rng,
            "modality",
            ("What kind of image is this?", "Which imaging modality is shown?", "How was this image made?"),
            "fundus photograph",
            _MODALITIES,
        ),
        ask(
            rng,
            "region",
            ("Which part of the body is shown?", "What does the image show?", "Which body region is this?"),
            "retina",
            _REGIONS,
        ),
        ask(
            rng,
            "side",
            ("Is this the left or the right eye?", "Which eye is this?", "Which side does this eye belong to?"),
            truth["eye"],
            ("left", "right"),
        ),
        ask(
            rng,
            "size",
            (
                "Is the optic cup small or large?",
                "How large is the cup of the optic disc?",
                "Is the cup-to-disc ratio small or large?",
            ),
            truth["cup"],
            ("small", "large"),
        ),
        ask(
            rng,
            "presence",
            ("Is there diabetic retinopathy?", "Are there signs of retinopathy?", "Does this eye have retinopathy?"),
            yes_no(diseased),
            YES_NO,
        ),
    ]
    if rng.random() < 0.5:
        asked.append(
            ask(
                rng,
                "comparison",
                (
                    "Is the optic cup wider than half of the disc?",
                    "Is the cup more than half as wide as the disc?",
                    "Does the cup take up more than half of the disc's width?",
                ),
                yes_no(truth["cup"] == "large"),
                YES_NO,
            )
        )
    if asked_if_healthy(0.2):
        asked.append(
            ask(
                rng,
                "count",
                (
                    "How many haemorrhages are there?",
                    "How many blot haemorrhages can be seen?",
                    "Count the haemorrhages.",
                ),
                str(truth["haemorrhages"]),
                ("0", "1", "2", "3"),
            )
        )
    if asked_if_healthy(0.4):
        asked.append(
            ask(
                rng,
                "presence",
                ("Are there hard exudates?", "Can hard exudates be seen?", "Does the retina show hard exudates?"),
                yes_no(truth["exudates"]),
                YES_NO,
            )
        )
    if asked_if_healthy(0.2):
        asked.append(
            ask(
                rng,
                "presence",
                (
                    "Is there a cotton wool spot?",
                    "Can a cotton wool spot be seen?",
                    "Does the retina show a cotton wool spot?",
                ),
                yes_no(truth["cotton_wool"]),
                YES_NO,
            )
        )
    if truth["exudates"]:
        asked.append(
            ask(
                rng,
                "comparison",
                (
                    "Are the hard exudates in the upper or the lower half?",
                    "Which half has more hard exudates, upper or lower?",
                    "Do the hard exudates lie in the upper or the lower half?",
                ),
                truth["exudate_half"],
                ("upper", "lower"),
            )
        )
    return tuple(asked)


def report(rng: np.random.Generator, truth: dict[str, Any]) -> str:
    """Two or three sentences with every finding."""
    opening = (
        f"Fundus photograph of the {truth['eye']} eye.",
        f"Colour photograph of the {truth['eye']} retina.",
        f"The {truth['eye']} fundus is shown.",
    )
    cup = (
        f"The optic cup is {truth['cup']}.",
        f"The optic disc has a {truth['cup']} cup.",
        f"The cup-to-disc ratio is {truth['cup']}.",
    )
    findings = []
    if truth["haemorrhages"]:
        count = truth["haemorrhages"]
        findings.append(f"{count} haemorrhage{'s' if count > 1 else ''}")
    if truth["exudates"]:
        findings.append(f"hard exudates in the {truth['exudate_half']} half")
    if truth["cotton_wool"]:
        findings.append("a cotton wool spot")
    if findings:
        listed = ", ".join(findings[:-1]) + " and " + findings[-1] if len(findings) > 1 else findings[0]
        last = (f"Retinopathy with {listed}.", f"There is retinopathy: {listed}.", f"Signs of retinopathy: {listed}.")
    else:
        last = ("No retinopathy.", "There are no signs of retinopathy.", "No haemorrhages or exudates.")
    return " ".join(lines[int(rng.integers(3))] for lines in (opening, cup, last))

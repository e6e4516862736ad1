"""What can be asked and written about an OCT phantom: questions and reports from its findings."""

from typing import Any

import numpy as np

from healthgpt.phantoms.asking import YES_NO, ask, yes_no
from healthgpt.phantoms.case import Question

MODALITIES = ("x-ray", "ct", "mri", "microscopy", "oct", "ultrasound", "fundus photograph")
REGIONS = ("eye", "head", "chest", "abdomen", "breast")
SIDES = ("left", "right")


def questions(rng: np.random.Generator, truth: dict[str, Any]) -> tuple[Question, ...]:
    """Eight to twelve questions; left and right are halves of the scan.

    Half of the cases show no drusen, so a count of zero is asked about less often than it occurs. Questions
    that only some cases allow are left out at random, whatever their answer.
    """
    asked = [
        ask(
            rng, "modality",
            ("What imaging modality is this?", "Which kind of scan is shown?", "How was this image made?"),
            "oct", MODALITIES,
        ),
        ask(
            rng, "region",
            ("Which organ is shown?", "What part of the body is this?", "Which region was scanned?"),
            "eye", REGIONS,
        ),
        ask(
            rng, "size",
            ("How thick is the retina?", "What is the retinal thickness?", "Is the retina thin, normal or thick?"),
            truth["thickness"], ("thin", "normal", "thick"),
        ),
        ask(
            rng, "comparison",
            (
                "Which side of the retina sits higher, left or right?",
                "Is the retina higher on the left or the right?",
                "Towards which side does the retina rise?",
            ),
            truth["higher_side"], SIDES,
        ),
        *_presences(rng, truth),
    ]  # fmt: skip
    if rng.random() < (0.75 if truth["drusen_count"] > 0 else 0.25):
        phrasings = ("How many drusen are there?", "How many drusen are visible?", "Count the drusen.")
        asked.append(ask(rng, "count", phrasings, str(truth["drusen_count"]), ("0", "1", "2", "3")))
    left, right = (truth["drusen_sides"].count(side) for side in SIDES)
    if left != right and rng.random() < 0.75:
        phrasings = (
            "Which half of the scan has more drusen, left or right?", "Are there more drusen on the left or the right?",
            "On which side do drusen prevail?",
        )  # fmt: skip
        asked.append(ask(rng, "comparison", phrasings, "left" if left > right else "right", SIDES))
    return (*asked, *_fluid(rng, truth))


def _presences(rng: np.random.Generator, truth: dict[str, Any]) -> list[Question]:
    phrasings = {
        "subretinal_fluid": (
            "Is there subretinal fluid?", "Is fluid seen under the retina?", "Does the scan show subretinal fluid?",
        ),
        "intraretinal_fluid": (
            "Is there intraretinal fluid?", "Are there cysts in the retina?", "Does the scan show cystoid fluid?",
        ),
        "epiretinal_membrane": (
            "Is there an epiretinal membrane?", "Does a membrane cover the retina?",
            "Does the scan show an epiretinal membrane?",
        ),
    }  # fmt: skip
    drusen = ("Are there drusen?", "Does the scan show drusen?", "Are drusen present?")
    asked = [ask(rng, "presence", texts, yes_no(truth[finding]), YES_NO) for finding, texts in phrasings.items()]
    return [*asked, ask(rng, "presence", drusen, yes_no(truth["drusen_count"] > 0), YES_NO)]


def _fluid(rng: np.random.Generator, truth: dict[str, Any]) -> list[Question]:
    asked = []
    if truth["subretinal_fluid"]:
        side = (
            "Which half of the scan holds the subretinal fluid?", "Is the subretinal fluid left or right?",
            "On which side is the subretinal fluid?",
        )  # fmt: skip
        size = (
            "How large is the pocket of subretinal fluid?", "How much subretinal fluid is there: small or large?",
            "Is the subretinal fluid pocket small or large?",
        )  # fmt: skip
        if rng.random() < 0.5:
            asked.append(ask(rng, "side", side, truth["subretinal_fluid_side"], SIDES))
        else:
            asked.append(ask(rng, "size", size, truth["subretinal_fluid_size"], ("small", "large")))
    if truth["intraretinal_fluid"]:
        side = (
            "Which half of the scan holds the intraretinal cysts?", "Is the intraretinal fluid left or right?",
            "On which side are the retinal cysts?",
        )  # fmt: skip
        asked.append(ask(rng, "side", side, truth["intraretinal_fluid_side"], SIDES))
    return asked


def report(rng: np.random.Generator, truth: dict[str, Any]) -> str:
    """Two or three sentences with every finding that is asked about."""
    opening = ("OCT of the retina", "Retinal OCT", "OCT scan of the eye")[rng.integers(3)]
    shape = f"{opening}: {truth['thickness']} retina, higher on the {truth['higher_side']}."
    count = truth["drusen_count"]
    drusen = ("no drusen", "one druse", "two drusen", "three drusen")[count]
    left, right = (truth["drusen_sides"].count(side) for side in SIDES)
    if left != right:
        side = "left" if left > right else "right"
        drusen += f", more on the {side}" if count > 1 else f" on the {side}"
    below = "no subretinal fluid"
    if truth["subretinal_fluid"]:
        below = f"a {truth['subretinal_fluid_size']} pocket of subretinal fluid on the {truth['subretinal_fluid_side']}"
    inside = "no intraretinal fluid"
    if truth["intraretinal_fluid"]:
        inside = f"intraretinal fluid on the {truth['intraretinal_fluid_side']}"
    membrane = f"{'an' if truth['epiretinal_membrane'] else 'no'} epiretinal membrane"
    found = [f"there is {below}", inside, drusen, membrane]
    if rng.random() < 0.5:
        return f"{shape} {_sentence('; '.join(found[:2]))} {_sentence('; '.join(found[2:]))}"
    return f"{shape} {_sentence(f'{membrane}; {drusen}')} {_sentence(f'{below}; {inside}')}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."

"""Questions about a chest X-ray with exact answers, balanced so that the question gives nothing away."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from healthgpt.phantoms.case import Question, QuestionKind

_PRESENCE = {
    "cardiomegaly": (
        "Is the heart enlarged?",
        "Is there cardiomegaly?",
        "Is cardiomegaly present?",
        "Is the heart abnormally large?",
    ),
    "effusion": (
        "Is there a pleural effusion?",
        "Is a pleural effusion present?",
        "Do you see a pleural effusion?",
        "Does this image show pleural fluid?",
    ),
    "pneumothorax": (
        "Is there a pneumothorax?",
        "Is a pneumothorax present?",
        "Does this image show a pneumothorax?",
        "Do you see a pneumothorax?",
    ),
    "consolidation": (
        "Is there consolidation in the lungs?",
        "Is a consolidation present?",
        "Do you see an airspace consolidation?",
        "Does this image show a consolidation?",
    ),
}
_NODULE_ON = (
    "Is there a nodule in the {side} lung?",
    "Does the {side} lung contain a nodule?",
    "Do you see a nodule in the {side} lung?",
)
_SIDE = {
    "effusion": (
        "Which side is the pleural effusion on?",
        "Where is the pleural effusion, left, right or both?",
        "On which side is the pleural fluid?",
    ),
    "pneumothorax": (
        "Which side is the pneumothorax on?",
        "On which side is the pneumothorax?",
        "Which lung has a pneumothorax?",
    ),
    "consolidation": (
        "Which lung has the consolidation?",
        "Which side is the consolidation on?",
        "On which side is the consolidation?",
    ),
}
_MODALITY = (
    "What type of image is this?",
    "Which imaging modality is shown?",
    "How was this image taken?",
    "What kind of scan is this?",
)
_REGION = (
    "Which part of the body is shown?",
    "What body region does this image show?",
    "Which region was imaged?",
)
_COUNT = (
    "How many nodules are there?",
    "How many lung nodules can be seen?",
    "What is the number of nodules in the lungs?",
)
_HEART_SIZE = (
    "What is the size of the heart?",
    "How large is the heart?",
    "Is the heart size normal or enlarged?",
)
_EFFUSION_SIZE = (
    "How large is the pleural effusion?",
    "What is the size of the pleural effusion?",
    "Is the pleural effusion small or large?",
)
_MORE_NODULES = (
    "Which lung has more nodules?",
    "Which side shows more nodules, or are they equal?",
    "In which lung are there more nodules?",
)
_WIDER = (
    "Is the heart wider than half of the chest?",
    "Is the cardiothoracic ratio above one half?",
    "Is the heart's width more than half that of the chest?",
)


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


def _question(
    rng: np.random.Generator, phrases: tuple[str, ...], answer: str, kind: QuestionKind, choices: tuple[str, ...]
) -> Question:
    """A random phrasing, half of the time as a single choice among up to four shuffled options."""
    text = phrases[int(rng.integers(len(phrases)))]
    if rng.random() < 0.5:
        return Question(text, answer, kind)
    others = [choice for choice in choices if choice != answer]
    rng.shuffle(others)
    options = [answer, *others[:3]]
    rng.shuffle(options)
    return Question(text, answer, kind, tuple(options))


def ask(truth: Mapping[str, Any], rng: np.random.Generator) -> tuple[Question, ...]:
    """Seven to ten questions on one film.

    Presence, side, count and comparison are balanced by how cases are drawn. Size: a heart is
    ``enlarged`` above a cardiothoracic ratio of 0.5, else ``normal``; an effusion is ``small`` up to
    70 mm above the costophrenic angle, else ``large``.
    """
    yes_no = ("yes", "no")
    questions = [
        _question(rng, _MODALITY, "x-ray", "modality", ("x-ray", "ct", "mri", "ultrasound", "oct", "microscopy")),
        _question(rng, _REGION, "chest", "region", ("chest", "head", "abdomen", "knee", "eye", "pelvis")),
    ]
    for name in rng.permutation(list(_PRESENCE))[:2]:
        present = truth[name] not in (False, "none")
        questions.append(_question(rng, _PRESENCE[str(name)], _yes_no(present), "presence", yes_no))
    lung = str(rng.choice(("left", "right")))
    on_side = tuple(phrase.format(side=lung) for phrase in _NODULE_ON)
    questions.append(_question(rng, on_side, _yes_no(truth[f"nodules_{lung}"] > 0), "presence", yes_no))
    present_sides = [name for name in _SIDE if truth[name] != "none"]
    rng.shuffle(present_sides)
    for name in present_sides[:2]:
        choices = ("left", "right", "both") if name == "effusion" else ("left", "right")
        questions.append(_question(rng, _SIDE[name], truth[name], "side", choices))
    questions.append(_question(rng, _COUNT, str(truth["nodules"]), "count", ("0", "1", "2", "3")))
    size = "enlarged" if truth["cardiomegaly"] else "normal"
    if truth["effusion"] != "none" and rng.random() < 0.6:
        questions.append(_question(rng, _EFFUSION_SIZE, truth["effusion_size"], "size", ("small", "large")))
    else:
        questions.append(_question(rng, _HEART_SIZE, size, "size", ("normal", "enlarged")))
    if rng.random() < 0.5:
        difference = truth["nodules_left"] - truth["nodules_right"]
        answer = "left" if difference > 0 else "right" if difference < 0 else "equal"
        questions.append(_question(rng, _MORE_NODULES, answer, "comparison", ("left", "right", "equal")))
    else:
        questions.append(_question(rng, _WIDER, _yes_no(truth["cardiomegaly"]), "comparison", yes_no))
    return tuple(questions)

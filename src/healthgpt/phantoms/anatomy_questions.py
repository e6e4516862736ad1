"""Questions about a slice's findings, each exact and balanced, the same for CT and MRI.

Where a finding is not equally often there and not, the question is asked less often about the commoner
answer, so that no question can be answered better than by chance without the image.
"""

from typing import Any

import numpy as np

from healthgpt.phantoms.asking import YES_NO, ask, yes_no
from healthgpt.phantoms.case import Question

SIDES = ("left", "right")
COUNTS = ("0", "1", "2", "3")
REGIONS = ("head", "chest", "abdomen", "pelvis")
LESION_WORDS = {"haemorrhage": "a haemorrhage", "infarct": "an infarct", "mass": "a mass"}


def modality_question(rng: np.random.Generator, modality: str) -> Question:
    """What kind of image this is; ``modality``: ``ct`` or ``mri``."""
    phrasings = (
        "What modality is this image?",
        "Which imaging modality is shown?",
        "What type of scan is this?",
        "How was this image made?",
    )
    return ask(rng, "modality", phrasings, modality, ("ct", "mri", "x-ray", "ultrasound"))


def finding_questions(rng: np.random.Generator, truth: dict[str, Any]) -> list[Question]:
    """The region question and every finding's questions that apply to ``truth``."""
    phrasings = (
        "Which part of the body is shown?",
        "What body region does this image show?",
        "Which region was scanned?",
        "What organ region is imaged?",
    )
    region = ask(rng, "region", phrasings, truth["region"], REGIONS)
    return [region, *_BY_REGION[truth["region"]](rng, truth)]


def _head(rng: np.random.Generator, truth: dict[str, Any]) -> list[Question]:
    questions = [_named_lesion(rng, truth["lesion"])]
    count = truth["lesion_count"]
    if count == 0 or rng.random() < 0.5:
        questions.append(
            ask(
                rng,
                "presence",
                ("Is there a lesion in the brain?", "Does the brain show a lesion?", "Can a focal lesion be seen?"),
                yes_no(count > 0),
                YES_NO,
            )
        )
    if count > 1 or rng.random() < 0.5:
        questions.append(
            ask(
                rng,
                "count",
                ("How many lesions are there?", "How many lesions can be seen?", "What is the number of lesions?"),
                str(count),
                COUNTS,
            )
        )
    if truth["lesion_side"] in SIDES:
        questions.append(
            ask(
                rng,
                "side",
                (
                    "On which side is the lesion?",
                    "Which hemisphere holds the lesion?",
                    "Which side of the brain is affected?",
                ),
                truth["lesion_side"],
                SIDES,
            )
        )
    if truth["lesion_size"]:
        questions.append(
            ask(
                rng,
                "size",
                ("How large is the lesion?", "What size is the lesion?", "Is the lesion small, medium or large?"),
                truth["lesion_size"],
                ("small", "medium", "large"),
            )
        )
    if truth["level"] == "ventricles":
        questions.append(
            ask(
                rng,
                "presence",
                (
                    "Are the ventricles enlarged?",
                    "Is there ventricular enlargement?",
                    "Are the lateral ventricles too wide?",
                ),
                yes_no(truth["ventricles_enlarged"]),
                YES_NO,
            )
        )
    if truth["larger_ventricle"]:
        questions.append(
            ask(
                rng,
                "comparison",
                (
                    "Which lateral ventricle is larger?",
                    "Which lateral ventricle is wider, left or right, or are they equal?",
                    "Compare the lateral ventricles: which one is larger?",
                ),
                truth["larger_ventricle"],
                ("left", "right", "equal"),
            )
        )
    return questions


def _named_lesion(rng: np.random.Generator, lesion: str) -> Question:
    # With lesions in 2 of 3 slices, naming the true kind in 3 of 4 makes yes and no equally likely.
    kinds = list(LESION_WORDS)
    if lesion == "none":
        asked = str(rng.choice(kinds))
    elif rng.random() < 0.75:
        asked = lesion
    else:
        asked = str(rng.choice([kind for kind in kinds if kind != lesion]))
    word = LESION_WORDS[asked]
    return ask(
        rng,
        "presence",
        (f"Is there {word}?", f"Does this image show {word}?", f"Can {word} be seen in the brain?"),
        yes_no(asked == lesion),
        YES_NO,
    )


def _chest(rng: np.random.Generator, truth: dict[str, Any]) -> list[Question]:
    questions = [
        _contrast(rng, truth)
        if rng.random() < 0.5
        else ask(
            rng,
            "presence",
            ("Is the heart enlarged?", "Is there cardiomegaly?", "Is the heart too large?"),
            yes_no(truth["heart_enlarged"]),
            YES_NO,
        ),
        ask(
            rng,
            "presence",
            (
                "Is there a pleural effusion?",
                "Does this image show a pleural effusion?",
                "Is fluid seen in the pleural space?",
            ),
            yes_no(truth["effusion"]),
            YES_NO,
        ),
        ask(
            rng,
            "count",
            (
                "How many lung nodules are there?",
                "How many nodules can be seen in the lungs?",
                "What is the number of lung nodules?",
            ),
            str(truth["nodule_count"]),
            COUNTS,
        ),
    ]
    if truth["effusion"]:
        questions.append(
            ask(
                rng,
                "side",
                (
                    "On which side is the pleural effusion?",
                    "Which side is the effusion on?",
                    "Which pleural space holds fluid?",
                ),
                truth["effusion_side"],
                SIDES,
            )
        )
        questions.append(
            ask(
                rng,
                "size",
                (
                    "How large is the pleural effusion?",
                    "Is the effusion small or large?",
                    "What size is the pleural effusion?",
                ),
                truth["effusion_size"],
                ("small", "large"),
            )
        )
    if truth["nodule_size"]:
        questions.append(
            ask(
                rng,
                "size",
                ("How large is the nodule?", "Is the lung nodule small or large?", "What size is the lung nodule?"),
                truth["nodule_size"],
                ("small", "large"),
            )
        )
    if truth["more_nodules"] in SIDES:
        questions.append(
            ask(
                rng,
                "comparison",
                (
                    "Which lung holds more nodules?",
                    "On which side are there more nodules?",
                    "Compare both lungs: which has more nodules?",
                ),
                truth["more_nodules"],
                SIDES,
            )
        )
    return questions


def _abdomen(rng: np.random.Generator, truth: dict[str, Any]) -> list[Question]:
    count = truth["liver_lesion_count"]
    questions = [
        ask(
            rng,
            "count",
            (
                "How many liver lesions are there?",
                "How many lesions can be seen in the liver?",
                "What is the number of liver lesions?",
            ),
            str(count),
            COUNTS,
        ),
        ask(
            rng,
            "comparison",
            (
                "Which kidney is larger?",
                "Compare the kidneys: which one is larger?",
                "Which kidney is larger, left or right, or are they equal?",
            ),
            truth["larger_kidney"],
            ("left", "right", "equal"),
        ),
    ]
    if "contrast_given" in truth:
        questions.append(_contrast(rng, truth))
    # A liver lesion is there in 3 of 4 slices, so a third of those is asked about.
    if count == 0 or rng.random() < 1 / 3:
        questions.append(
            ask(
                rng,
                "presence",
                ("Is there a lesion in the liver?", "Does the liver show a lesion?", "Can a liver lesion be seen?"),
                yes_no(count > 0),
                YES_NO,
            )
        )
    for finding, word in (("stone", "kidney stone"), ("cyst", "kidney cyst")):
        if truth["kidney_finding"] == finding or rng.random() < 0.5:
            questions.append(
                ask(
                    rng,
                    "presence",
                    (f"Is there a {word}?", f"Does this image show a {word}?", f"Can a {word} be seen?"),
                    yes_no(truth["kidney_finding"] == finding),
                    YES_NO,
                )
            )
    if truth["kidney_finding"] != "none":
        word = truth["kidney_finding"]
        questions.append(
            ask(
                rng,
                "side",
                (
                    f"On which side is the kidney {word}?",
                    f"Which kidney has the {word}?",
                    f"Is the kidney {word} on the left or the right?",
                ),
                truth["kidney_side"],
                SIDES,
            )
        )
    if truth["liver_lesion_size"]:
        questions.append(
            ask(
                rng,
                "size",
                (
                    "How large is the liver lesion?",
                    "Is the liver lesion small or large?",
                    "What size is the lesion in the liver?",
                ),
                truth["liver_lesion_size"],
                ("small", "large"),
            )
        )
    return questions


def _pelvis(rng: np.random.Generator, truth: dict[str, Any]) -> list[Question]:
    count = truth["bladder_tumour_count"]
    questions = [
        ask(
            rng,
            "region",
            (
                "Does this slice show the hips or the sacrum?",
                "At which level is this slice, hips or sacrum?",
                "Which bones are shown, hips or sacrum?",
            ),
            "hips" if truth["level"] == "hips" else "sacrum",
            ("hips", "sacrum"),
        ),
        ask(
            rng,
            "size",
            ("How large is the bladder?", "Is the bladder small, medium or large?", "What size is the bladder?"),
            truth["bladder_size"],
            ("small", "medium", "large"),
        ),
        ask(
            rng,
            "count",
            (
                "How many bladder tumours are there?",
                "How many tumours can be seen in the bladder?",
                "What is the number of bladder tumours?",
            ),
            str(count),
            COUNTS,
        ),
        ask(
            rng,
            "presence",
            ("Is there a bone lesion?", "Does the bone show a lesion?", "Can a lesion be seen in the bone?"),
            yes_no(truth["bone_lesion"]),
            YES_NO,
        ),
    ]
    if count == 0 or rng.random() < 1 / 3:
        questions.append(
            ask(
                rng,
                "presence",
                (
                    "Is there a tumour in the bladder?",
                    "Does the bladder hold a tumour?",
                    "Can a bladder tumour be seen?",
                ),
                yes_no(count > 0),
                YES_NO,
            )
        )
    if truth["bone_lesion"]:
        questions.append(
            ask(
                rng,
                "side",
                (
                    "On which side is the bone lesion?",
                    "Which side is the bone lesion on?",
                    "Is the bone lesion on the left or the right?",
                ),
                truth["bone_lesion_side"],
                SIDES,
            )
        )
    return questions


def _contrast(rng: np.random.Generator, truth: dict[str, Any]) -> Question:
    return ask(
        rng,
        "presence",
        ("Was intravenous contrast given?", "Is this a contrast-enhanced scan?", "Is there contrast in the vessels?"),
        yes_no(truth["contrast_given"]),
        YES_NO,
    )


_BY_REGION = {"head": _head, "chest": _chest, "abdomen": _abdomen, "pelvis": _pelvis}

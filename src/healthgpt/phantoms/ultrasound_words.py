"""What can be asked and written about an ultrasound phantom: questions and reports from its findings."""

from typing import Any

import numpy as np

from healthgpt.phantoms.asking import YES_NO, ask, yes_no
from healthgpt.phantoms.case import Question

MODALITIES = ("x-ray", "ct", "mri", "microscopy", "oct", "ultrasound", "fundus photograph")
REGIONS = ("breast", "liver", "kidney")
SIDES = ("left", "right")


def questions(rng: np.random.Generator, truth: dict[str, Any]) -> tuple[Question, ...]:
    """The questions of a case; each kind's answers are balanced over seeds.

    Half of the cases show no lesion or stone, so a count of zero is asked about less often than it occurs.
    """
    general = [
        ask(
            rng, "modality",
            ("What imaging modality is this?", "Which kind of scan is shown?", "How was this image made?"),
            "ultrasound", MODALITIES,
        ),
        ask(
            rng, "region",
            ("Which organ is shown?", "What part of the body is this?", "Which region was scanned?"),
            truth["region"], REGIONS,
        ),
    ]  # fmt: skip
    ask_about = {"breast": _breast, "liver": _liver, "kidney": _kidney}[truth["region"]]
    return (*general, *ask_about(rng, truth))


def report(rng: np.random.Generator, truth: dict[str, Any]) -> str:
    """One to three sentences with every finding that is asked about."""
    opening = ("Ultrasound of the {}.", "{} ultrasound.", "Sonogram of the {}.")[rng.integers(3)]
    first = opening.format(truth["region"])
    tell = {"breast": _tell_breast, "liver": _tell_liver, "kidney": _tell_kidney}[truth["region"]]
    return first[0].upper() + first[1:] + " " + tell(rng, truth)


def _breast(rng: np.random.Generator, truth: dict[str, Any]) -> list[Question]:
    count = truth["lesion_count"]
    asked = [
        ask(
            rng, "presence",
            ("Is there a lesion in the breast?", "Does the image show a mass?", "Is a focal lesion visible?"),
            yes_no(count > 0), YES_NO,
        ),
        ask(
            rng, "presence",
            ("Are ribs visible?", "Does the image show ribs?", "Can ribs be seen at the bottom?"),
            yes_no(truth["ribs"]), YES_NO,
        ),
        ask(
            rng, "presence",
            (
                "Is one edge of the image dark from poor contact?", "Is there poor probe contact at an edge?",
                "Has an edge of the image lost contact?",
            ),
            yes_no(truth["dark_edge"] != "none"), YES_NO,
        ),
        ask(
            rng, "comparison",
            (
                "Which layer is thicker, fat or gland?", "Is the fat or the gland layer thicker?",
                "Which is the thicker layer: fat or gland?",
            ),
            truth["thicker_layer"], ("fat", "gland"),
        ),
    ]  # fmt: skip
    if count > 0 or rng.random() < 0.5:
        phrasings = ("How many lesions are there?", "How many masses are visible?", "Count the lesions.")
        asked.append(ask(rng, "count", phrasings, str(count), ("0", "1", "2")))
    if truth["dark_edge"] != "none":
        phrasings = (
            "Which edge of the image is dark, left or right?", "On which side is contact lost?",
            "Is the dark edge on the left or the right?",
        )  # fmt: skip
        asked.append(ask(rng, "side", phrasings, truth["dark_edge"], SIDES))
    if count == 1:
        asked += _single_lesion(rng, truth["lesions"][0])
    if count == 2:
        larger = max(truth["lesions"], key=lambda lesion: lesion["width_mm"] * lesion["height_mm"])
        phrasings = (
            "Which half holds the larger lesion, left or right?", "Is the larger lesion on the left or the right?",
            "On which side is the bigger mass?",
        )  # fmt: skip
        asked.append(ask(rng, "comparison", phrasings, larger["side"], SIDES))
    return asked


def _single_lesion(rng: np.random.Generator, lesion: dict[str, Any]) -> list[Question]:
    """Three of the five questions about a lesion; a cyst is asked about so that yes is as frequent as no."""
    malignant, cyst = lesion["kind"] == "malignant mass", lesion["kind"] == "cyst"
    side = ("Which half of the image holds the lesion?", "Is the lesion left or right?", "On which side is the mass?")
    size = ("How large is the lesion?", "What size is the lesion?", "Is the lesion small, medium or large?")
    malignancy = ("Does the lesion look malignant?", "Is the mass malignant?", "Are there signs of malignancy?")
    fluid = ("Is the lesion a cyst?", "Is the lesion anechoic?", "Is the lesion filled with fluid?")
    shape = (
        "Is the lesion wider or taller?",
        "What is the shape of the lesion, wider or taller?",
        "Is the mass wider than tall or taller than wide?",
    )
    asked = []
    for index in sorted(rng.permutation(5)[:3]):
        if index == 0:
            asked.append(ask(rng, "side", side, lesion["side"], SIDES))
        elif index == 1:
            asked.append(ask(rng, "size", size, lesion["size"], ("small", "medium", "large")))
        elif index == 2:
            asked.append(ask(rng, "presence", malignancy, yes_no(malignant), YES_NO))
        elif index == 3:
            answer = "taller" if lesion["height_mm"] > lesion["width_mm"] else "wider"
            asked.append(ask(rng, "comparison", shape, answer, ("wider", "taller")))
        elif cyst or rng.random() < 3 / 7:
            asked.append(ask(rng, "presence", fluid, yes_no(cyst), YES_NO))
    return asked


def _liver(rng: np.random.Generator, truth: dict[str, Any]) -> list[Question]:
    stones, lesion = truth["stone_count"], truth["liver_lesion"]
    asked = [
        ask(
            rng, "presence",
            ("Are there gallstones?", "Does the gallbladder hold stones?", "Is there a stone in the gallbladder?"),
            yes_no(stones > 0), YES_NO,
        ),
        ask(
            rng, "presence",
            ("Is there a liver lesion?", "Does the liver hold a focal lesion?", "Is a mass seen in the liver?"),
            yes_no(lesion != "none"), YES_NO,
        ),
        ask(
            rng, "side",
            (
                "Which half of the image holds the gallbladder?", "Is the gallbladder left or right?",
                "On which side of the image is the gallbladder?",
            ),
            truth["gallbladder_side"], SIDES,
        ),
        ask(
            rng, "size",
            ("How large is the gallbladder?", "What size is the gallbladder?", "Is the gallbladder small or large?"),
            truth["gallbladder_size"], ("small", "large"),
        ),
    ]  # fmt: skip
    if stones > 0 or rng.random() < 1 / 3:
        phrasings = ("How many gallstones are there?", "How many stones are seen?", "Count the gallstones.")
        asked.append(ask(rng, "count", phrasings, str(stones), ("0", "1", "2", "3")))
    if lesion != "none":
        phrasings = (
            "Is the liver lesion brighter or darker than the liver?", "Is the liver lesion brighter or darker?",
            "Compared with the liver, is the lesion brighter or darker?",
        )  # fmt: skip
        answer = "brighter" if lesion == "bright" else "darker"
        asked.append(ask(rng, "comparison", phrasings, answer, ("brighter", "darker")))
    return asked


def _kidney(rng: np.random.Generator, truth: dict[str, Any]) -> list[Question]:
    stones = truth["stone_count"]
    asked = [
        ask(
            rng, "presence",
            ("Is there hydronephrosis?", "Is the renal pelvis dilated?", "Does the kidney show hydronephrosis?"),
            yes_no(truth["hydronephrosis"]), YES_NO,
        ),
        ask(
            rng, "presence",
            ("Are there kidney stones?", "Does the kidney hold a stone?", "Is a renal stone visible?"),
            yes_no(stones > 0), YES_NO,
        ),
        ask(
            rng, "presence",
            ("Is there a renal cyst?", "Does the kidney have a cyst?", "Is a cyst seen at the kidney?"),
            yes_no(truth["cyst"]), YES_NO,
        ),
        ask(
            rng, "comparison",
            (
                "Which is brighter, the liver or the kidney?", "Is the liver or the kidney cortex brighter?",
                "Which looks brighter: liver or kidney?",
            ),
            truth["brighter"], ("liver", "kidney"),
        ),
    ]  # fmt: skip
    if stones > 0 or rng.random() < 0.5:
        phrasings = ("How many kidney stones are there?", "How many stones are seen?", "Count the renal stones.")
        asked.append(ask(rng, "count", phrasings, str(stones), ("0", "1", "2")))
    if truth["cyst"]:
        side = ("Which half of the image holds the cyst?", "Is the cyst left or right?", "On which side is the cyst?")
        size = ("How large is the cyst?", "What size is the cyst?", "Is the cyst small or large?")
        asked.append(ask(rng, "side", side, truth["cyst_side"], SIDES))
        asked.append(ask(rng, "size", size, truth["cyst_size"], ("small", "large")))
    return asked


def _counted(count: int, one: str, many: str) -> str:
    return {0: f"no {many}", 1: f"one {one}", 2: f"two {many}", 3: f"three {many}"}[count]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _tell_breast(rng: np.random.Generator, truth: dict[str, Any]) -> str:
    if not truth["lesions"]:
        lesions = ("No lesion", "No focal lesion is seen", "No mass")[rng.integers(3)]
    else:
        told = [f"a {lesion['size']} {lesion['kind']} on the {lesion['side']}" for lesion in truth["lesions"]]
        lesions = ("There is {}", "{}", "The image shows {}")[rng.integers(3)].format(" and ".join(told))
    ribs = "ribs are" if truth["ribs"] else "no ribs are"
    background = f"the {truth['thicker_layer']} layer is the thicker one, {ribs} visible"
    edge = "contact is even" if truth["dark_edge"] == "none" else f"the {truth['dark_edge']} edge has lost contact"
    return f"{_sentence(lesions)} {_sentence(f'{background} and {edge}')}"


def _tell_liver(rng: np.random.Generator, truth: dict[str, Any]) -> str:
    told = {
        "size": truth["gallbladder_size"],
        "side": truth["gallbladder_side"],
        "stones": _counted(truth["stone_count"], "stone", "stones"),
    }
    gallbladder = (
        "The {size} gallbladder on the {side} holds {stones}",
        "{size} gallbladder on the {side} with {stones}",
        "on the {side} lies a {size} gallbladder with {stones}",
    )[rng.integers(3)].format(**told)
    lesion = "no liver lesion" if truth["liver_lesion"] == "none" else f"a {truth['liver_lesion']} liver lesion"
    liver = ("there is {}", "{}", "the image shows {}")[rng.integers(3)].format(lesion)
    return f"{_sentence(gallbladder)} {_sentence(liver)}"


def _tell_kidney(rng: np.random.Generator, truth: dict[str, Any]) -> str:
    pelvis = "hydronephrosis" if truth["hydronephrosis"] else "no hydronephrosis"
    stones = _counted(truth["stone_count"], "stone", "stones")
    cyst = f"a {truth['cyst_size']} cyst on the {truth['cyst_side']}" if truth["cyst"] else "no cyst"
    kidney = ("The kidney shows {}, {} and {}", "{}, {} and {}", "There is {}, {} and {}")[rng.integers(3)]
    other = "kidney" if truth["brighter"] == "liver" else "liver"
    return f"{_sentence(kidney.format(pelvis, stones, cyst))} The {truth['brighter']} is brighter than the {other}."

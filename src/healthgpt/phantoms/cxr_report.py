"""Chest X-ray reports: findings written as plain sentences, and sentences read back into findings.

Findings are a dictionary with the keys of ``NORMAL``: ``cardiomegaly`` (bool), ``effusion`` (none,
left, right, both), ``effusion_size`` (none, small, large), ``pneumothorax`` and ``consolidation``
(none, left, right), ``consolidation_zone`` (none, upper, lower), ``nodules_left`` and
``nodules_right`` (counts).
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

Findings = dict[str, Any]

NORMAL: Findings = {
    "cardiomegaly": False,
    "effusion": "none",
    "effusion_size": "none",
    "pneumothorax": "none",
    "consolidation": "none",
    "consolidation_zone": "none",
    "nodules_left": 0,
    "nodules_right": 0,
}

COUNT_WORDS = ("no", "one", "two", "three", "four", "five", "six")

_DISEASES = {
    "cardiomegaly": r"cardiomegaly|heart|cardiac|cardio\w*",
    "effusion": r"effusions?|pleural fluid|costophrenic",
    "pneumothorax": r"pneumothora(?:x|ces)",
    "consolidation": r"consolidations?|pneumonia|opacit(?:y|ies)|opacification|infiltrates?|air\s?space disease",
    "nodules": r"nodules?|nodular|mass(?:es)?|granulomas?",
}
_NEGATION = re.compile(r"\b(no|without|clear of|free of|negative for|absent|neither|nor|not)\b")
_ENLARGED = re.compile(r"\b(cardiomegaly|enlarged|enlargement|large|big|increased|wide|widened)\b")
_NORMAL_HEART = re.compile(r"\b(normal|not enlarged|unremarkable|no|without|upper limits?)\b")


def _pick(rng: np.random.Generator, phrases: tuple[str, ...]) -> str:
    return phrases[int(rng.integers(len(phrases)))]


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _nodule_phrase(findings: Mapping[str, Any], rng: np.random.Generator) -> list[str]:
    phrases = []
    for side in ("right", "left"):
        count = int(findings[f"nodules_{side}"])
        if count:
            number = COUNT_WORDS[count] if rng.random() < 0.6 or count == 1 else str(count)
            noun = "nodule" if count == 1 else "nodules"
            phrases.append(f"{number} {_pick(rng, (f'{side} lung {noun}', f'{noun} in the {side} lung'))}")
    return phrases


def write_report(findings: Mapping[str, Any], rng: np.random.Generator) -> str:
    """One to three sentences naming every finding; absent ones are denied, now and then left out.

    ``findings`` has the keys of ``NORMAL``; phrasing and order follow ``rng``. ``parse_report`` reads
    every report written here back to the same findings.
    """
    heart = (
        _pick(rng, ("The heart is enlarged.", "Cardiomegaly.", "The cardiac silhouette is enlarged."))
        if findings["cardiomegaly"]
        else _pick(rng, ("The heart size is normal.", "The heart is normal in size.", "No cardiomegaly."))
    )
    present, absent = [], []
    if findings["effusion"] == "none":
        absent.append("pleural effusion")
    else:
        size, side = findings["effusion_size"], findings["effusion"]
        present.append(
            _pick(rng, (f"{size} bilateral pleural effusions", f"{size} pleural effusions on both sides"))
            if side == "both"
            else _pick(rng, (f"a {size} {side} pleural effusion", f"a {size} pleural effusion on the {side}"))
        )
    if findings["pneumothorax"] == "none":
        absent.append("pneumothorax")
    else:
        side = findings["pneumothorax"]
        present.append(_pick(rng, (f"a {side} pneumothorax", f"a pneumothorax on the {side}")))
    if findings["consolidation"] == "none":
        absent.append("consolidation")
    else:
        side, zone = findings["consolidation"], findings["consolidation_zone"]
        present.append(
            _pick(
                rng,
                (
                    f"a {side} {zone} zone consolidation",
                    f"consolidation in the {side} {zone} zone",
                    f"a consolidation in the {zone} part of the {side} lung",
                ),
            )
        )
    nodules = _nodule_phrase(findings, rng)
    present += nodules
    if not nodules:
        absent.append("nodule")
    rng.shuffle(present)
    rng.shuffle(absent)
    sentences = [heart]
    if present:
        there = "There is " if present[0].startswith(("a ", "one ", "consolidation")) else "There are "
        sentences.append(_pick(rng, (there, "Findings: ", "The image shows ")) + _join(present) + ".")
    if absent and (not present or rng.random() < 0.8):
        sentences.append("No " + _join(absent).replace(" and ", " or ") + ".")
    if rng.random() < 0.3:
        sentences = [*sentences[1:], sentences[0]] if len(sentences) > 1 else sentences
    return " ".join(sentences)


def _clauses(text: str) -> list[str]:
    """Stretches that name one disease each: split at stops, then at commas and conjunctions that
    start another disease; a denial carries over a list ("no effusion, pneumothorax or nodule")."""
    any_disease = re.compile("|".join(_DISEASES.values()))
    clauses = []
    for sentence in re.split(r"[.;:\n]+", text):
        pieces = re.split(r",|\band\b|\bor\b|\bbut\b|\bwith\b|(?=\bwithout\b)", sentence)
        denied, held = False, ""
        for piece in pieces:
            held = f"{held} {piece}".strip()
            if not any_disease.search(held):
                continue
            own = bool(_NEGATION.search(held))
            positive = bool(re.search(r"\b(there (?:is|are)|has|shows|enlarged)\b", held)) and not own
            denied = own or (denied and not positive)
            clauses.append(held if own or not denied else f"no {held}")
            held = ""
        if held and clauses:
            clauses[-1] += f" {held}"
    return clauses


def _side(clause: str) -> str:
    left, right = re.search(r"\bleft\b", clause), re.search(r"\bright\b", clause)
    if re.search(r"\b(both|bilateral|bilaterally)\b", clause) or (left and right):
        return "both"
    return "left" if left else "right" if right else "unknown"


def _count(clause: str) -> int:
    for number, word in enumerate(COUNT_WORDS):
        if number and re.search(rf"\b({word}|{number})\b", clause):
            return number
    return 2 if re.search(r"\b(nodules|several|multiple|masses)\b", clause) else 1


def _read_clause(findings: Findings, name: str, clause: str, denied: bool) -> None:
    side = _side(clause)
    if name == "cardiomegaly":
        if not re.search(r"\bcardiomegaly\b", clause) and not _ENLARGED.search(clause):
            return
        findings[name] = not (denied or _NORMAL_HEART.search(clause))
    elif denied:
        return
    elif name == "effusion":
        if "costophrenic" in clause and not re.search(r"\bblunt\w*|obscured|effusion", clause):
            return
        both = findings["effusion"] not in ("none", side)
        findings["effusion"] = "both" if both else side
        large = re.search(r"\b(large|massive|big|extensive|moderate)\b", clause)
        findings["effusion_size"] = "large" if large else "small"
    elif name == "nodules":
        count = _count(clause)
        for lung in ("left", "right"):
            if side in (lung, "both"):
                findings[f"nodules_{lung}"] += max(count // 2, 1) if side == "both" else count
    else:
        findings[name] = side
        if name == "consolidation":
            upper = re.search(r"\b(upper|apical|apex)\b", clause)
            lower = re.search(r"\b(lower|basal|basilar|base|bases|middle)\b", clause)
            findings["consolidation_zone"] = "upper" if upper else "lower" if lower else "none"


def parse_report(text: str) -> Findings:
    """The findings a report states, with the keys of ``NORMAL``; what it does not mention is absent.

    Made for ``write_report`` (exact) and for simple real reports: denials, lists of denials, counts as
    words or digits and common synonyms. A disease stated without a side is given side ``unknown``.
    """
    findings = dict(NORMAL)
    for clause in _clauses(text.lower()):
        denied = bool(_NEGATION.search(clause))
        for name, words in _DISEASES.items():
            if re.search(rf"\b(?:{words})\b", clause):
                _read_clause(findings, name, clause, denied)
    return findings


def agreement(findings_a: Mapping[str, Any], findings_b: Mapping[str, Any]) -> dict[str, bool]:
    """Finding by finding, whether two sets of findings say the same; only keys of ``NORMAL`` in both count."""
    shared = [key for key in NORMAL if key in findings_a and key in findings_b]
    return {key: findings_a[key] == findings_b[key] for key in shared}

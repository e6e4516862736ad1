"""The report of a CT or MRI slice: one to three plain sentences that name every finding."""

from typing import Any

import numpy as np

_NUMBER_WORDS = ("no", "one", "two", "three")


def write_report(rng: np.random.Generator, scan: str, truth: dict[str, Any]) -> str:
    """``scan``: how the first sentence names the image, such as ``CT`` or ``T2-weighted MRI``."""
    findings = _BY_REGION[truth["region"]](truth)
    opening = _choose(
        rng,
        (f"{scan} of the {truth['region']}.", f"Axial {scan} of the {truth['region']}.", f"{scan}, {truth['region']}."),
    )
    # Sentences hold related findings; their order is free.
    order = rng.permutation(len(findings))
    return " ".join([opening, *(_sentence(findings[index]) for index in order)])


def _choose(rng: np.random.Generator, phrasings: tuple[str, ...]) -> str:
    return phrasings[int(rng.integers(len(phrasings)))]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _plural(count: int, noun: str) -> str:
    return f"{_NUMBER_WORDS[count]} {noun}{'' if count == 1 else 's'}"


def _head(truth: dict[str, Any]) -> list[str]:
    kind, count, side = truth["lesion"], truth["lesion_count"], truth["lesion_side"]
    if kind == "none":
        lesion = "no focal lesion in the brain"
    elif count == 1:
        size = f"{truth['lesion_size']} " if truth["lesion_size"] else ""
        lesion = f"{size}{kind} in the {side} hemisphere"
    else:
        plural = f"{kind}es" if kind == "mass" else f"{kind}s"
        where = "in both hemispheres" if side == "both" else f"in the {side} hemisphere"
        lesion = f"{_NUMBER_WORDS[count]} {plural} {where}"
    if truth["level"] != "ventricles":
        return [lesion]
    width = "enlarged ventricles" if truth["ventricles_enlarged"] else "ventricles of normal size"
    if truth["larger_ventricle"] is None:
        return [lesion, width]
    compared = {
        "equal": "are equal in size",
        "left": "differ, the left one being larger",
        "right": "differ, the right one being larger",
    }[truth["larger_ventricle"]]
    return [lesion, f"{width}; the lateral ventricles {compared}"]


def _chest(truth: dict[str, Any]) -> list[str]:
    if truth["effusion"]:
        fluid = f"{truth['effusion_size']} {truth['effusion_side']} pleural effusion"
    else:
        fluid = "no pleural effusion"
    heart = "enlarged heart" if truth["heart_enlarged"] else "heart of normal size"
    size = f"{truth['nodule_size']} " if truth["nodule_size"] else ""
    nodules = f"{size}{_plural(truth['nodule_count'], 'lung nodule')}"
    if truth["nodule_size"]:
        nodules = f"one {size}lung nodule"
    if truth["nodule_count"] and truth["more_nodules"] != "equal":
        nodules += f", {'in' if truth['nodule_count'] == 1 else 'more in'} the {truth['more_nodules']} lung"
    return [f"{fluid} and {heart}", _with_contrast(nodules, truth)]


def _abdomen(truth: dict[str, Any]) -> list[str]:
    liver = _plural(truth["liver_lesion_count"], "liver lesion")
    if truth["liver_lesion_size"]:
        liver = f"one {truth['liver_lesion_size']} liver lesion"
    if truth["kidney_finding"] == "none":
        kidney = "no kidney stone or cyst"
    else:
        kidney = f"{truth['kidney_finding']} in the {truth['kidney_side']} kidney"
    compared = {"equal": "both kidneys are equal in size"}.get(
        truth["larger_kidney"], f"the {truth['larger_kidney']} kidney is the larger one"
    )
    return [_with_contrast(liver, truth), f"{kidney}; {compared}"]


def _pelvis(truth: dict[str, Any]) -> list[str]:
    bladder = f"{truth['bladder_size']} bladder with {_plural(truth['bladder_tumour_count'], 'tumour')}"
    bone = f"bone lesion on the {truth['bone_lesion_side']}" if truth["bone_lesion"] else "no bone lesion"
    level = "the hips are shown" if truth["level"] == "hips" else "the sacrum is shown"
    return [_with_contrast(bladder, truth), f"{bone}; {level}"]


def _with_contrast(finding: str, truth: dict[str, Any]) -> str:
    if "contrast_given" not in truth:
        return finding
    return f"{finding} {'after' if truth['contrast_given'] else 'without'} intravenous contrast"


_BY_REGION = {"head": _head, "chest": _chest, "abdomen": _abdomen, "pelvis": _pelvis}

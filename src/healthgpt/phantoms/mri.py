"""MRI cases: a slice of the head, abdomen or pelvis in one contrast, with its questions and report."""

import numpy as np

from healthgpt.phantoms.anatomy import Anatomy, make_anatomy
from healthgpt.phantoms.anatomy_questions import finding_questions, modality_question
from healthgpt.phantoms.anatomy_report import write_report
from healthgpt.phantoms.asking import ask
from healthgpt.phantoms.case import Case, Question
from healthgpt.phantoms.ct_scanner import ct_clean
from healthgpt.phantoms.mri_scanner import (
    FLAIR,
    PROTON_DENSITY_WEIGHTED,
    T1_WEIGHTED,
    T2_WEIGHTED,
    Contrast,
    mri_acquired,
    mri_clean,
    tissue_signal,
)
from healthgpt.phantoms.tissues import Tissue

_MRI_STREAM = 13
MRI_REGIONS = ("head", "abdomen", "pelvis")

# In the trunk only the two contrasts in which its lesions stand out are used.
_CONTRASTS: dict[str, tuple[Contrast, ...]] = {
    "head": (T1_WEIGHTED, T2_WEIGHTED, PROTON_DENSITY_WEIGHTED, FLAIR),
    "abdomen": (T1_WEIGHTED, T2_WEIGHTED),
    "pelvis": (T1_WEIGHTED, T2_WEIGHTED),
}
# A pair of tissues whose order of brightness turns with the contrast.
_COMPARED: dict[str, tuple[tuple[str, Tissue], tuple[str, Tissue]]] = {
    "head": (("csf", Tissue.CSF), ("white matter", Tissue.WHITE_MATTER)),
    "abdomen": (("liver", Tissue.LIVER), ("spleen", Tissue.SPLEEN)),
    "pelvis": (("urine", Tissue.FLUID), ("muscle", Tissue.MUSCLE)),
}


def _contrast_question(rng: np.random.Generator, contrast: Contrast) -> Question:
    phrasings = ("Which MRI contrast is this?", "What is the weighting of this MRI?", "Which MRI sequence was used?")
    return ask(rng, "modality", phrasings, contrast.name, ("t1-weighted", "t2-weighted", "proton density", "flair"))


def _brightness_questions(rng: np.random.Generator, anatomy: Anatomy, contrast: Contrast) -> list[Question]:
    """Which of two tissues is brighter; left out where the two are close."""
    (first, first_tissue), (second, second_tissue) = _COMPARED[anatomy.region]
    signal = tissue_signal(contrast, anatomy.t1_ms, anatomy.t2_ms, anatomy.proton_density)
    ratio = float(signal[first_tissue] / signal[second_tissue])
    if 1 / 1.12 < ratio < 1.12:
        return []
    # In the head both T1 and FLAIR darken the fluid: half of them are left out.
    if anatomy.region == "head" and ratio < 1 and rng.random() < 0.5:
        return []
    phrasings = (
        f"Which is brighter, the {first} or the {second}?",
        f"What appears brighter here, the {second} or the {first}?",
        f"Compare the {first} and the {second}: which is brighter?",
    )
    return [ask(rng, "comparison", phrasings, first if ratio > 1 else second, (first, second))]


def make_case(seed: int, size: int = 128) -> Case:
    """The MRI examination of ``seed``: image (size, size) float32 in [0, 1], questions, report.

    The anatomy is the CT's of the same seed unless that one is a chest. Companions: ``mri_t1``, the
    noise-free T1-weighted slice, and ``ct``, the noise-free CT in its region's window.
    Size bins are defined in the anatomy modules' docstrings, in millimetres.
    """
    anatomy = make_anatomy(seed, size, MRI_REGIONS)
    rng = np.random.default_rng([seed, _MRI_STREAM])
    choices = _CONTRASTS[anatomy.region]
    contrast = choices[int(rng.integers(len(choices)))]
    clean = mri_clean(anatomy, contrast)
    truth = {key: value for key, value in anatomy.truth.items() if key != "contrast_given"}
    truth["contrast"] = contrast.name
    questions = [
        modality_question(rng, "mri"),
        _contrast_question(rng, contrast),
        *_brightness_questions(rng, anatomy, contrast),
        *finding_questions(rng, truth),
    ]
    name = contrast.name.replace("t1", "T1").replace("t2", "T2").replace("flair", "FLAIR")
    return Case(
        modality="mri",
        seed=seed,
        region=anatomy.region,
        image=mri_acquired(clean, rng),
        clean=clean,
        truth=truth,
        questions=tuple(questions),
        report=write_report(rng, f"{name} MRI", truth),
        pixel_spacing_mm=anatomy.spacing_mm,
        companions={"mri_t1": mri_clean(anatomy, T1_WEIGHTED), "ct": ct_clean(anatomy)},
    )

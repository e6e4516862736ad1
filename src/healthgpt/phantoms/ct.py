"""CT cases: a slice of the head, chest, abdomen or pelvis with its questions and report."""

import numpy as np

from healthgpt.phantoms.anatomy import make_anatomy
from healthgpt.phantoms.anatomy_questions import finding_questions, modality_question
from healthgpt.phantoms.anatomy_report import write_report
from healthgpt.phantoms.case import Case
from healthgpt.phantoms.ct_scanner import LUNG_WINDOW, WINDOWS, ct_acquired, ct_numbers, show
from healthgpt.phantoms.mri_scanner import T1_WEIGHTED, mri_clean

_CT_STREAM = 12


def make_case(seed: int, size: int = 128) -> Case:
    """The CT examination of ``seed``: image (size, size) float32 in [0, 1], questions, report.

    Companions: ``mri_t1``, the noise-free T1-weighted MRI of the same slice (not in the chest).
    Size bins are defined in the anatomy modules' docstrings, in millimetres.
    """
    anatomy = make_anatomy(seed, size)
    rng = np.random.default_rng([seed, _CT_STREAM])
    window = WINDOWS[anatomy.region]
    if anatomy.region == "chest" and rng.random() < 0.5:
        window = LUNG_WINDOW
    truth = {**anatomy.truth, "window_centre": window.centre, "window_width": window.width}
    questions = [modality_question(rng, "ct"), *finding_questions(rng, truth)]
    return Case(
        modality="ct",
        seed=seed,
        region=anatomy.region,
        image=ct_acquired(anatomy, rng, window),
        clean=show(ct_numbers(anatomy), window),
        truth=truth,
        questions=tuple(questions),
        report=write_report(rng, "CT", truth),
        pixel_spacing_mm=anatomy.spacing_mm,
        companions={} if anatomy.region == "chest" else {"mri_t1": mri_clean(anatomy, T1_WEIGHTED)},
    )

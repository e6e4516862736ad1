"""What a specimen module hands to the microscope: light after the stains, and what is known about it."""

from typing import Any, NamedTuple

import numpy as np

from healthgpt.phantoms.case import Question

MODALITY_PHRASINGS = ("What kind of image is this?", "Which imaging modality is shown?", "How was this image made?")
MODALITIES = ("microscopy", "fundus photograph", "oct", "x-ray", "ultrasound", "mri", "ct")
SPECIMEN_PHRASINGS = ("What specimen is shown?", "What does the image show?", "What was put on the slide?")
SPECIMENS = ("tissue section", "blood smear", "retina", "chest")


class Specimen(NamedTuple):
    """``light`` (size, size, 3) in [0, 1] in focus and without noise; ``defocus_px`` the blur to come."""

    light: np.ndarray
    defocus_px: float
    truth: dict[str, Any]
    questions: tuple[Question, ...]
    report: str
    pixel_spacing_mm: float

"""Generation pairs: what goes in and what should be drawn, for each of the five generation tasks."""

from typing import NamedTuple

import numpy as np

from healthgpt.errors import TaskError, closest
from healthgpt.imaging.degrade import truncate_kspace
from healthgpt.phantoms import chest_xray, ct, fundus, microscopy, mri, oct, ultrasound
from healthgpt.phantoms.anatomy import make_anatomy
from healthgpt.phantoms.ct_scanner import WINDOWS, ct_acquired, ct_clean
from healthgpt.phantoms.mri import MRI_REGIONS
from healthgpt.phantoms.mri_scanner import CONTRASTS, T1_WEIGHTED, mri_acquired, mri_clean
from healthgpt.tasks import GENERATION_TASKS

_PAIR_STREAM = 14
CONVERTED_REGIONS = ("head", "pelvis")
_EVERY_MODALITY = (chest_xray, ct, mri, microscopy, oct, ultrasound, fundus)


class Pair(NamedTuple):
    """``input``: float32 in [0, 1] or None; ``target``: the image to draw; ``text``: a report or empty.

    Images are (size, size) grey or (size, size, 3) RGB.
    """

    input: np.ndarray | None
    target: np.ndarray
    text: str


def make_pair(task: str, seed: int, size: int = 128) -> Pair:
    """The pair of ``seed`` for a generation task; ``TaskError`` for any other name."""
    if task not in _MAKE:
        raise TaskError(
            f"no image is drawn for task '{task}'",
            allowed=", ".join(GENERATION_TASKS),
            next_step=closest(task, list(GENERATION_TASKS)),
        )
    return _MAKE[task](np.random.default_rng([seed, _PAIR_STREAM]), seed, size)


def _ct_to_mri(rng: np.random.Generator, seed: int, size: int) -> Pair:
    """Noisy CT in, clean T1-weighted MRI out."""
    anatomy = make_anatomy(seed, size, CONVERTED_REGIONS)
    return Pair(ct_acquired(anatomy, rng), mri_clean(anatomy, T1_WEIGHTED), "")


def _mri_to_ct(rng: np.random.Generator, seed: int, size: int) -> Pair:
    """Noisy T1-weighted MRI in, clean CT out."""
    anatomy = make_anatomy(seed, size, CONVERTED_REGIONS)
    return Pair(mri_acquired(mri_clean(anatomy, T1_WEIGHTED), rng), ct_clean(anatomy), "")


def _super_resolution(rng: np.random.Generator, seed: int, size: int) -> Pair:
    """A slice, mostly MRI, with 1 in 4 of its k-space lines along each axis; the clean slice out."""
    if rng.random() < 0.75:
        anatomy = make_anatomy(seed, size, MRI_REGIONS)
        clean = mri_clean(anatomy, CONTRASTS[int(rng.integers(len(CONTRASTS)))])
        acquired = mri_acquired(clean, rng)
    else:
        anatomy = make_anatomy(seed, size)
        clean = ct_clean(anatomy)
        acquired = ct_acquired(anatomy, rng, WINDOWS[anatomy.region])
    return Pair(truncate_kspace(acquired, 4), clean, "")


def _reconstruct(rng: np.random.Generator, seed: int, size: int) -> Pair:
    """Any modality's image in, the same image out."""
    case = _EVERY_MODALITY[int(rng.integers(len(_EVERY_MODALITY)))].make_case(seed, size)
    return Pair(case.image, case.image, "")


def _report_to_cxr(rng: np.random.Generator, seed: int, size: int) -> Pair:
    """A chest X-ray's report in, its noise-free image out."""
    case = chest_xray.make_case(seed, size)
    return Pair(None, case.clean, case.report)


_MAKE = {
    "ct-to-mri": _ct_to_mri,
    "mri-to-ct": _mri_to_ct,
    "super-resolution": _super_resolution,
    "reconstruct": _reconstruct,
    "report-to-cxr": _report_to_cxr,
}

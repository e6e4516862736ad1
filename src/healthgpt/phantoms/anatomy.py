"""One person's axial slice: a tissue label map with its findings, shared by CT and MRI."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from healthgpt.errors import InputError
from healthgpt.phantoms.anatomy_abdomen import draw_abdomen
from healthgpt.phantoms.anatomy_chest import draw_chest
from healthgpt.phantoms.anatomy_head import draw_head
from healthgpt.phantoms.anatomy_pelvis import draw_pelvis
from healthgpt.phantoms.tissues import ENHANCED_HU, HU, HU_SD, PROTON_DENSITY, T1_MS, T2_MS

Region = Literal["head", "chest", "abdomen", "pelvis"]

_ANATOMY_STREAM = 11
_DRAW = {"head": draw_head, "chest": draw_chest, "abdomen": draw_abdomen, "pelvis": draw_pelvis}
REGION_SHARES = {"head": 0.4, "chest": 0.2, "abdomen": 0.2, "pelvis": 0.2}


@dataclass(frozen=True)
class Anatomy:
    """``labels``: uint8 ``Tissue`` values, (2 size, 2 size), patient's left on the image's right.

    ``hu``, ``t1_ms``, ``t2_ms``, ``proton_density``: this person's value of each tissue, (tissues,).
    ``truth``: findings as JSON types; ``contrast_given`` in the trunk tells of intravenous contrast (CT).
    """

    seed: int
    region: str
    size: int
    spacing_mm: float
    labels: np.ndarray
    truth: dict[str, Any]
    hu: np.ndarray
    t1_ms: np.ndarray
    t2_ms: np.ndarray
    proton_density: np.ndarray


def make_anatomy(seed: int, size: int = 128, regions: tuple[str, ...] = tuple(_DRAW)) -> Anatomy:
    """The slice of ``seed`` at ``size`` pixels.

    The region is drawn from the seed alone; where it is not among ``regions``, a second draw picks one
    of them, so that callers with different ``regions`` share the anatomy whenever both allow it.
    ``InputError`` for an unknown region.
    """
    unknown = [region for region in regions if region not in _DRAW]
    if unknown or not regions:
        raise InputError("unknown body region", found=repr(unknown or regions), allowed=", ".join(_DRAW))
    rng = np.random.default_rng([seed, _ANATOMY_STREAM])
    region = str(rng.choice(list(REGION_SHARES), p=list(REGION_SHARES.values())))
    spare = str(rng.choice(regions))
    if region not in regions:
        region = spare
    canvas, truth = _DRAW[region](rng, size)
    contrast = bool(rng.random() < 0.5) if region != "head" else False
    if region != "head":
        truth["contrast_given"] = contrast
    people = rng.standard_normal((4, HU.size)).astype(np.float32)
    return Anatomy(
        seed=seed,
        region=region,
        size=size,
        spacing_mm=canvas.spacing_mm,
        labels=canvas.labels,
        truth={"region": region, **truth},
        hu=(ENHANCED_HU if contrast else HU) + HU_SD * np.clip(people[0], -2, 2),
        t1_ms=T1_MS * (1 + 0.04 * np.clip(people[1], -2, 2)),
        t2_ms=T2_MS * (1 + 0.05 * np.clip(people[2], -2, 2)),
        proton_density=PROTON_DENSITY * (1 + 0.02 * np.clip(people[3], -2, 2)),
    )

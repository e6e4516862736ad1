"""Light microscopy: half the cases are stained tissue sections, half are blood smears.

This file owns what both share: which specimen a seed is, the camera, and the Case. Specimens are drawn as
stain concentrations in ``microscopy_tissue`` and ``microscopy_smear``. ``left`` and ``right`` are halves of
the image: a slide has no side of the body.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from healthgpt.phantoms import microscopy_smear, microscopy_tissue
from healthgpt.phantoms.case import Case

_MODALITY_SEED = 7013


def make_case(seed: int, size: int = 128) -> Case:
    """One field of view.

    ``image`` and ``clean``: (size, size, 3) RGB, float32 in [0, 1]. ``truth['specimen']`` is ``tissue section``
    or ``blood smear``; the other keys are the specimen's own (see the modules' docstrings).
    """
    rng = np.random.default_rng([seed, _MODALITY_SEED])
    specimen = microscopy_tissue if rng.random() < 0.5 else microscopy_smear
    drawn = specimen.draw(rng, size)
    blur = drawn.defocus_px
    clean = gaussian_filter(drawn.light, (blur, blur, 0), truncate=2.5)
    clean = np.clip(clean, 0, 1).astype(np.float32)
    noise = rng.standard_normal((size, size, 3), dtype=np.float32) * rng.uniform(0.004, 0.02)
    image = np.clip(clean + noise * np.sqrt(clean), 0, 1).astype(np.float32)
    return Case(
        modality="microscopy",
        seed=seed,
        region=drawn.truth["specimen"],
        image=image,
        clean=clean,
        truth=drawn.truth,
        questions=drawn.questions,
        report=drawn.report,
        pixel_spacing_mm=drawn.pixel_spacing_mm,
    )

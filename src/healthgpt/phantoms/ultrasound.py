"""Ultrasound phantoms: breast under a linear array, liver and kidney under a curved one.

The anatomy lives in ``breast_ultrasound`` and ``abdominal_ultrasound``, the physics in ``sonography``,
the words in ``ultrasound_words``. This file draws the scanner's settings and puts a case together.
"""

import numpy as np

from healthgpt.phantoms import abdominal_ultrasound, breast_ultrasound, ultrasound_words
from healthgpt.phantoms.case import Case
from healthgpt.phantoms.sonography import Receiver, acquire, picture_width_mm

SEED_CONSTANT = 7001

_SCANS = {
    "breast": (breast_ultrasound.choose_probe, breast_ultrasound.build),
    "liver": (abdominal_ultrasound.choose_probe, abdominal_ultrasound.build_liver),
    "kidney": (abdominal_ultrasound.choose_probe, abdominal_ultrasound.build_kidney),
}


def make_case(seed: int, size: int = 128) -> Case:
    """One ultrasound examination; the same for the same seed.

    The image is (size, size) grey, float32 in [0, 1]. Left and right are halves of the picture. Sizes are
    fractions of the picture's width (``breast_ultrasound.SIZE_BINS``, ``abdominal_ultrasound``'s bins).
    ``truth``: ``region`` and, for the breast, ``lesion_count``, ``lesions``, ``thicker_layer``, ``ribs``,
    ``dark_edge``; for the liver ``gallbladder_side``, ``gallbladder_size``, ``stone_count``,
    ``liver_lesion``; for the kidney ``hydronephrosis``, ``stone_count``, ``cyst``, ``cyst_side``,
    ``cyst_size``, ``brighter``.
    """
    rng = np.random.default_rng([seed, SEED_CONSTANT])
    region = str(rng.choice(list(_SCANS), p=[0.4, 0.3, 0.3]))
    choose_probe, build = _SCANS[region]
    probe = choose_probe(rng)
    tissue, findings = build(rng, probe, size)
    receiver = Receiver(
        dynamic_range_db=float(rng.uniform(50, 60)),
        gain_db=float(rng.uniform(-7, 3)),
        looks=int(rng.integers(2, 5)),
        noise_db=float(rng.uniform(-62, -52)),
        focus=float(rng.uniform(0.25, 0.6)),
        pulse_px=float(rng.uniform(1.2, 1.6)) * size / 128,
        beam_px=float(rng.uniform(0.9, 1.2)) * size / 128,
    )
    image, clean = acquire(tissue, probe, receiver, rng, size)
    truth = {"region": region, **findings}
    return Case(
        modality="ultrasound",
        seed=seed,
        region=region,
        image=image,
        clean=clean,
        truth=truth,
        questions=ultrasound_words.questions(rng, truth),
        report=ultrasound_words.report(rng, truth),
        pixel_spacing_mm=picture_width_mm(probe) / size,
    )

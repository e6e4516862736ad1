"""The textbook chest film: any findings, always the same patient under the same exposure.

Between two patients most of a film differs for reasons no report tells, and what it does tell is lost among them. Here
the findings are all that differs, so a model learns from few films where each of them goes, and can then
learn how patients vary.
"""

import numpy as np

from healthgpt.phantoms.chest_xray import FIELD_MM, Exposure, detect, draw_disease, draw_lungs, findings_of, show
from healthgpt.phantoms.cxr_report import write_report
from healthgpt.phantoms.thorax import Anatomy, project, unit_grid

SEED_STREAM = 202

PATIENT = Anatomy(
    half_width=130, apex=-118, dome_right=85, dome_left=94, dome_height=39, depth=190, wall=20, mediastinum=28,
    aorta=16.5, rib_spacing=26, rib_slope=35, rib_phase=0.5, rib_density=0.7, breasts=0, bubble=20, shoulders=-140,
    arms=200, scapulae=0.2, rotation=0,
)  # fmt: skip
"""The middle of what ``chest_xray.draw_anatomy`` draws, standing upright."""

EXPOSURE = Exposure(
    photons=1e5, scatter=0.35, gamma=1, equalise=0.3, sharpen=0.3, black=2, white=99, blur=0.5, floor=0.02, ceiling=0.98
)
"""The middle of what ``chest_xray.draw_exposure`` draws."""

FIELD = 1.02
"""Width shown, relative to ``FIELD_MM``."""


def make_textbook_film(seed: int, size: int = 128) -> tuple[np.ndarray, str]:
    """One film without noise, (size, size) float32 in [0, 1], bone white, and its report.

    The same seed gives the same film at any time; ``size`` must be a multiple of 32.
    """
    rng = np.random.default_rng([seed, SEED_STREAM])
    disease = draw_disease(rng, PATIENT)
    x, y = unit_grid(size)
    width = FIELD * FIELD_MM
    thicknesses = project(PATIENT, disease, x * width, y * width, *draw_lungs(np.random.default_rng(0), size))
    signal = detect(thicknesses, EXPOSURE, size)
    film = show(signal, EXPOSURE, np.zeros((size, size), np.float32), signal)
    return film, write_report(findings_of(disease), rng)

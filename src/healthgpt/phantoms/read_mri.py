"""Reads the main findings back from an MRI slice's pixels alone.

The contrast is told first, from the order of brightness of fat, brain or muscle, and fluid; every
threshold after that is relative to one reference tissue (brain in the head, muscle in the trunk).
"""

from typing import Any

import numpy as np
from scipy.ndimage import (
    binary_opening,
    distance_transform_edt,
    gaussian_filter,
)

from healthgpt.phantoms.slice_reading import (
    BLOCK,
    Body,
    compare_ventricles,
    find_body,
    grey,
    largest,
)


def measure(image: np.ndarray) -> dict[str, Any]:
    """Findings of an MRI slice as ``mri.make_case`` shows it; keys as in its truth.

    ``image``: (128, 128) or (128, 128, 3), in [0, 1]. A finding that the slice cannot have is left out.
    """
    pixels = grey(image)
    body = find_body(pixels, 0.1)
    depth = distance_transform_edt(np.pad(body.mask, 1))[1:-1, 1:-1]
    if body.aspect > 0.97:
        return _head(pixels, body, depth)
    return _trunk(pixels, body, depth)


def _head(pixels: np.ndarray, body: Body, depth: np.ndarray) -> dict[str, Any]:
    radius = float(depth.max())
    smooth = gaussian_filter(pixels, 0.6)
    white = max(float(np.median(smooth[depth > 0.45 * radius])), 1e-3)
    relative = smooth / white
    contrast = _head_contrast(relative[depth > 0.3 * radius], white)
    findings: dict[str, Any] = {"region": "head", "contrast": contrast}
    brain = depth > 0.27 * radius
    if contrast != "proton density":
        fluid = {"t1-weighted": relative < 0.58, "t2-weighted": relative > 2.3, "flair": relative < 0.5}[contrast]
        findings.update(compare_ventricles(brain, brain & fluid))
    return findings


def _head_contrast(inner: np.ndarray, white: float) -> str:
    """The contrast, from the spread of brightness deep in the head relative to white matter (``white``)."""
    dark, low, high, bright = (float(np.percentile(inner, share)) for share in (3, 20, 80, 97))
    if white > 0.56 or (dark > 0.72 and bright < 1.5):
        return "proton density"
    if (bright > 1.75 and dark > 0.45) or bright > 3.0:
        return "t2-weighted"
    orbits = bright > 2.2 and dark < 0.2
    return "t1-weighted" if orbits or (high + low < 2.02 and dark > 0.3) else "flair"


def _trunk(pixels: np.ndarray, body: Body, depth: np.ndarray) -> dict[str, Any]:
    smooth = gaussian_filter(pixels, 0.8)
    reach = float(depth.max())
    fat = float(np.percentile(smooth[(depth > 1.5) & (depth < 0.25 * reach)], 90))
    if _mirrored(pixels, body) < 0.72:
        # In the abdomen the liver is the reference: bright against fat in T1, dark in T2.
        liver = (np.abs(body.across + 0.45) < 0.22) & (np.abs(body.down + 0.2) < 0.3)
        contrast = "t1-weighted" if float(np.median(smooth[liver])) > 0.36 * fat else "t2-weighted"
        return {"region": "abdomen", "contrast": contrast}
    middle = body.mask & (np.abs(body.across) < 0.42) & (body.down < 0.3) & (body.down > -0.85)
    # In T2 urine outshines fat, or, where the bladder is small, muscle is darker against fat than in T1.
    urine_outshines = float(np.percentile(smooth[middle], 96)) > 1.14 * fat
    dark_muscle = float(np.median(smooth[depth > 0.3 * reach])) < 0.335 * fat
    contrast = "t2-weighted" if urine_outshines or dark_muscle else "t1-weighted"
    urine = smooth > 1.4 * fat if contrast == "t2-weighted" else (smooth < 0.26 * fat) & (smooth > 0.08 * fat)
    bladder = largest(binary_opening(middle & urine, BLOCK))
    columns = np.nonzero(bladder.any(axis=0))[0]
    width = float(np.ptp(np.nonzero(body.mask.any(axis=0))[0])) + 1
    share = (float(np.ptp(columns)) + 1) / width if columns.size else 0.0
    size = "small" if share < 0.155 else "medium" if share < 0.235 else "large"
    return {"region": "pelvis", "contrast": contrast, "bladder_size": size}


def _mirrored(pixels: np.ndarray, body: Body) -> float:
    """How alike the two halves of the body are, -1 to 1, at the best of a few midlines."""
    blurred = gaussian_filter(pixels, 2.5)
    core = (np.abs(body.across) < 0.8) & (np.abs(body.down) < 0.6)
    rows, columns = np.nonzero(core)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    best = -1.0
    for shift in (-4, -2, 0, 2, 4):
        middle = blurred[top:bottom, max(left + shift, 0) : right + shift]
        best = max(best, float(np.corrcoef(middle.ravel(), middle[:, ::-1].ravel())[0, 1]))
    return best

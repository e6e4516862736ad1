"""The CT scanner: an anatomy's CT numbers, its noise and table, shown in the usual display windows.

The Hounsfield scale is linear in attenuation: HU = 1000 (mu - mu_water) / mu_water. Windows (centre/width):
head 40/200, abdomen and pelvis 40/400, chest 40/400 or -600/1500, chosen by seed.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from healthgpt.imaging.image import Window
from healthgpt.phantoms.anatomy import Anatomy
from healthgpt.phantoms.slice_canvas import average_down
from healthgpt.phantoms.tissues import HU, Tissue

HEAD_WINDOW = Window(40, 200)
BODY_WINDOW = Window(40, 400)
LUNG_WINDOW = Window(-600, 1500)
WINDOWS = {"head": HEAD_WINDOW, "chest": BODY_WINDOW, "abdomen": BODY_WINDOW, "pelvis": BODY_WINDOW}
NOISE_HU = {"head": (1.5, 5.0), "chest": (6.0, 22.0), "abdomen": (5.0, 18.0), "pelvis": (5.0, 18.0)}


def ct_numbers(anatomy: Anatomy) -> np.ndarray:
    """Noise-free CT numbers of the slice in HU, (size, size) float32."""
    return average_down(anatomy.hu[anatomy.labels])


def show(hounsfield: np.ndarray, window: Window) -> np.ndarray:
    """CT numbers through a display window, in [0, 1]."""
    low = np.float32(window.centre - window.width / 2)
    return np.clip((hounsfield - low) * np.float32(1 / window.width), 0, 1).astype(np.float32)


def ct_clean(anatomy: Anatomy) -> np.ndarray:
    """The noise-free slice in its region's standard window, (size, size) float32 in [0, 1]."""
    return show(ct_numbers(anatomy), WINDOWS[anatomy.region])


def ct_acquired(anatomy: Anatomy, rng: np.random.Generator, window: Window | None = None) -> np.ndarray:
    """The slice as scanned: quantum noise, the patient table, a touch of reconstruction blur; in [0, 1]."""
    hounsfield = ct_numbers(anatomy)
    if rng.random() < 0.6:
        hounsfield = np.where(hounsfield < -700, np.maximum(hounsfield, _table(anatomy, rng)), hounsfield)
    noise = rng.standard_normal(hounsfield.shape, dtype=np.float32)
    # Back-projection leaves little noise at the lowest frequencies; the kernel takes the highest.
    noise = gaussian_filter(noise, rng.uniform(0.3, 0.7)) - gaussian_filter(noise, 3.0)
    noise *= np.float32(rng.uniform(*NOISE_HU[anatomy.region]) / noise.std())
    blurred = gaussian_filter(hounsfield, rng.uniform(0.25, 0.5))
    return show(blurred + noise, window or WINDOWS[anatomy.region])


def _table(anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """CT numbers of a couch or head rest behind the patient: thin arcs below the body, air elsewhere."""
    rows, columns = np.mgrid[: anatomy.size, : anatomy.size].astype(np.float32) / np.float32(anatomy.size) - 0.5
    occupied = np.flatnonzero((anatomy.labels != Tissue.AIR).any(axis=1))
    lowest = occupied[-1] / anatomy.labels.shape[0] - 0.5
    reach = 0.22 if anatomy.region == "head" else 0.38
    bend = rng.uniform(0.15, 0.5) if anatomy.region != "head" else rng.uniform(0.9, 1.6)
    below = rows - np.float32(lowest + rng.uniform(0.012, 0.05)) + np.float32(bend) * columns**2
    line = np.exp(-0.5 * (below / 0.006) ** 2) * (np.abs(columns) < reach)
    return np.float32(HU[Tissue.AIR]) + line.astype(np.float32) * np.float32(rng.uniform(700, 1400))

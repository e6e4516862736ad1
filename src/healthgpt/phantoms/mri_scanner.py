"""The MRI scanner: the spin-echo and FLAIR signal equations at 1.5 T, Rician noise and a coil's bias field.

Spin echo (Bernstein, King and Zhou, *Handbook of MRI Pulse Sequences*, eq. 14.56):
    S = PD (1 - 2 exp(-(TR - TE/2) / T1) + exp(-TR / T1)) exp(-TE / T2)
Inversion recovery (eq. 14.65, long echo trains and perfect pulses assumed), magnitude shown:
    S = PD |1 - 2 exp(-TI / T1) + exp(-TR / T1)| exp(-TE / T2)
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from healthgpt.phantoms.anatomy import Anatomy
from healthgpt.phantoms.slice_canvas import average_down, smooth_field
from healthgpt.phantoms.tissues import T1_MS, Tissue


@dataclass(frozen=True)
class Contrast:
    """A pulse sequence: times in milliseconds; ``inversion_ms`` 0 for a spin echo without inversion."""

    name: str
    repetition_ms: float
    echo_ms: float
    inversion_ms: float = 0.0


def _null(t1_ms: float, repetition_ms: float) -> float:
    """The inversion time at which a tissue of this T1 gives no signal."""
    return t1_ms * float(np.log(2 / (1 + np.exp(-repetition_ms / t1_ms))))


T1_WEIGHTED = Contrast("t1-weighted", 500, 14)
T2_WEIGHTED = Contrast("t2-weighted", 4500, 100)
PROTON_DENSITY_WEIGHTED = Contrast("proton density", 3000, 20)
FLAIR = Contrast("flair", 9000, 120, _null(float(T1_MS[Tissue.CSF]), 9000))
CONTRASTS = (T1_WEIGHTED, T2_WEIGHTED, PROTON_DENSITY_WEIGHTED, FLAIR)


def tissue_signal(contrast: Contrast, t1_ms: np.ndarray, t2_ms: np.ndarray, proton_density: np.ndarray) -> np.ndarray:
    """Signal of tissues in a sequence, relative to fully recovered water; same shape as the inputs."""
    recovered = np.exp(-contrast.repetition_ms / t1_ms)
    if contrast.inversion_ms:
        longitudinal = np.abs(1 - 2 * np.exp(-contrast.inversion_ms / t1_ms) + recovered)
    else:
        longitudinal = 1 - 2 * np.exp(-(contrast.repetition_ms - contrast.echo_ms / 2) / t1_ms) + recovered
    return (proton_density * longitudinal * np.exp(-contrast.echo_ms / t2_ms)).astype(np.float32)


def mri_clean(anatomy: Anatomy, contrast: Contrast) -> np.ndarray:
    """The noise-free slice, (size, size) float32 in [0, 1]; the brightest 3 % of the body are white."""
    signal = tissue_signal(contrast, anatomy.t1_ms, anatomy.t2_ms, anatomy.proton_density)
    slice_signal = average_down(signal[anatomy.labels])
    body = slice_signal[slice_signal > 0.02]
    place = int(0.97 * (body.size - 1))
    white = np.partition(body, place)[place]
    return np.clip(slice_signal * np.float32(1 / white), 0, 1)


def mri_acquired(clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A clean slice as scanned: coil bias, Rician noise (Gudbjartsson and Patz 1995) and its own gain; in [0, 1]."""
    size = clean.shape[0]
    bias = np.exp(np.float32(rng.uniform(0.03, 0.12)) * smooth_field(rng, size, 3))
    signal = gaussian_filter(clean * bias, rng.uniform(0.2, 0.5))
    level = np.float32(rng.uniform(0.008, 0.04))
    in_phase = signal + level * rng.standard_normal(signal.shape, dtype=np.float32)
    quadrature = level * rng.standard_normal(signal.shape, dtype=np.float32)
    gain = np.float32(rng.uniform(0.85, 1.1))
    return np.clip(gain * np.sqrt(in_phase**2 + quadrature**2), 0, 1).astype(np.float32)

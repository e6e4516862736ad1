"""Scoring drawn images against their truth: SSIM (Wang et al., 2004) and PSNR on 8-bit grey, per image."""

from collections.abc import Sequence

import numpy as np
from skimage.metrics import structural_similarity
from skimage.transform import resize

LUMA = np.array([0.2125, 0.7154, 0.0721])
"""Brightness of RGB (ITU-R BT.709)."""


def grey(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H, W[, 3]) -> float64 (H, W) in [0, 255]."""
    values = pixels.astype(np.float64)
    return values if values.ndim == 2 else values @ LUMA


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, peak 255; 100 for equal images."""
    error = float(np.mean((grey(image) - grey(truth)) ** 2))
    return 100.0 if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(image: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity in percent, 7x7 windows, data range 255."""
    return float(100 * structural_similarity(grey(image), grey(truth), data_range=255))


def bicubic(low: np.ndarray, factor: int = 4) -> np.ndarray:
    """What bicubic enlargement makes of a same-size low-resolution image: reduced by ``factor``, then enlarged."""
    values = grey(low)
    small = resize(values, (values.shape[0] // factor, values.shape[1] // factor), order=3, anti_aliasing=False)
    return np.clip(np.rint(resize(small, values.shape, order=3)), 0, 255).astype(np.uint8)


def mean_scores(images: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> dict[str, float]:
    """Mean SSIM (percent) and PSNR (dB) over pairs of images."""
    if not images:
        return {}
    pairs = list(zip(images, truths, strict=True))
    return {
        "ssim": round(float(np.mean([ssim(image, truth) for image, truth in pairs])), 2),
        "psnr": round(float(np.mean([psnr(image, truth) for image, truth in pairs])), 2),
    }

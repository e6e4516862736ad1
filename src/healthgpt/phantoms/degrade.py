"""Low-resolution images the way a scanner makes them: the outer part of k-space is never measured."""

import numpy as np

from healthgpt.errors import InputError


def truncate_kspace(image: np.ndarray, factor: int = 4) -> np.ndarray:
    """Keep the central 1/``factor`` of k-space along each axis and fill the rest with zeros.

    ``image``: (height, width) or (height, width, channels) in [0, 1]; each channel is treated alike.
    Returns the magnitude image, same shape, float32, clipped to [0, 1] (truncation rings beyond it).
    ``InputError`` where the factor is below 1 or leaves nothing.
    """
    height, width = image.shape[:2]
    if factor < 1 or factor > min(height, width):
        raise InputError(
            "k-space cannot be truncated", found=f"factor {factor}", allowed=f"1 to {min(height, width)} for this image"
        )
    spectrum = np.fft.fft2(image, axes=(0, 1))
    kept = (np.abs(np.fft.fftfreq(height)) < 0.5 / factor)[:, None] & (np.abs(np.fft.fftfreq(width)) < 0.5 / factor)
    if factor == 1:
        kept[:] = True
    spectrum *= kept if image.ndim == 2 else kept[..., None]
    return np.clip(np.abs(np.fft.ifft2(spectrum, axes=(0, 1))), 0, 1).astype(np.float32)

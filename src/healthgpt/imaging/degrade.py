"""Low-resolution images of the same size: k-space cut short as a scanner does it, or bicubic as in benchmarks."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from PIL import Image as PillowImage

from healthgpt.errors import InputError

Degradation = Literal["k-space", "bicubic"]


def degrade(image: np.ndarray, method: Degradation, factor: int = 4) -> tuple[np.ndarray, str]:
    """The image with 1/``factor`` of its detail along each axis, and what was done, such as 'k-space truncation x4'.

    ``image``: (height, width) or (height, width, 3) in [0, 1]. The result has the same shape, float32 in [0, 1].
    ``InputError`` where the factor is below 1 or leaves nothing.
    """
    reduce, words = _METHODS[method]
    return reduce(image, factor), f"{words} x{factor}"


def bicubic_reduce(image: np.ndarray, factor: int = 4) -> np.ndarray:
    """Made smaller ``factor`` times with a bicubic filter as wide as the reduction, then enlarged bicubically.

    ``image``: (height, width) or (height, width, channels) in [0, 1]. Same shape, float32, clipped to [0, 1].
    ``InputError`` where the factor is below 1 or leaves nothing.
    """
    height, width = image.shape[:2]
    _check_factor(factor, height, width)
    small = max(1, round(width / factor)), max(1, round(height / factor))
    planes = image[..., None] if image.ndim == 2 else image
    restored = [
        np.asarray(
            PillowImage.fromarray(np.ascontiguousarray(planes[..., channel], dtype=np.float32))
            .resize(small, PillowImage.Resampling.BICUBIC)
            .resize((width, height), PillowImage.Resampling.BICUBIC)
        )
        for channel in range(planes.shape[2])
    ]
    return np.clip(np.stack(restored, axis=-1).reshape(image.shape), 0, 1)


def truncate_kspace(image: np.ndarray, factor: int = 4) -> np.ndarray:
    """Keep the central 1/``factor`` of k-space along each axis and fill the rest with zeros.

    ``image``: (height, width) or (height, width, channels) in [0, 1]; each channel is treated alike.
    Returns the magnitude image, same shape, float32, clipped to [0, 1] (truncation rings beyond it).
    ``InputError`` where the factor is below 1 or leaves nothing.
    """
    height, width = image.shape[:2]
    _check_factor(factor, height, width)
    spectrum = np.fft.fft2(image, axes=(0, 1))
    kept = (np.abs(np.fft.fftfreq(height)) < 0.5 / factor)[:, None] & (np.abs(np.fft.fftfreq(width)) < 0.5 / factor)
    if factor == 1:
        kept[:] = True
    spectrum *= kept if image.ndim == 2 else kept[..., None]
    return np.clip(np.abs(np.fft.ifft2(spectrum, axes=(0, 1))), 0, 1).astype(np.float32)


def _check_factor(factor: int, height: int, width: int) -> None:
    if not 1 <= factor <= min(height, width):
        raise InputError(
            "an image cannot be made that much coarser",
            found=f"factor {factor}",
            allowed=f"1 to {min(height, width)} for this image",
        )


_METHODS: dict[Degradation, tuple[Callable[[np.ndarray, int], np.ndarray], str]] = {
    "k-space": (truncate_kspace, "k-space truncation"),
    "bicubic": (bicubic_reduce, "bicubic"),
}

"""Display pixels to tower pixels: the one preprocessor training and inference share."""

from typing import Literal

import numpy as np
import torch
from PIL import Image as PillowImage
from pydantic import BaseModel, ConfigDict


class Preprocessing(BaseModel):
    """How an 8-bit image becomes a square tensor; saved in every model folder.

    ``fit``: ``pad`` keeps the aspect and fills the border with ``pad_colour``; ``squash`` stretches.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int
    fit: Literal["pad", "squash"] = "pad"
    pad_colour: tuple[int, int, int] = (0, 0, 0)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def square(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 (height, width[, 3]) -> uint8 (size, size, 3)."""
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[:, :, None], 3, axis=2)
        height, width = pixels.shape[:2]
        picture = PillowImage.fromarray(pixels)
        if self.fit == "pad" and height != width:
            side = max(height, width)
            canvas = PillowImage.new("RGB", (side, side), self.pad_colour)
            canvas.paste(picture, ((side - width) // 2, (side - height) // 2))
            picture = canvas
        if picture.size != (self.size, self.size):
            picture = picture.resize((self.size, self.size), PillowImage.Resampling.BICUBIC)
        return np.array(picture)  # a copy: Pillow's own buffer is read-only

    def window(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of the square that show nothing but a picture of this size; the border is outside."""
        if self.fit == "squash":
            return slice(0, self.size), slice(0, self.size)
        side = max(height, width)
        spans = (
            (first * self.size, (first + length) * self.size)
            for first, length in (((side - height) // 2, height), ((side - width) // 2, width))
        )
        rows, columns = (slice(-(-first // side), last // side) for first, last in spans)
        return rows, columns

    def normalise(self, squares: np.ndarray) -> torch.Tensor:
        """uint8 (N, size, size, 3) -> float32 (N, 3, size, size), mean and deviation applied."""
        tensor = torch.from_numpy(np.array(squares)).permute(0, 3, 1, 2).float().div_(255)
        mean = torch.tensor(self.mean).view(1, 3, 1, 1)
        return (tensor - mean) / torch.tensor(self.std).view(1, 3, 1, 1)

    def __call__(self, pixels: np.ndarray) -> torch.Tensor:
        """uint8 (height, width[, 3]) -> float32 (3, size, size)."""
        return self.normalise(self.square(pixels)[None])[0]

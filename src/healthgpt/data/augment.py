"""Augmentation of picture pairs: one small movement, drawn from a seed and done alike to both sides."""

from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage

LARGEST_TURN_DEG = 10.0
LARGEST_SCALING = 0.1
LARGEST_SHIFT = 0.05
"""Of the picture's side."""

SYMMETRIC_REGIONS = frozenset({"brain", "head", "pelvis"})
"""Regions alike on both sides: mirroring a chest or abdomen would put the heart or liver on the wrong one."""


@dataclass(frozen=True)
class Augmentation:
    """``flip``: left and right change places. ``turn_deg``: counter-clockwise. ``scale``: above 1 enlarges. ``shift``:
    to the right and down, in parts of the picture's width and height."""

    flip: bool = False
    turn_deg: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    def moved(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 pixels, (height, width) or (height, width, 3), flipped, turned, scaled and shifted; black comes in."""
        height, width = pixels.shape[:2]
        source = np.ascontiguousarray(pixels[:, ::-1] if self.flip else pixels)
        turn = np.deg2rad(self.turn_deg)
        # Pillow asks where each pixel of the result comes from; y runs down, so this turns counter-clockwise.
        back = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / self.scale
        middle = np.array([width, height]) / 2
        start = middle - back @ (middle + np.array(self.shift) * (width, height))
        coefficients = (*back[0], start[0], *back[1], start[1])
        picture = PillowImage.fromarray(source)
        return np.array(
            picture.transform(
                (width, height), PillowImage.Transform.AFFINE, coefficients, PillowImage.Resampling.BILINEAR
            )
        )

    def __str__(self) -> str:
        """What was done, for the record: ``augment flip rotate +3.2 deg scale 1.04 shift +2.1 -0.4 %``."""
        words = ["augment"]
        if self.flip:
            words.append("flip")
        across, down = (100 * part for part in self.shift)
        words.append(f"rotate {self.turn_deg:+.1f} deg scale {self.scale:.2f} shift {across:+.1f} {down:+.1f} %")
        return " ".join(words)


def draw_augmentation(seed: int | list[int], *, may_flip: bool) -> Augmentation:
    """The augmentation of a seed: the same on every machine and run.

    ``may_flip``: for regions of ``SYMMETRIC_REGIONS`` in planes that show both sides; half of the draws then flip.
    """
    draw = np.random.default_rng(seed)
    flip = bool(draw.random() < 0.5) and may_flip
    turn, scaling, across, down = (float(number) for number in draw.uniform(-1, 1, 4))
    return Augmentation(
        flip,
        LARGEST_TURN_DEG * turn,
        1.0 + LARGEST_SCALING * scaling,
        (LARGEST_SHIFT * across, LARGEST_SHIFT * down),
    )

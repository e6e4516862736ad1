"""A 2D medical image: pixels in physical units with what is known about them."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Units = Literal["hounsfield", "display", "arbitrary"]


@dataclass(frozen=True)
class Window:
    """A display window: values from ``centre - width/2`` to ``centre + width/2`` span black to white."""

    centre: float
    width: float


@dataclass(frozen=True)
class Image:
    """Pixels with modality, spacing and window.

    ``pixels``: float32, (height, width) grey or (height, width, 3) RGB. In ``display`` units they lie in
    [0, 1]; in ``hounsfield`` they are HU; in ``arbitrary`` any scale (MR signal, detector counts).
    ``modality``: a name of ``tasks.MODALITIES`` or None when the file does not say.
    ``spacing_mm``: (row, column) distance in millimetres, or None.
    """

    pixels: np.ndarray
    units: Units
    modality: str | None = None
    spacing_mm: tuple[float, float] | None = None
    window: Window | None = None
    source: str = ""
    notes: dict[str, str] = field(default_factory=dict)

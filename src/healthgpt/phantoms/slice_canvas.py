"""The canvas an axial slice is drawn on: patient coordinates in millimetres, smooth random fields, shapes.

Labels are drawn at twice the image's resolution and averaged down after they have become physical values
(HU, signal), so that edges carry true partial-volume mixtures.
"""

from functools import cache

import numpy as np
from scipy.ndimage import distance_transform_edt

from healthgpt.phantoms.tissues import Tissue

SUPERSAMPLING = 2


@cache
def _kernel(samples: int, knots: int) -> np.ndarray:
    """Gaussian interpolation weights from a coarse knot grid to a fine one, (samples, knots)."""
    at = np.linspace(0, knots - 3, samples)[:, None] + 1
    weights = np.exp(-0.5 * ((at - np.arange(knots)[None]) / 0.6) ** 2)
    return (weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))).astype(np.float32)


def smooth_field(rng: np.random.Generator, samples: int, knots: int) -> np.ndarray:
    """A smooth random field of zero mean and unit variance, (samples, samples) float32.

    ``knots``: independent values along each edge; the more, the finer the grain.
    """
    kernel = _kernel(samples, knots + 2)
    return kernel @ rng.standard_normal((knots + 2, knots + 2), dtype=np.float32) @ kernel.T


@cache
def _pixel_grid(samples: int) -> tuple[np.ndarray, np.ndarray]:
    axis = (np.arange(samples, dtype=np.float32) + 0.5) / samples - 0.5
    columns, rows = np.meshgrid(axis, axis)
    return columns, rows


class SliceCanvas:
    """A label map in patient coordinates.

    ``u``: millimetres towards the patient's left (image right); ``v``: millimetres towards the back
    (image bottom); both (2 size, 2 size) float32, rotated, shifted and gently warped by ``rng``.
    ``labels``: uint8 tissues of the same shape, air at first.
    """

    def __init__(
        self, rng: np.random.Generator, size: int, spacing_mm: float, *, tilt_degrees: float, warp_mm: float
    ) -> None:
        self.size = size
        self.spacing_mm = spacing_mm
        samples = size * SUPERSAMPLING
        self.samples = samples
        columns, rows = _pixel_grid(samples)
        field_of_view = spacing_mm * size
        angle = np.radians(rng.normal(0.0, tilt_degrees / 2))
        shift_u, shift_v = rng.uniform(-0.025, 0.025, 2) * field_of_view
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        across = columns * np.float32(field_of_view) - np.float32(shift_u)
        down = rows * np.float32(field_of_view) - np.float32(shift_v)
        warp = np.float32(warp_mm)
        self.u = cosine * across + sine * down + warp * smooth_field(rng, samples, 5)
        self.v = -sine * across + cosine * down + warp * smooth_field(rng, samples, 5)
        self.labels = np.zeros((samples, samples), dtype=np.uint8)

    def paint(self, mask: np.ndarray, tissue: Tissue) -> None:
        """Give every sample of ``mask`` this tissue."""
        self.labels[mask] = tissue

    def ellipse(self, centre: tuple[float, float], semi_axes: tuple[float, float], degrees: float = 0.0) -> np.ndarray:
        """Mask of an ellipse; ``degrees`` turns it clockwise as seen on the image."""
        return self.ellipse_radius(centre, semi_axes, degrees) < 1.0

    def ellipse_radius(
        self, centre: tuple[float, float], semi_axes: tuple[float, float], degrees: float = 0.0
    ) -> np.ndarray:
        """Squared normalised distance from the centre: 1 on the ellipse."""
        across = self.u - np.float32(centre[0])
        down = self.v - np.float32(centre[1])
        if degrees:
            cosine, sine = np.float32(np.cos(np.radians(degrees))), np.float32(np.sin(np.radians(degrees)))
            across, down = cosine * across + sine * down, cosine * down - sine * across
        across *= np.float32(1 / semi_axes[0])
        down *= np.float32(1 / semi_axes[1])
        across *= across
        down *= down
        return across + down

    def outline_depth(self, half_width: float, half_front: float, half_back: float, power: float) -> np.ndarray:
        """Millimetres below the surface of a body outline (a superellipse), negative outside it."""
        across = np.abs(self.u) * np.float32(1 / half_width)
        down = np.abs(self.v) * np.where(self.v < 0, np.float32(1 / half_front), np.float32(1 / half_back))
        radius = (across**power + down**power) ** np.float32(1 / power)
        distance = np.sqrt(self.u**2 + self.v**2)
        return distance * (1 / np.maximum(radius, 1e-3) - 1)

    def place(
        self,
        rng: np.random.Generator,
        allowed: np.ndarray,
        radius_mm: float,
        taken: list[tuple[float, float, float]],
        gap_mm: float = 6.0,
    ) -> tuple[float, float] | None:
        """A random centre (u, v) for a disc inside ``allowed`` clear of the ``taken`` discs (u, v, radius);
        None when there is no room."""
        step = 4
        coarse = np.pad(allowed[::step, ::step], 1)
        room = distance_transform_edt(coarse)[1:-1, 1:-1] * (self.spacing_mm * step / SUPERSAMPLING)
        u, v = self.u[::step, ::step], self.v[::step, ::step]
        free = room >= radius_mm
        for other_u, other_v, other_radius in taken:
            free &= (u - other_u) ** 2 + (v - other_v) ** 2 > (radius_mm + other_radius + gap_mm) ** 2
        candidates = np.flatnonzero(free)
        if candidates.size == 0:
            return None
        chosen = candidates[rng.integers(candidates.size)]
        return float(u.flat[chosen]), float(v.flat[chosen])

    def pixel_of(self, centre: tuple[float, float]) -> tuple[int, int]:
        """(row, column) of the image pixel nearest to a point in patient coordinates."""
        nearest = int(np.argmin((self.u - centre[0]) ** 2 + (self.v - centre[1]) ** 2))
        return nearest // self.samples // SUPERSAMPLING, nearest % self.samples // SUPERSAMPLING


def average_down(values: np.ndarray) -> np.ndarray:
    """Average the supersampled grid down to image pixels, float32."""
    return (0.25 * (values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2])).astype(np.float32)

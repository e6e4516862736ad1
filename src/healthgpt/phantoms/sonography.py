"""Pulse-echo image formation: tissue maps in, log-compressed ultrasound picture out.

Tissue is described on a beam grid (rows: samples along a beam, columns: beams) by mean backscatter,
excess attenuation and coherent (specular) reflection. The picture follows in the usual steps:
attenuation along each beam less the time-gain curve, complex Gaussian scatterers convolved with a
point-spread function whose lateral width grows away from the focus (fully developed speckle: Rayleigh
amplitude, exponential intensity; Wagner et al., IEEE Trans Sonics Ultrason 30, 1983), envelope
detection, spatial compounding, electronic noise, log compression and scan conversion.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import fft, ndimage

AXIAL_SAMPLES_PER_PIXEL = 2
"""Beams are sampled twice as finely along depth as the picture, then averaged in pairs."""

_MARGIN = 8
"""Samples and beams by which a field is extended before it is convolved."""


@dataclass(frozen=True)
class Probe:
    """A transducer and its field of view; lengths in mm, angles in radians.

    ``radius_mm`` is 0 for a linear array (beams parallel, ``half_width`` in mm) and the curvature for a
    convex one (beams fan out, ``half_width`` the half opening angle). ``top`` and ``bottom`` are the
    picture rows, as fractions of its height, where a linear array's field begins and ends.
    """

    radius_mm: float
    half_width: float
    depth_mm: float
    top: float = 0.0
    bottom: float = 1.0

    @property
    def convex(self) -> bool:
        return self.radius_mm > 0


@dataclass
class Tissue:
    """Maps on the beam grid, each float32 of shape (samples, beams).

    ``echo_db``: mean backscattered intensity, 0 dB being the brightest soft tissue. ``excess_db_per_mm``:
    round-trip attenuation above what time-gain compensation assumes; fluid is negative (hence posterior
    enhancement), stone strongly positive (hence shadow). ``specular``: coherent amplitude of smooth
    interfaces on the same scale (1.0 is 0 dB).
    """

    echo_db: np.ndarray
    excess_db_per_mm: np.ndarray
    specular: np.ndarray

    @classmethod
    def uniform(cls, shape: tuple[int, int], echo_db: float) -> "Tissue":
        return cls(np.full(shape, echo_db, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.float32))

    def paint(self, cover: np.ndarray, echo_db: float | np.ndarray, excess_db_per_mm: float) -> None:
        """Replace the tissue by another where ``cover`` (in [0, 1]; soft edges allowed) is set."""
        self.echo_db += cover * (echo_db - self.echo_db)
        self.excess_db_per_mm += cover * (excess_db_per_mm - self.excess_db_per_mm)
        self.specular *= 1 - cover

    def mirror(self, distance: np.ndarray, width: float, amplitude: float | np.ndarray) -> None:
        """A smooth interface, ``width`` thick, where ``distance`` crosses zero."""
        self.specular += amplitude * np.exp(-0.5 * (distance / width) ** 2)


@dataclass(frozen=True)
class Receiver:
    """Scanner settings: ``dynamic_range_db`` shown, ``gain_db``, ``looks`` compounded, noise floor, focus."""

    dynamic_range_db: float
    gain_db: float
    looks: int
    noise_db: float
    focus: float
    """Depth of the transmit focus as a fraction of the field depth."""
    pulse_px: float
    beam_px: float
    """Gaussian standard deviations of the pulse (samples) and of the beam at the focus (beams)."""


@cache
def beam_grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Depth in [0, 1] and lateral position in [-1, 1] of every beam sample, shape (2 size, size)."""
    depth, lateral = np.meshgrid(
        np.linspace(0, 1, AXIAL_SAMPLES_PER_PIXEL * size, dtype=np.float32),
        np.linspace(-1, 1, size, dtype=np.float32),
        indexing="ij",
    )
    return depth, lateral


def beam_positions(probe: Probe, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Position (x, z) in mm of every beam sample: x to the right of the axis, z below the probe's front."""
    depth, lateral = beam_grid(size)
    if not probe.convex:
        return lateral * np.float32(probe.half_width), depth * np.float32(probe.depth_mm)
    radius = probe.radius_mm + depth * probe.depth_mm
    angle = lateral * probe.half_width
    return radius * np.sin(angle), radius * np.cos(angle) - np.float32(probe.radius_mm)


def fan_height_mm(probe: Probe) -> float:
    """Height in mm of the field, from its highest to its lowest point."""
    if not probe.convex:
        return probe.depth_mm
    return probe.radius_mm * (1 - float(np.cos(probe.half_width))) + probe.depth_mm


def picture_width_mm(probe: Probe) -> float:
    """Width in mm of the square picture: a fan is shown undistorted, the tips of its lower corners cut."""
    if not probe.convex:
        return 2 * probe.half_width
    return max(1.8 * (probe.radius_mm + probe.depth_mm) * float(np.sin(probe.half_width)), fan_height_mm(probe)) * 1.01


def below(distance: np.ndarray, softness: float) -> np.ndarray:
    """1 where ``distance`` is positive, 0 where negative, with an edge ``softness`` wide."""
    return np.clip(distance / softness + 0.5, 0, 1)


@cache
def _frequencies(count: int) -> np.ndarray:
    return (2 * np.pi * fft.fftfreq(count)).astype(np.float32)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: tuple[float, float]) -> np.ndarray:
    """A Gaussian random field of unit variance and correlation length ``sigma`` (rows, columns; in pixels)."""
    coarse = (shape[0] // AXIAL_SAMPLES_PER_PIXEL, shape[1])
    white = rng.standard_normal(coarse, dtype=np.float32)
    rows = np.exp(-0.5 * (_frequencies(coarse[0]) * sigma[0]) ** 2)
    columns = np.exp(-0.5 * (_frequencies(coarse[1])[: coarse[1] // 2 + 1] * sigma[1]) ** 2)
    field = fft.irfft2(fft.rfft2(white) * rows[:, None] * columns[None, :], s=coarse)
    field -= field.mean()
    return np.repeat(field / (field.std() + 1e-6), AXIAL_SAMPLES_PER_PIXEL, axis=0)


def _beam_width(receiver: Receiver, samples: int) -> np.ndarray:
    """Standard deviation of the beam in beams, by sample: narrowest at the focus."""
    depth = np.linspace(0, 1, samples, dtype=np.float32)
    return receiver.beam_px * np.sqrt(1 + ((depth - receiver.focus) / 0.35) ** 2)


def _point_spread(field: np.ndarray, receiver: Receiver) -> np.ndarray:
    """Convolve along depth with the pulse and across beams with the depth-dependent beam.

    The field is mirrored at its borders, so that nothing leaks round from one side to the other.
    """
    width = np.pad(_beam_width(receiver, len(field)), _MARGIN, mode="edge")
    field = np.pad(field, _MARGIN, mode="reflect")
    lateral = np.exp(-0.5 * (width[:, None] * _frequencies(field.shape[1])[None, :]) ** 2)
    axial = np.exp(-0.5 * (receiver.pulse_px * _frequencies(field.shape[0])) ** 2)[:, None]
    spread = fft.ifft(fft.fft(field, axis=1) * lateral, axis=1)
    spread = fft.ifft(fft.fft(spread, axis=0) * axial, axis=0)
    return spread[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]


def _speckle_power(receiver: Receiver, shape: tuple[int, int]) -> np.ndarray:
    """Mean intensity that white unit scatterers leave after the point-spread function, by row."""
    width = _beam_width(receiver, shape[0])
    return (1 / (2 * np.sqrt(np.pi) * width) / (2 * np.sqrt(np.pi) * receiver.pulse_px))[:, None]


def acquire(
    tissue: Tissue, probe: Probe, receiver: Receiver, rng: np.random.Generator, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The picture as acquired and its speckle-free, noise-free mean: both (size, size) float32 in [0, 1]."""
    shape = tissue.echo_db.shape
    step_mm = probe.depth_mm / shape[0]
    loss_db = np.cumsum(tissue.excess_db_per_mm, axis=0) * step_mm
    loss_db -= tissue.excess_db_per_mm * step_mm
    loss = 10 ** (-np.clip(loss_db, -14, 60) / 20)
    scatter = 10 ** (tissue.echo_db / 20) * loss
    mirror = tissue.specular * loss
    power = _speckle_power(receiver, shape)
    noise = 10 ** (receiver.noise_db / 10) * 10 ** (0.8 * np.linspace(0, 1, shape[0]) ** 2)[:, None]
    coherent = np.abs(_point_spread(mirror.astype(np.complex64), receiver))
    intensity = np.zeros(shape, np.float32)
    for _ in range(receiver.looks):
        white = rng.standard_normal((2, *shape), dtype=np.float32) * np.float32(np.sqrt(0.5))
        echo = _point_spread((white[0] + 1j * white[1]) * scatter, receiver) / np.sqrt(power)
        intensity += np.abs(echo + coherent) ** 2
    intensity /= receiver.looks
    # Electronic noise is averaged by the looks and the pair of axial samples just as speckle is.
    intensity += noise * rng.exponential(1.0, shape).astype(np.float32)
    mean = np.abs(_point_spread((scatter**2).astype(np.complex64), receiver)) + coherent**2
    return _display(intensity, probe, receiver, size), _display(mean, probe, receiver, size)


def _display(intensity: np.ndarray, probe: Probe, receiver: Receiver, size: int) -> np.ndarray:
    """Log compression to [0, 1], pairs of samples averaged, scan conversion; black outside the field."""
    level = 10 * np.log10(intensity + 1e-9) + receiver.gain_db
    shown = np.clip(1 + level / receiver.dynamic_range_db, 0, 1)
    shown = 0.5 * (shown[0::2] + shown[1::2])
    if not probe.convex and (probe.top, probe.bottom) == (0.0, 1.0):
        return shown.astype(np.float32)
    rows, columns = _scan_conversion(probe, size)
    picture = ndimage.map_coordinates(shown, [rows, columns], order=1, cval=0.0, prefilter=False)
    return picture.astype(np.float32)


def _scan_conversion(probe: Probe, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Beam-grid coordinates (row, column) of every picture element; outside the field they leave the grid."""
    down, across = np.meshgrid(
        (np.arange(size, dtype=np.float32) + 0.5) / size,
        (np.arange(size, dtype=np.float32) + 0.5) / size,
        indexing="ij",
    )
    if not probe.convex:
        rows = (down - probe.top) / (probe.bottom - probe.top) * size - 0.5
        return np.where((rows >= -0.5) & (rows <= size - 0.5), np.clip(rows, 0, size - 1), -10), across * size - 0.5
    width = picture_width_mm(probe)
    x = (across - 0.5) * width
    front = probe.radius_mm * float(np.cos(probe.half_width))
    z = front + down * width - (width - fan_height_mm(probe)) / 2
    radius, angle = np.hypot(x, z), np.arctan2(x, z)
    rows = (radius - probe.radius_mm) / probe.depth_mm * (size - 1)
    columns = (angle / probe.half_width + 1) / 2 * (size - 1)
    return rows, columns


def picture_position(probe: Probe, x_mm: float, z_mm: float) -> tuple[float, float]:
    """Where a point of the body falls in the picture: (column, row) as fractions of its width and height."""
    if not probe.convex:
        row = probe.top + z_mm / probe.depth_mm * (probe.bottom - probe.top)
        return 0.5 + x_mm / (2 * probe.half_width), row
    width = picture_width_mm(probe)
    below_top = z_mm + probe.radius_mm * (1 - float(np.cos(probe.half_width)))
    return 0.5 + x_mm / width, (below_top + (width - fan_height_mm(probe)) / 2) / width

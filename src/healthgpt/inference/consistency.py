"""Fitting a drawn picture to what was measured: super-resolution is given the centre of k-space and must not lose it.

The drawing x and the measurement y = |L x| + noise, where L keeps the centre of k-space, are fused as in a Kalman
update (minimum mean squared error for Gaussian errors; Kay, *Estimation Theory*, 1993, ch. 11):

    x + C L (L C L + S)^-1 (y - L x)

C, diagonal over pixels, is how far the drawing may be wrong: much at its edges and where it contradicts the
measurement, little where it is flat. Plain replacement of low frequencies (C constant) would ring into flat areas.
S, diagonal over frequencies, is how far the measurement may be wrong: hardly, in an image without noise. A scan's noise
shows in air, where a magnitude image has a floor (Gudbjartsson and Patz, 1995). A scan also has a gain and a coil's
bias, which spoil its lowest frequencies.

The constants are grey levels of 255 or squares of them, chosen on validation items; each may be doubled or halved with
less than one percent of SSIM gained or lost.
"""

from collections.abc import Callable

import numpy as np
from scipy.fft import irfft2, rfft2
from scipy.ndimage import gaussian_filter, uniform_filter

Window = tuple[slice, slice]
Linear = Callable[[np.ndarray], np.ndarray]

QUARTER = 0.25
"""The part of k-space along each axis that 4x super-resolution is given."""
DARK = 20.0
"""Air: the drawing is darker than this."""
LEAST_AIR = 0.02
"""With less air than this share of the picture, no noise floor is looked for."""
FLAT_VARIANCE = 5.0
"""Local variance of a drawing where it begins to be structure."""
EDGE_TRUST = 0.1
CONTRADICTION_TRUST = 0.5
"""Error variance of a drawing for each unit of its local variance, and of its contradiction of the measurement."""
DOUBT = 2.0
NOISY_DOUBT = 6.0
"""A contradiction is small below the first (a variance), and below this many times the noise floor."""
SCAN_BIAS = 30.0
BIAS_WIDTH = 0.16
"""Variance of a noisy scan's bias at the lowest frequency, in variances of its noise, and where it ends, as a part of
the highest measured frequency."""
STEPS = 20
"""Conjugate gradient steps; twice as many change SSIM by less than 0.1 percent."""


def measured_part(longest: int, side: int) -> float:
    """The part of k-space along each axis that a picture given for super-resolution tells of, on the drawing's grid.

    ``longest``: its longer side in pixels; ``side``: that of the drawing. Of a picture that was enlarged, half of what
    it holds counts: interpolation weakens the rest.
    """
    return min(QUARTER, 0.5 * longest / side)


def noise_floor(drawn: np.ndarray, measured: np.ndarray) -> float:
    """How bright the air of a measurement is above that of its drawing; both (height, width) in [0, 255]."""
    air = (uniform_filter(drawn, 5) < DARK) & (gaussian_filter(drawn, 3.0) < 2 * DARK)
    if air.mean() < LEAST_AIR:
        return 0.0
    return max(0.0, float(np.median((measured - drawn)[air])))


def fitted(drawn: np.ndarray, measured: np.ndarray, reach: float = QUARTER) -> np.ndarray:
    """One channel of a drawing, changed as far as the measurement is to be believed more.

    ``drawn``, ``measured``: float64 (height, width) in [0, 255], the same place pixel by pixel. ``measured`` is the
    magnitude image of the central ``reach`` of k-space along each axis. Returns the same shape and range.
    """
    rows = np.abs(np.fft.fftfreq(drawn.shape[0]))[:, None]
    columns = np.abs(np.fft.rfftfreq(drawn.shape[1]))[None]
    kept = (rows < reach / 2) & (columns < reach / 2)

    def low(image: np.ndarray, weight: np.ndarray = kept) -> np.ndarray:
        return np.asarray(irfft2(rfft2(image) * weight, s=drawn.shape))

    floor = noise_floor(drawn, measured)
    expected = low(drawn)
    positive = np.maximum(expected, 0)
    signal = measured - (np.hypot(positive, floor) - positive)
    # The magnitude took the sign away where truncation rings below zero; the drawing says where that is.
    signal = np.where(expected + floor < 0, -signal, signal)

    detail = 0.375 / reach  # pixels: a part of the distance between two measured points
    structure = np.maximum(gaussian_filter(drawn**2, detail) - gaussian_filter(drawn, detail) ** 2, 0)
    contradiction = gaussian_filter(low(signal - drawn) ** 2, 2 * detail)
    contradiction = np.maximum(contradiction - 1 - floor**2, 0)

    # What is wrong in the measured frequencies is not to be believed beyond them.
    doubt = (
        contradiction / (contradiction + DOUBT + (NOISY_DOUBT * floor) ** 2) * structure / (structure + FLAT_VARIANCE)
    )
    prior = drawn + doubt * (np.maximum(signal, 0) - drawn)
    variance = 1 + EDGE_TRUST * structure + CONTRADICTION_TRUST * contradiction
    bias = SCAN_BIAS * np.exp(-((np.hypot(rows, columns) / (BIAS_WIDTH * reach / 2)) ** 2))
    noise = 1 + (reach * floor) ** 2 * (
        1 + bias
    )  # truncation leaves the part ``reach`` of the deviation of white noise

    def covariance(image: np.ndarray) -> np.ndarray:
        return low(variance * image) + low(image, kept * noise)

    def near_inverse(image: np.ndarray) -> np.ndarray:
        return low(image, kept / (variance.mean() + noise))

    return np.clip(prior + variance * _solve(covariance, near_inverse, low(signal - prior)), 0, 255)


def _solve(matrix: Linear, near_inverse: Linear, right: np.ndarray) -> np.ndarray:
    """``x`` with ``matrix(x)`` near ``right``: conjugate gradients with a preconditioner, both positive."""
    solution = np.zeros_like(right)
    rest, direction = right, near_inverse(right)
    size = float(np.vdot(rest, direction))
    for _ in range(STEPS):
        if size < 1e-9 * right.size:  # what rounding leaves; a perfect drawing starts here
            break
        image = matrix(direction)
        step = size / float(np.vdot(direction, image))
        solution = solution + step * direction
        rest = rest - step * image
        nearer = near_inverse(rest)
        before, size = size, float(np.vdot(rest, nearer))
        direction = nearer + size / before * direction
    return solution


def fit_picture(drawn: np.ndarray, measured: np.ndarray, window: Window, reach: float = QUARTER) -> np.ndarray:
    """A drawing fitted to its input within ``window``; the border around it is the input's.

    ``drawn``, ``measured``: uint8 (height, width, 3). ``window``: the rows and the columns the input takes in the
    square. Colours are fitted one by one. Returns uint8 as ``measured`` is, or (height, width) where that is grey.
    """
    fused = measured.copy()
    grey = bool((measured == measured[..., :1]).all())
    if grey:
        drawn, fused = drawn.mean(axis=-1, keepdims=True), fused[..., :1]
    for channel in range(fused.shape[-1]):
        inside = (*window, channel)
        if fused[inside].size:
            fused[inside] = np.rint(fitted(drawn[inside].astype(np.float64), fused[inside].astype(np.float64), reach))
    return fused[..., 0] if grey else fused

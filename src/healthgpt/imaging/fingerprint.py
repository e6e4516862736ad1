"""Fingerprints of pictures: the exact one of a file's bytes, and one that survives re-encoding and resizing.

The perceptual one is a pHash (C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions",
Hagenberg 2010: one bit for each low-frequency cosine coefficient) of 256 bits, so that pictures as alike as two chest
X-rays stay apart. A coefficient is the integral of the grey picture, constant over each pixel of the unit square,
times a cosine: exact for any size and aspect ratio, with no resampling in between. Signs rather than comparisons with
the median: a sign does not change with contrast and does not hang on the other coefficients.

What 256 bits tell apart, on the real packs (433 pictures of ten packs, each copied; ``fingerprints``):

    copies                                             median   worst   within 16
    JPEG at quality 90 / 50 / 25                       0/1/2    3/7/13  all
    half / quarter size, squashed to 224 x 224         0/0/0    3/5/3   all
    256 on the long side as JPEG at quality 75         1        8       all
    brightness +20 / contrast x 0.8, of 255, clipped   0/0      11/3    all
    brightness -20 / contrast x 1.2, of 255, clipped   5/6      29      98.2 % / 97.5 %
    gamma 0.8 / 1.25                                   6/7      23/22   98.6 % / 98.9 %
    padded to a square, white / mid-grey, as JPEG      0        104     99.5 % / 97.7 %
    padded to a square, black                          0        121     66.5 %: the rest has black margins of its own
    2 % cut off every side                             35       74      3 %: not the same picture to this fingerprint

    different pictures                                 smallest distance
    PneumoniaMNIST, 617,000 pairs                      54 (besides pictures it holds twice)
    chest X-rays of Hannover, 9,700 pairs              56
    VQA-RAD, 35,000 pairs                              70
    fundus photographs of IDRiD, 1,128 pairs           30 (different eyes; all are one bright disc)
    slices of one volume, neighbouring                 2 to 20: as close as copies, and they share a group anyway

Mirrored and turned copies are not found: left and right matter here.
"""

from functools import lru_cache

import numpy as np

from healthgpt.errors import ImageError

WORDS = 4
"""A fingerprint is so many 64-bit words: one picture, 32 bytes."""
NEAR_DISTANCE = 16
"""Two pictures whose fingerprints differ in at most so many of 256 bits count as near-duplicates: of whole copies only
some of changed exposure or padded lie beyond it; no two different pictures of the packs within it but slices of one
volume."""
FLAT_CONTRAST = 2.0
"""Grey levels of 255: root-mean-square contrast of the coefficients together, below which their signs are noise. Such a
picture (an empty slice, a tile of bare glass) has the fingerprint 0 and is a duplicate of nothing but its own bytes."""

BAR_DEVIATION = 6.0
BAR_STEP = 24.0
BAR_DIFFERENCE = 0.01
"""Bars beside a picture: lines that differ from one grey by at most ``BAR_DEVIATION`` on average (JPEG rings beside an
edge), two bars of one grey and of one thickness up to ``BAR_DIFFERENCE`` of the side, and a step of at least
``BAR_STEP`` grey levels to the picture. The dark margin of a scan has no such step; where it ends depends on noise."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def _lowest_frequencies(count: int) -> np.ndarray:
    """(count, 2) integers: (vertical, horizontal) half-waves over the picture, lowest first, without the constant."""
    side = 1 + 2 * int(np.sqrt(count))
    pairs = [(down, across) for down in range(side) for across in range(side) if down or across]
    return np.array(sorted(pairs, key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair[0]))[:count])


FREQUENCIES = _lowest_frequencies(64 * WORDS)


def fingerprint(pixels: np.ndarray) -> np.ndarray:
    """(4,) uint64: bit i, counted from the lowest of the first word, is the sign of the i-th lowest frequency.

    ``pixels``: uint8, (height, width) grey or (height, width, 3) RGB, of any size. All zero for a flat picture
    (``FLAT_CONTRAST``). ``ImageError`` for anything else.
    """
    return signs(as_grey(pixels))


def fingerprints(pixels: np.ndarray) -> np.ndarray:
    """(1, 4) or (2, 4) uint64: that of the picture and, where it has bars on two sides, that of what lies between.

    A letterboxed copy is found by the second. It is beside the first and not in its place: of bars that are just
    recognised in a picture some copies lose the trace. Errors as for ``fingerprint``.
    """
    grey = as_grey(pixels)
    inside = _between_bars(grey)
    return np.stack([signs(grey)] if inside is None else [signs(grey), signs(inside)])


def is_flat(fingerprints: np.ndarray) -> np.ndarray:
    """(...) bool for (..., 4) fingerprints: whether the picture is too flat to be compared."""
    return np.asarray(~fingerprints.any(axis=-1))


def coefficients(grey: np.ndarray) -> np.ndarray:
    """(256,) float32: the cosine coefficients of a (height, width) float32 grey picture, lowest frequency first."""
    grid = _cosines(grey.shape[0]) @ grey @ _cosines(grey.shape[1]).T
    return grid[FREQUENCIES[:, 0], FREQUENCIES[:, 1]]


def signs(grey: np.ndarray) -> np.ndarray:
    """(4,) uint64: the fingerprint of a (height, width) float32 grey picture of 0 to 255."""
    waves = coefficients(grey)
    # A cosine's mean square is 1/2 along an axis: by Parseval four times the sum of squares is the variance they carry.
    if 2 * np.sqrt(np.sum(waves**2)) < FLAT_CONTRAST:
        return np.zeros(WORDS, np.uint64)
    return np.packbits(waves > 0, bitorder="little").view("<u8").astype(np.uint64)


def as_grey(pixels: np.ndarray) -> np.ndarray:
    """float32 of shape (height, width), 0 to 255: luma of an RGB picture. ``ImageError`` as for ``fingerprint``."""
    colour = pixels.ndim == 3 and pixels.shape[2] == 3
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or colour) or 0 in pixels.shape:
        raise ImageError(
            "no fingerprint of this array",
            found=f"{pixels.dtype} of shape {pixels.shape}",
            allowed="uint8 of shape (height, width) or (height, width, 3)",
        )
    return pixels @ LUMA if colour else pixels.astype(np.float32)


@lru_cache(maxsize=256)
def _cosines(length: int) -> np.ndarray:
    """(frequencies, length) float32: each cosine of the unit interval integrated over every pixel."""
    waves = np.arange(1, FREQUENCIES.max() + 1)[:, None] * np.pi
    integrals = np.diff(np.sin(waves * np.linspace(0, 1, length + 1)), axis=1) / waves
    return np.vstack([np.full((1, length), 1 / length), integrals]).astype(np.float32)


def _between_bars(grey: np.ndarray) -> np.ndarray | None:
    """What lies between two bars above and below, else to the left and right; None where there are none."""
    for picture in (grey, grey.T):
        deviation = np.abs(picture - picture[0].mean()).mean(axis=1)
        inside = np.flatnonzero(deviation > BAR_DEVIATION)
        if not len(inside):
            return None
        first, last = int(inside[0]), int(inside[-1]) + 1
        above, below = first, len(picture) - last
        # The outermost line of the picture may be blended with the bar: the step may take three lines.
        step = min(deviation[first : first + 3].max(), deviation[max(first, last - 3) : last].max())
        even = abs(above - below) <= max(2, BAR_DIFFERENCE * len(picture))
        if min(above, below) > 0 and even and step >= BAR_STEP:
            between = picture[first:last]
            return between if picture is grey else between.T
    return None

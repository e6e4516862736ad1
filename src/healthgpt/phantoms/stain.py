"""Stains as absorbers: how much haematoxylin, eosin or another dye lies in a pixel, and its colour.

Transmitted light follows Beer-Lambert, I = I0 * exp(-ln(10) * sum_s c_s * v_s), with v_s the optical density
of stain s per channel. Haematoxylin, eosin and DAB are those of Ruifrok & Johnston (Anal Quant Cytol Histol
23:291, 2001), the scanned pair is the reference of Macenko et al. (ISBI 2009). The Romanowsky vectors of blood
smears are normalised from the dyes' absorption: the purple complex of azure B and eosin Y on chromatin peaks
near 550 nm with a shoulder at 650 nm (takes green and red); red cells are haemoglobin (540 and 415 nm) under
eosin (520 nm), their balance set to the BCCD photographs' median density ratios.
"""

import numpy as np

HAEMATOXYLIN = np.array([0.65, 0.70, 0.29], np.float32)
EOSIN = np.array([0.07, 0.99, 0.11], np.float32)
SCANNED_HAEMATOXYLIN = np.array([0.56, 0.72, 0.41], np.float32)
SCANNED_EOSIN = np.array([0.22, 0.80, 0.56], np.float32)
DAB = np.array([0.27, 0.57, 0.78], np.float32)
AZURE = np.array([0.56, 0.80, 0.20], np.float32)
RED_CELL = np.array([0.38, 0.74, 0.56], np.float32)

_LN_10 = np.float32(np.log(10.0))


def vary(rng: np.random.Generator, stain: np.ndarray, spread: float) -> np.ndarray:
    """A batch of the stain: its vector turned a little and kept at unit length."""
    turned = np.maximum(stain + rng.normal(0, spread, 3).astype(np.float32), 0.01)
    return turned / np.linalg.norm(turned)


def transmit(light: np.ndarray, layers: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """RGB (height, width, 3) seen through stained layers.

    ``light``: the lamp's RGB in [0, 1], (3,) or (height, width, 3); ``layers``: pairs of concentration
    (height, width) and stain vector (3,).
    """
    density = sum(amount[..., None] * vector for amount, vector in layers)
    return light * np.exp(-_LN_10 * density)


def unmix(image: np.ndarray, light: np.ndarray, stains: list[np.ndarray]) -> np.ndarray:
    """Concentrations (height, width, number of stains) that explain ``image`` in the least-squares sense.

    ``image`` (height, width, 3) in [0, 1]; ``light`` (3,) the bare lamp. The inverse of ``transmit``.
    """
    density = -np.log10(np.clip(image, 1 / 255, None) / light)
    return density @ np.linalg.pinv(np.stack(stains))

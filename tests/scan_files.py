"""Phantom scans and the files they come in, for the tests of volumes, geometry, registration and recipes."""

from pathlib import Path

import nibabel
import numpy as np

from healthgpt.imaging.volume import Volume


def affine_of(spacing: tuple[float, float, float], origin: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """Axis-parallel RAS."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    return affine


def volume_of(values: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), **fields) -> Volume:
    return Volume(values.astype(np.float32), spacing, affine_of(spacing), **fields)


def head_signal(side: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """MR signal and HU of one lopsided head, (side, side, side): skin, skull, brain, two unequal ventricles, a nose."""
    x, y, z = np.meshgrid(*[np.linspace(-1.25, 1.25, side)] * 3, indexing="ij")
    radius = np.sqrt((x / 0.85) ** 2 + y**2 + (z / 0.95) ** 2)
    nose = (x**2 + (y - 1.0) ** 2 + (z + 0.2) ** 2) < 0.04
    fluid = ((x - 0.25) / 0.15) ** 2 + (y / 0.4) ** 2 + ((z - 0.1) / 0.2) ** 2 < 1
    fluid |= ((x + 0.3) / 0.1) ** 2 + ((y + 0.1) / 0.3) ** 2 + (z / 0.25) ** 2 < 1
    white = (np.abs(x) < 0.55) & (np.abs(y) < 0.5 + 0.2 * x) & (np.abs(z + 0.1 * y) < 0.45)
    mri, ct = np.zeros(x.shape), np.full(x.shape, -1000.0)
    for where, signal, hounsfield in (
        (nose, 700, 20), (radius < 1.0, 900, -80), (radius < 0.92, 90, 1000), (radius < 0.84, 450, 38),
        (white & (radius < 0.8), 620, 28), (fluid, 160, 8),
    ):  # fmt: skip
        mri[where], ct[where] = signal, hounsfield
    return mri, ct


def write_nifti(path: Path, values: np.ndarray, affine: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), affine), path)
    return path

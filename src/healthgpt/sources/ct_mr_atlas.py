"""CT and MR population averages in MNI space: the one aligned pair of modalities that may be used freely.

There is one average brain, not patients. It is cut into 10 mm slabs along z (``base.slab_of``), each slab one group.
The test slabs are still the same brain as the training slabs: a score on them says that conversion works, not how
well it would do on a new patient.

The CT files hold Cormack units, an invertible rescaling that stretches soft tissue eleven times (Rorden et al.
2012); they are turned back to Hounsfield units here.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.ndimage import map_coordinates

from healthgpt.imaging.image import Units, Window
from healthgpt.imaging.volume import Volume, read_volume
from healthgpt.record import Sample
from healthgpt.sources.base import Source, required_file, slab_of, split_of_slab
from healthgpt.sources.picture import Picture
from healthgpt.sources.volume_slices import axial_pixels, shows_something, volume_window

PAIRS = (
    ("scct", "scct.nii.gz", "flair", "gg-flair-181-asym-8mmFWHM.nii.gz"),
    ("scct_stripped", "scct_stripped.nii.gz", "t1", "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"),
)
"""CT and MRI that show the same: the whole head, or the brain alone."""

TITLES = {
    "scct": "CT of the head, average of many people, axial slice.",
    "scct_stripped": "CT of the brain without the skull, average of many people, axial slice.",
    "flair": "FLAIR MRI of the head, average of many people, axial slice.",
    "t1": "T1-weighted MRI of the brain without the skull, average of many people, axial slice.",
}
HEAD_WINDOW = Window(centre=40.0, width=200.0)

X_MM = np.arange(-90.0, 91.0)
Y_MM = np.arange(-126.0, 91.0)
Z_MM = np.arange(-70.0, 82.0, 2.0)
"""The common grid, MNI millimetres: 1 mm in the slice, a slice every 2 mm."""


def samples(root: Path) -> Iterator[Sample]:
    """Every slice of both pairs: conversion both ways, reconstruction, questions, MRI super-resolution."""
    folder = SOURCE.folder_in(root)
    for ct_name, ct_file, mri_name, mri_file in PAIRS:
        ct = on_common_grid(read_volume(required_file(folder / ct_file, SOURCE.name)))
        ct = Volume(cormack_to_hounsfield(ct.values), ct.spacing_mm, ct.affine)
        mri = on_common_grid(read_volume(required_file(folder / mri_file, SOURCE.name)))
        mri_window = volume_window(mri.values)
        for index in range(len(Z_MM)):
            slab = slab_of(index)
            pixels = {
                "ct": _pixels(ct, index, "ct", "hounsfield", HEAD_WINDOW),
                "mri": _pixels(mri, index, "mri", "arbitrary", mri_window),
            }
            if slab is not None and all(shows_something(plane) for plane in pixels.values()):
                first = _picture(ct_name, "ct", index, slab, pixels["ct"])
                second = _picture(mri_name, "mri", index, slab, pixels["mri"])
                yield from _sample_pair(first, TITLES[ct_name], second, TITLES[mri_name])


def cormack_to_hounsfield(values: np.ndarray) -> np.ndarray:
    """Undo T = (HU + 1024) + 10 clip(HU + 124, 0, 200), the rescaling of the Clinical toolbox."""
    stretched = np.clip(values - 900.0, 0.0, 2200.0)
    return (values - stretched * (10.0 / 11.0) - 1024.0).astype(np.float32)


def on_common_grid(volume: Volume) -> Volume:
    """The volume resampled linearly through its affine onto the common grid; 0 outside its field of view."""
    grid = np.stack(np.meshgrid(X_MM, Y_MM, Z_MM, indexing="ij"))
    inverse = np.linalg.inv(volume.affine)
    voxels = np.tensordot(inverse[:3, :3], grid, axes=1) + inverse[:3, 3].reshape(3, 1, 1, 1)
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[:3, 3] = X_MM[0], Y_MM[0], Z_MM[0]
    return Volume(map_coordinates(volume.values, voxels, order=1), (1.0, 1.0, 2.0), affine)


def _pixels(volume: Volume, index: int, modality: str, units: Units, window: Window) -> np.ndarray:
    return axial_pixels(volume, index, modality=modality, units=units, window=window)


def _picture(volume: str, modality: str, index: int, slab: int, pixels: np.ndarray) -> Picture:
    name = f"{volume}/z{Z_MM[index]:+.0f}"
    split = split_of_slab(slab)
    return Picture(SOURCE.name, SOURCE.licence, name, f"slab-{slab}", split, modality, "head", pixels)


def _sample_pair(ct: Picture, ct_title: str, mri: Picture, mri_title: str) -> Iterator[Sample]:
    for picture, title in ((ct, ct_title), (mri, mri_title)):
        yield from picture.about()
        yield picture.described(title)
        yield picture.reconstructed()
    yield mri.sharpened()
    yield ct.converted("ct-to-mri", mri)
    yield mri.converted("mri-to-ct", ct)


SOURCE = Source(
    name="ct_mr_atlas",
    title="Aligned CT and MR population averages in MNI space",
    licence="BSD-2-Clause; T1 template: MNI ICBM152 notice",
    obtain="https://github.com/neurolabusc/Clinical and https://github.com/nilearn/nilearn",
    folder="ct_mr_atlas",
    published_images=4,
    published_questions=0,
    samples=samples,
)

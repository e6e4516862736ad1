"""NIfTI, MGH, MetaImage and NRRD volumes to one 2D ``Image`` in radiological display orientation.

Only the wanted slice is kept in memory: headers are parsed by ``nifti_header`` and ``itk_header``, voxels taken
by ``volume_layout``.
"""

from pathlib import Path

import numpy as np
from nibabel.orientations import io_orientation

from healthgpt.imaging.image import Image, Units
from healthgpt.imaging.itk_header import metaimage_layout, nrrd_layout
from healthgpt.imaging.limits import chosen_index
from healthgpt.imaging.nifti_header import mgh_layout, nifti_layout
from healthgpt.imaging.volume_layout import VolumeLayout

_RIGHT, _ANTERIOR, _SUPERIOR = 0, 1, 2
_PLANE_ACROSS = {_RIGHT: "sagittal", _ANTERIOR: "coronal", _SUPERIOR: "axial"}
HOUNSFIELD_AIR, HOUNSFIELD_BONE = -500.0, 300.0
"""A slice that reaches below lung and above soft tissue on this scale is CT: no MR sequence spans both."""


def read_nifti(path: Path, slice_index: int | None) -> Image:
    """One slice of a NIfTI volume; see ``slice_of``."""
    return slice_of(nifti_layout(path), slice_index)


def read_mgh(path: Path, slice_index: int | None) -> Image:
    """One slice of a FreeSurfer volume; see ``slice_of``."""
    return slice_of(mgh_layout(path), slice_index)


def read_metaimage(path: Path, slice_index: int | None) -> Image:
    """One slice of a MetaImage volume; see ``slice_of``."""
    return slice_of(metaimage_layout(path), slice_index)


def read_nrrd(path: Path, slice_index: int | None) -> Image:
    """One slice of a NRRD volume; see ``slice_of``."""
    return slice_of(nrrd_layout(path), slice_index)


def slice_of(layout: VolumeLayout, slice_index: int | None) -> Image:
    """The slice as a radiologist sees it: the patient's left on the right of the picture, anterior up.

    ``slice_index`` counts voxels along the file's axis closest to inferior-superior (the middle one when None);
    a volume one voxel thick along another axis is that one picture, superior up. Data from below -500 to above
    300 are taken for Hounsfield units, judged on the slice and on the middle one. Raises ``ImageError``.
    """
    worlds, flips = _axes(layout)
    thin = [axis for axis in range(3) if layout.shape[axis] == 1]
    axis = thin[-1] if thin and layout.shape[worlds.index(_SUPERIOR)] > 1 else worlds.index(_SUPERIOR)
    count = layout.shape[axis]
    index = chosen_index(layout.path, slice_index, count, default=count // 2)

    values = layout.slice_along(axis, index)
    notes = dict(layout.notes)
    if count > 1:
        notes["slice"] = f"{_PLANE_ACROSS[worlds[axis]]} slice {index} of 0..{count - 1}"
    vertical, horizontal = _display_axes([(other, worlds[other]) for other in range(3) if other != axis])
    if vertical > horizontal:
        values = np.swapaxes(values, 0, 1)
    # Rows run down from superior or anterior; columns from the patient's right, or from anterior if sagittal.
    values = values[::-1] if flips[vertical] > 0 else values
    values = values[:, ::-1] if flips[horizontal] > 0 else values
    picture = values[..., :3] if layout.channels > 1 else values

    units, modality = _scale(layout, axis, index, picture)
    if layout.channels > 1 and layout.dtype == np.uint8:
        picture = picture / np.float32(255)
    spacing = _spacing(layout, vertical, horizontal)
    return Image(np.ascontiguousarray(picture), units, modality, spacing, None, str(layout.path), notes)


def _axes(layout: VolumeLayout) -> tuple[list[int], list[float]]:
    """For each voxel axis the world axis it runs along, and +1 where its index grows to right, anterior, superior."""
    affine = layout.affine
    if affine is None:
        return [_RIGHT, _ANTERIOR, _SUPERIOR], [-1.0, -1.0, 1.0]
    orientation = np.full((3, 2), np.nan)
    if np.isfinite(affine).all():
        orientation = io_orientation(affine)
    if np.isnan(orientation).any():
        # An affine that squashes an axis says nothing of orientation.
        return [_RIGHT, _ANTERIOR, _SUPERIOR], [1.0, 1.0, 1.0]
    return [int(world) for world in orientation[:, 0]], [float(flip) for flip in orientation[:, 1]]


def _display_axes(others: list[tuple[int, int]]) -> tuple[int, int]:
    """Which of the two (voxel axis, world axis) pairs runs down the picture and which across it."""
    (first, first_world), (second, second_world) = others
    return (first, second) if first_world > second_world else (second, first)


def _scale(layout: VolumeLayout, axis: int, index: int, picture: np.ndarray) -> tuple[Units, str | None]:
    """Units and modality: Hounsfield by range, colour bytes are display, the rest arbitrary."""
    if layout.channels > 1:
        return ("display" if layout.dtype == np.uint8 else "arbitrary"), None
    middle = layout.shape[axis] // 2
    if spans_hounsfield(picture) or (index != middle and spans_hounsfield(layout.slice_along(axis, middle))):
        return "hounsfield", "ct"
    return "arbitrary", None


def spans_hounsfield(values: np.ndarray) -> bool:
    """Whether values, of any shape, reach from air to bone; those that are not finite do not count."""
    ends = float(values.min()), float(values.max())
    if not np.isfinite(ends).all():
        finite = values[np.isfinite(values)]
        if finite.size == 0:
            return False
        ends = float(finite.min()), float(finite.max())
    return ends[0] <= HOUNSFIELD_AIR and ends[1] >= HOUNSFIELD_BONE


def _spacing(layout: VolumeLayout, vertical: int, horizontal: int) -> tuple[float, float] | None:
    """(row, column) millimetres: the lengths of the affine's columns."""
    if layout.affine is None:
        return None
    lengths = np.linalg.norm(layout.affine[:3, :3], axis=0)
    row, column = float(lengths[vertical]), float(lengths[horizontal])
    return (row, column) if np.isfinite([row, column]).all() and min(row, column) > 0 else None

"""A whole scan: its voxels along the patient's axes, and the one function that reads it from any file or series."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from healthgpt.errors import ImageError
from healthgpt.imaging.dicom_series import read_series
from healthgpt.imaging.image import Units
from healthgpt.imaging.itk_header import metaimage_layout, nrrd_layout
from healthgpt.imaging.nifti_header import mgh_layout, nifti_layout
from healthgpt.imaging.read import decoding, described, first_bytes, kind_of
from healthgpt.imaging.read_volume import spans_hounsfield
from healthgpt.imaging.volume_layout import VolumeLayout

LAYOUTS: dict[str, Callable[[Path], VolumeLayout]] = {
    "NIfTI": nifti_layout,
    "MGH": mgh_layout,
    "MetaImage": metaimage_layout,
    "NRRD": nrrd_layout,
}
VOLUME_FORMATS = "NIfTI (.nii, .nii.gz), MetaImage (.mha), NRRD, MGH (.mgz), or a folder with one DICOM series"
_FLATTEST = 1e-3
"""The smallest volume, of the 1 of right angles, that the unit vectors of an affine may span."""


@dataclass(frozen=True)
class Volume:
    """``values``: float32, (x, y, z) running to the patient's right, front and head (RAS+).

    ``spacing_mm``: along the same axes. ``affine``: (4, 4) voxel index to scanner or template millimetres, RAS.
    ``modality``: a name of ``tasks.MODALITIES`` or None where the file does not say. ``units``: ``hounsfield`` for CT,
    else ``arbitrary``. ``notes``: what the reader changed or assumed.
    """

    values: np.ndarray
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray
    modality: str | None = None
    units: Units = "arbitrary"
    notes: tuple[str, ...] = ()


def read_volume(path: str | Path) -> Volume:
    """Read a scan and turn it to the closest RAS axes; the file is known by its content, not its name.

    Sizes are checked before anything is decoded. Voxels that are not finite become the lowest finite value. A NIfTI,
    MGH, MetaImage or NRRD volume counts as CT in Hounsfield units only when its values reach from air to bone; a DICOM
    series says what it is. Raises ``ImageError`` for a file that is missing, damaged, cut short, too large, 4D, in
    colour or flat; for zero spacing or an affine that is not finite or squashes an axis; and for a folder whose DICOM
    files are several series or lack slices (``dicom_series.read_series``).
    """
    path = Path(path)
    if path.is_dir():
        with decoding(path, "DICOM"):
            series = read_series(path)
        return _turned(path, series.values, series.affine, series.modality, series.units, series.notes)
    content = first_bytes(path)
    kind = kind_of(path, content)
    if kind not in LAYOUTS:
        raise ImageError(
            f"{path} is not a volume this program reads",
            found=f"one {kind} picture" if kind else described(content),
            allowed=VOLUME_FORMATS,
            next_step="name the folder of its series" if kind == "DICOM" else "convert it to one of these",
        )
    with decoding(path, kind):
        layout = LAYOUTS[kind](path)
        affine = _checked_affine(layout)
        values = layout.voxels()
    hounsfield = spans_hounsfield(values)
    notes = tuple(": ".join(note) for note in layout.notes)
    return _turned(
        path, values, affine, "ct" if hounsfield else None, "hounsfield" if hounsfield else "arbitrary", notes
    )


def _checked_affine(layout: VolumeLayout) -> np.ndarray:
    """The affine of a grey volume whose axes have a length and a direction; ``ImageError`` otherwise."""
    if layout.affine is None or layout.channels > 1:
        raise ImageError(
            f"{layout.path} is not a volume",
            found="a single 2D picture" if layout.affine is None else f"{layout.channels} colours a voxel",
            allowed="one grey value a voxel, three axes",
            next_step="name the file of the original scan",
        )
    spacing = np.abs(layout.stated_spacing or np.linalg.norm(layout.affine[:3, :3], axis=0))
    if not np.isfinite(spacing).all() or spacing.min() <= 0:
        raise ImageError(
            f"{layout.path} has no usable voxel size",
            found=f"a spacing of {' x '.join(f'{size:g}' for size in spacing)} mm",
            allowed="three sizes above 0",
            next_step="correct the header or export the scan again: without sizes no measure of it holds",
        )
    linear = layout.affine[:3, :3]
    lengths = np.linalg.norm(linear, axis=0)
    if not np.isfinite(layout.affine).all() or lengths.min() <= 0:
        problem = "values that are not finite" if not np.isfinite(layout.affine).all() else "an axis of no length"
    elif abs(np.linalg.det(linear / lengths)) < _FLATTEST:
        problem = "two axes that point the same way"
    else:
        return layout.affine
    raise ImageError(
        f"{layout.path} has an affine that says nothing of how the patient lies",
        found=f"{problem}: {np.array2string(layout.affine[:3], precision=3).replace(chr(10), '')}",
        allowed="a finite 4 x 4 matrix with three independent axes",
        next_step="correct the header (sform or qform) or export the scan again",
    )


def _turned(
    path: Path, values: np.ndarray, affine: np.ndarray, modality: str | None, units: Units, notes: tuple[str, ...]
) -> Volume:
    """Axes reordered and flipped to the closest RAS ones; values made finite."""
    if not np.isfinite([values.min(), values.max()]).all():
        finite = np.isfinite(values)
        missing = values.size - int(finite.sum())
        if missing == values.size:
            raise ImageError(
                f"{path} holds no picture",
                found="no finite value",
                allowed="a scan with some contrast",
                next_step="export the scan again",
            )
        values = np.where(finite, values, values[finite].min())
        notes = (*notes, f"replaced: {missing} voxels that were not finite set to the lowest value")
    orientation = io_orientation(affine)
    turned = affine @ inv_ornt_aff(orientation, values.shape)
    x, y, z = (float(length) for length in np.sqrt((turned[:3, :3] ** 2).sum(axis=0)))
    return Volume(apply_orientation(values, orientation), (x, y, z), turned, modality, units, notes)

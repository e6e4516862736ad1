"""NIfTI-1, NIfTI-2 and FreeSurfer MGH/MGZ headers to a ``VolumeLayout``, parsed by nibabel."""

import io
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from healthgpt.errors import ImageError
from healthgpt.imaging.limits import check_declared_size
from healthgpt.imaging.volume_layout import Inflated, VolumeLayout

_HEADER_BYTES = 540
_MGH_DATA_OFFSET = 284
_COLOUR_FIELDS = (("R", "G", "B"), ("R", "G", "B", "A"))


def header_bytes(path: Path) -> bytes:
    """The first bytes of a file, inflated when it is gzip; enough for any header parsed here."""
    with path.open("rb") as stream:
        content = stream.read(2)
        stream.seek(0)
        return Inflated(stream).read(_HEADER_BYTES) if content == b"\x1f\x8b" else stream.read(_HEADER_BYTES)


def nifti_layout(path: Path) -> VolumeLayout:
    """The layout of a single-file NIfTI (.nii, .nii.gz), version 1 or 2. Raises ``ImageError``."""
    content = header_bytes(path)
    newer = b"n+2" in (content[4:7], content[344:347])
    with LoggingOutputSuppressor():
        header = (Nifti2Header if newer else Nifti1Header).from_fileobj(io.BytesIO(content), check=False)
        dtype = header.get_data_dtype()
        slope, intercept = header.get_slope_inter()
        stated = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
        affine = np.asarray(header.get_best_affine(), dtype=float)
    dimensions = [int(size) for size in header["dim"]]
    shape = three_axes(path, tuple(dimensions[1 : 1 + max(0, min(dimensions[0], 7))]))
    channels = 1
    if dtype.names:
        if tuple(name.upper() for name in dtype.names) not in _COLOUR_FIELDS:
            raise _unknown_type(path, str(dtype))
        channels, dtype = len(dtype.names), np.dtype(np.uint8)
    check_voxel_type(path, dtype)
    return VolumeLayout(
        path, path, shape, dtype,
        offset=max(int(header["vox_offset"]), 540 + 4 if newer else 348 + 4),
        affine=affine,
        compression=_compression(path),
        channels=channels,
        slope=1.0 if slope is None else float(slope),
        intercept=0.0 if intercept is None else float(intercept),
        notes=() if stated else (("orientation", "not stated in the file; the NIfTI default is assumed"),),
        stated_spacing=tuple(float(size) for size in header["pixdim"][1 : 1 + min(3, len(shape))]),
    )  # fmt: skip


def mgh_layout(path: Path) -> VolumeLayout:
    """The layout of a FreeSurfer .mgh or .mgz volume (big-endian). Raises ``ImageError``."""
    with LoggingOutputSuppressor():
        header = MGHHeader.from_fileobj(io.BytesIO(header_bytes(path)), check=False)
        dtype = header.get_data_dtype()
        affine = np.asarray(header.get_affine(), dtype=float)
    check_voxel_type(path, dtype)
    shape = three_axes(path, tuple(int(size) for size in header["dims"]))
    stated = int(header["goodRASFlag"]) == 1
    return VolumeLayout(
        path, path, shape, dtype, _MGH_DATA_OFFSET, affine, _compression(path),
        notes=() if stated else (("orientation", "not stated in the file; the FreeSurfer default is assumed"),),
    )  # fmt: skip


def _compression(path: Path) -> Literal["none", "whole"]:
    with path.open("rb") as stream:
        return "whole" if stream.read(2) == b"\x1f\x8b" else "none"


def three_axes(path: Path, sizes: tuple[int, ...]) -> tuple[int, int, int]:
    """The three spatial sizes; sizes of 1 beyond the third are dropped, anything larger is refused."""
    if any(size != 1 for size in sizes[3:]) and min(sizes) > 0:
        further = prod(sizes[3:])
        raise ImageError(
            f"{path} is a {len(sizes)}D image",
            found=f"shape {' x '.join(map(str, sizes))}",
            allowed="one 3D volume or 2D image",
            next_step=f"extract one of its {further} volumes (0..{further - 1}) into its own 3D file, such as volume 0",
        )
    if not sizes:
        raise ImageError(
            f"{path} declares no dimensions", found="0 axes", allowed="2 or 3", next_step="export it again"
        )
    x, y, z = (*sizes[:3], 1, 1)[:3]
    # Any pair of axes may become the picture, so each is held to the limit of a picture.
    for height, width, depth in ((y, x, z), (z, x, y), (z, y, x)):
        check_declared_size(path, height, width, depth)
    return x, y, z


def check_voxel_type(path: Path, dtype: np.dtype) -> None:
    """Refuse voxels that are not plain whole or real numbers."""
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise _unknown_type(path, str(dtype))


def _unknown_type(path: Path, found: str) -> ImageError:
    return ImageError(
        f"{path} holds voxels that make no picture",
        found=found,
        allowed="8- to 64-bit integers, 16- to 64-bit reals, RGB or RGBA",
        next_step="convert it to a real-valued volume (for complex data, its magnitude)",
    )

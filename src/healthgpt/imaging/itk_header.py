"""MetaImage (.mha, .mhd) and NRRD (.nrrd, .nhdr) headers to a ``VolumeLayout``.

Parsed here rather than by SimpleITK: its readers inflate the whole volume for one slice, open whatever data
file the header names, and print faults straight to the terminal. Tests hold the two to the same pixels.
Formats: itk.org/Wiki/MetaIO/Documentation and teem.sourceforge.net/nrrd/format.html.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from healthgpt.errors import ImageError
from healthgpt.imaging.nifti_header import check_voxel_type, three_axes
from healthgpt.imaging.volume_layout import VolumeLayout

_LONGEST_HEADER = 2**20
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_METAIMAGE_TYPES: dict[str, str] = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_NRRD_TYPES: dict[str, str] = {
    "signed char": "i1", "int8": "i1", "int8_t": "i1",
    "uchar": "u1", "unsigned char": "u1", "uint8": "u1", "uint8_t": "u1",
    "short": "i2", "short int": "i2", "signed short": "i2", "signed short int": "i2", "int16": "i2", "int16_t": "i2",
    "ushort": "u2", "unsigned short": "u2", "unsigned short int": "u2", "uint16": "u2", "uint16_t": "u2",
    "int": "i4", "signed int": "i4", "int32": "i4", "int32_t": "i4",
    "uint": "u4", "unsigned int": "u4", "uint32": "u4", "uint32_t": "u4",
    "longlong": "i8", "long long": "i8", "int64": "i8", "int64_t": "i8",
    "ulonglong": "u8", "unsigned long long": "u8", "uint64": "u8", "uint64_t": "u8",
    "float": "f4", "double": "f8",
}  # fmt: skip
_NRRD_SPACES: dict[str, tuple[float, float, float]] = {
    "right-anterior-superior": (1, 1, 1), "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1), "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1), "lps": (-1, -1, 1),
}  # fmt: skip
"""Signs that turn a space's axes into RAS+."""


def metaimage_layout(path: Path) -> VolumeLayout:
    """The layout of a MetaImage, its voxels inside the file or in one beside it. Raises ``ImageError``."""
    fields, header_end = _metaimage_fields(path)
    dimensions = int(_field(path, fields, "NDims"))
    sizes = _whole_numbers(path, fields, "DimSize")
    if len(sizes) != dimensions:
        raise _malformed(path, f"NDims {dimensions} with DimSize {fields['DimSize']}")
    name = _field(path, fields, "ElementType")
    if name not in _METAIMAGE_TYPES:
        raise _malformed(path, f"ElementType {name}", ", ".join(_METAIMAGE_TYPES))
    most_significant_first = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False"))
    dtype = np.dtype(_METAIMAGE_TYPES[name]).newbyteorder(">" if _true(most_significant_first) else "<")
    if not _true(fields.get("BinaryData", "True")):
        raise _malformed(path, "voxels written as text", "BinaryData = True")
    shape = three_axes(path, sizes)
    compressed = _true(fields.get("CompressedData", "False"))
    data_path, offset = _data_file(path, _field(path, fields, "ElementDataFile"), header_end)
    if compressed:
        declared = int(fields.get("CompressedDataSize", "0"))
        if data_path.stat().st_size < offset + declared:
            raise ImageError(
                f"{path} is truncated",
                found=f"{data_path.stat().st_size:,} bytes",
                allowed=f"{offset + declared:,} bytes, as its header declares",
                next_step="copy or download the file again",
            )
    elif data_path != path and (skip := int(fields.get("HeaderSize", "0"))):
        offset = data_path.stat().st_size - _voxel_bytes(shape, dtype, fields) if skip < 0 else skip
    return VolumeLayout(
        path, data_path, shape, dtype, max(offset, 0), _metaimage_affine(path, fields, dimensions),
        "voxels" if compressed else "none",
        channels=_channels(path, int(fields.get("ElementNumberOfChannels", "1"))),
    )  # fmt: skip


def _voxel_bytes(shape: tuple[int, int, int], dtype: np.dtype, fields: dict[str, str]) -> int:
    return int(np.prod(shape)) * dtype.itemsize * int(fields.get("ElementNumberOfChannels", "1"))


def _metaimage_fields(path: Path) -> tuple[dict[str, str], int]:
    """``Key = value`` lines up to ElementDataFile, which ends the header, and the bytes they take."""
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        while "ElementDataFile" not in fields:
            line = stream.readline(_LONGEST_HEADER)
            if not line or stream.tell() > _LONGEST_HEADER or b"=" not in line:
                raise _malformed(path, "a header without ElementDataFile", "Key = value lines ending with it")
            key, value = line.decode("latin-1").split("=", 1)
            fields[key.strip()] = value.strip()
        return fields, stream.tell()


def _metaimage_affine(path: Path, fields: dict[str, str], dimensions: int) -> np.ndarray | None:
    """Voxel index to RAS+ millimetres; a 2D image has none. Each run of ``TransformMatrix`` is one axis, in LPS."""
    if dimensions == 2:
        return None
    spacing = _reals(path, fields, ("ElementSpacing", "ElementSize"), [1.0] * dimensions)[:3]
    identity = [float(row == column) for row in range(dimensions) for column in range(dimensions)]
    matrix = _reals(path, fields, ("TransformMatrix", "Rotation", "Orientation"), identity)
    directions = np.reshape(matrix, (dimensions, dimensions)).T[:3, :3]
    origin = _reals(path, fields, ("Offset", "Position", "Origin"), [0.0] * dimensions)[:3]
    return _affine(_LPS_TO_RAS @ directions * np.array(spacing), _LPS_TO_RAS @ np.array(origin))


def nrrd_layout(path: Path) -> VolumeLayout:
    """The layout of a NRRD, attached or detached, raw or gzip. Raises ``ImageError``."""
    fields, header_end = _nrrd_fields(path)
    sizes = _whole_numbers(path, fields, "sizes")
    kinds = fields.get("kinds", "").lower().split()
    colour = bool(kinds) and len(sizes) > 2 and kinds[0] in ("rgb-color", "rgba-color", "vector", "3-color", "4-color")
    channels = _channels(path, sizes[0]) if colour else 1
    name = _field(path, fields, "type").lower()
    if name not in _NRRD_TYPES:
        raise _malformed(path, f"type '{name}'", "8- to 64-bit integers, float, double")
    dtype = np.dtype(_NRRD_TYPES[name])
    if dtype.itemsize > 1:
        dtype = dtype.newbyteorder(">" if _field(path, fields, "endian").lower() == "big" else "<")
    check_voxel_type(path, dtype)
    encoding = fields.get("encoding", "raw").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise _malformed(path, f"encoding '{encoding}'", "raw, gzip")
    spatial = sizes[1:] if colour else sizes
    shape = three_axes(path, spatial)
    data_path, offset = _data_file(path, fields.get("data file", fields.get("datafile", "LOCAL")), header_end)
    if int(fields.get("line skip", "0")) or int(fields.get("byte skip", "0")):
        raise _malformed(path, "skipped lines or bytes before the voxels", "'line skip' and 'byte skip' of 0")
    affine, notes = _nrrd_affine(path, fields, len(spatial))
    compression: Literal["none", "voxels"] = "none" if encoding == "raw" else "voxels"
    return VolumeLayout(path, data_path, shape, dtype, offset, affine, compression, channels, notes=notes)


def _nrrd_fields(path: Path) -> tuple[dict[str, str], int]:
    """``field: value`` lines after the magic up to the blank line (or the end of a detached header)."""
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        stream.readline(_LONGEST_HEADER)
        while (line := stream.readline(_LONGEST_HEADER)).strip():
            if stream.tell() > _LONGEST_HEADER:
                raise _malformed(path, "a header without end", "field: value lines up to a blank one")
            text = line.decode("latin-1")
            if not text.startswith("#") and ":=" not in text and ":" in text:
                key, value = text.split(":", 1)
                fields[key.strip().lower()] = value.strip()
        return fields, stream.tell()


def _nrrd_affine(
    path: Path, fields: dict[str, str], dimensions: int
) -> tuple[np.ndarray | None, tuple[tuple[str, str], ...]]:
    """Voxel index to RAS+ millimetres from 'space directions', and a note where the file states no space."""
    if dimensions == 2:
        return None, ()
    vectors = [word for word in fields.get("space directions", "").replace(", ", ",").split() if word != "none"]
    signs = _NRRD_SPACES.get(fields.get("space", "").lower())
    if signs is None or len(vectors) != 3:
        spacings = [float(word) for word in fields.get("spacings", "").split() if word.lower() != "nan"][-3:]
        scale = np.array(spacings if len(spacings) == 3 else [1.0, 1.0, 1.0])
        note = ("orientation", "not stated in the file; left-posterior-superior is assumed")
        return _affine(_LPS_TO_RAS * scale, np.zeros(3)), (note,)
    directions = np.array([_vector(path, vector) for vector in vectors]).T
    turn = np.diag(signs)
    origin = _vector(path, fields["space origin"]) if "space origin" in fields else np.zeros(3)
    return _affine(turn @ directions, turn @ origin), ()


def _vector(path: Path, text: str) -> np.ndarray:
    numbers = [float(word) for word in text.strip("() ").split(",")]
    if len(numbers) != 3:
        raise _malformed(path, f"the vector {text}", "three numbers")
    return np.array(numbers)


def _affine(linear: np.ndarray, origin: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = linear, origin
    return affine


def _data_file(path: Path, named: str, header_end: int) -> tuple[Path, int]:
    """The file that holds the voxels and where they start; only the same file or one beside it is opened."""
    if named.upper() == "LOCAL":
        return path, header_end
    beside = path.parent / named
    plain = named not in ("", ".", "..") and not set(named) & set("/\\\0%") and " " not in named
    if not plain or beside.is_symlink():
        raise _malformed(path, f"data file '{named}'", "LOCAL, or one plain file name in the same folder")
    if not beside.is_file():
        raise ImageError(
            f"{path} keeps its voxels in a file that is missing",
            found=f"no {beside}",
            allowed="that file in the same folder",
            next_step="copy both files together",
        )
    return beside, 0


def _channels(path: Path, count: int) -> int:
    if count not in (1, 3, 4):
        raise _malformed(path, f"{count} values a voxel", "1 (grey), 3 (RGB) or 4 (RGBA)")
    return count


def _field(path: Path, fields: dict[str, str], name: str) -> str:
    if not fields.get(name):
        raise _malformed(path, f"no '{name}'", "a complete header")
    return fields[name]


def _whole_numbers(path: Path, fields: dict[str, str], name: str) -> tuple[int, ...]:
    return tuple(int(word) for word in _field(path, fields, name).split())


def _reals(path: Path, fields: dict[str, str], names: tuple[str, ...], default: list[float]) -> list[float]:
    """The first of the named fields as numbers, as many as the default has."""
    for name in names:
        if name in fields:
            numbers = [float(word) for word in fields[name].split()]
            if len(numbers) != len(default):
                raise _malformed(path, f"{name} {fields[name]}", f"{len(default)} numbers")
            return numbers
    return default


def _true(text: str) -> bool:
    return text.strip().lower() in ("true", "1", "t", "yes")


def _malformed(path: Path, found: str, allowed: str = "") -> ImageError:
    return ImageError(
        f"{path} has a header that cannot be used",
        found=found,
        allowed=allowed,
        next_step="convert it to NIfTI (.nii.gz) with the program it came from",
    )

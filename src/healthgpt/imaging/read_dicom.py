"""DICOM files to an ``Image``: any bit depth and transfer syntax, in physical units where the file gives them.

Sections named below are those of the DICOM standard PS3.3.
"""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_file_meta_info
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, get_decoder, pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from healthgpt.errors import ImageError
from healthgpt.imaging.codestream import declared_size
from healthgpt.imaging.image import Image, Units, Window
from healthgpt.imaging.limits import MAX_FILE_BYTES, MAX_STACK_PIXELS, check_declared_size, chosen_index

MODALITY_OF_TAG: dict[str, str] = {
    "CR": "x-ray",
    "DX": "x-ray",
    "DR": "x-ray",
    "RG": "x-ray",
    "PX": "x-ray",
    "IO": "x-ray",
    "MG": "x-ray",
    "RF": "x-ray",
    "XA": "x-ray",
    "CT": "ct",
    "MR": "mri",
    "US": "ultrasound",
    "OPT": "oct",
    "OP": "fundus",
    "SM": "microscopy",
    "GM": "microscopy",
}
"""Modality (0008,0060), C.7.3.1.1.1, to the names of ``tasks.MODALITIES``; others say nothing."""

_GREY = ("MONOCHROME1", "MONOCHROME2")
_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def read_dicom(path: Path, slice_index: int | None) -> Image:
    """One frame of a DICOM file, by default the middle one; a preamble is not required.

    CT in Hounsfield units when the file carries a rescale; 8-bit pictures without any transformation and
    colour in ``display`` units; everything else ``arbitrary``. Raises ``ImageError``; faults of a damaged
    file come through as the decoder raised them.
    """
    _check_bytes(path)
    header = dcmread(path, force=True, stop_before_pixels=True)
    _check_is_picture(path, header)
    frames = int(header.get("NumberOfFrames") or 1)
    rows, columns = int(header.Rows), int(header.Columns)
    check_declared_size(path, rows, columns, frames)
    frame = chosen_index(path, slice_index, frames, default=frames // 2)

    dataset = dcmread(path, force=True)
    _check_has_pixels(path, dataset)
    if "TransferSyntaxUID" not in dataset.file_meta:
        # Files without a preamble are implicit little endian unless they say otherwise (PS3.10, annex A).
        dataset.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if dataset.original_encoding[0] else ExplicitVRLittleEndian
        )
    _check_decoder(path, dataset)
    _check_codestream(path, dataset, frame, frames)

    notes: dict[str, str] = {}
    if frames > 1:
        notes["frame"] = f"frame {frame} of 0..{frames - 1}"
    if "MOSAIC" in (header.get("ImageType") or []):
        notes["mosaic"] = "a Siemens mosaic: many slices tiled in one picture"
    # The Rust decoder of RLE panics on damaged data, past any handler and onto the terminal; pydicom's own raises.
    plugin = "pydicom" if dataset.file_meta.TransferSyntaxUID == RLELossless else ""
    stored = pixel_array(dataset, index=frame, decoding_plugin=plugin)
    tag = str(header.get("Modality", ""))
    if tag:
        notes["dicom_modality"] = tag
    modality = MODALITY_OF_TAG.get(tag)
    groups = _functional_groups(dataset, frame)
    if dataset.PhotometricInterpretation in _GREY:
        pixels, units, window = _grey(stored, dataset, groups, modality, notes)
    else:
        pixels, units, window = _colour(stored, dataset), "display", None
    return Image(pixels, units, modality, _spacing(dataset, groups), window, str(path), notes)


def _check_bytes(path: Path) -> None:
    """Bound what reading the header alone would already hold in memory."""
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ImageError(
            f"{path} is too large a DICOM file",
            found=f"{size:,} bytes",
            allowed=f"up to {MAX_FILE_BYTES:,}",
            next_step="extract the frames you need first",
        )
    with path.open("rb") as stream:
        content = stream.read(132)
    if content[128:] != b"DICM":
        return
    meta = read_file_meta_info(path)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    # A deflated data set (PS3.5, A.5) is inflated whole by the reader: measure it first.
    with path.open("rb") as stream:
        stream.seek(132 + 12 + int(meta.FileMetaInformationGroupLength))
        compressed = stream.read()
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = 0
    limit = 2 * MAX_STACK_PIXELS
    while compressed and not inflate.eof:
        inflated += len(inflate.decompress(compressed, 2**24))
        compressed = inflate.unconsumed_tail
        if inflated > limit:
            raise ImageError(
                f"{path} inflates to too large a DICOM data set",
                found=f"more than {limit:,} bytes",
                allowed=f"up to {limit:,}",
                next_step="check where the file comes from",
            )


def _check_is_picture(path: Path, header: Dataset) -> None:
    if "Rows" in header and "Columns" in header and "PhotometricInterpretation" in header:
        return
    sop_class = header.get("SOPClassUID")
    kind = getattr(sop_class, "name", "") or "no SOP class"
    raise ImageError(
        f"{path} is a DICOM file without a picture",
        found=f"{kind}, modality {header.get('Modality', 'not given')}",
        allowed="image objects (with Rows, Columns and pixel data)",
        next_step="choose an image of the same study",
    )


def _check_has_pixels(path: Path, dataset: Dataset) -> None:
    if not any(dataset.get(keyword) for keyword in _PIXEL_KEYWORDS):
        raise ImageError(
            f"{path} is a DICOM file without pixel data",
            found="no pixel data element that is whole",
            allowed="image objects (with Rows, Columns and pixel data)",
            next_step="copy or fetch the file again: it may have been cut short",
        )


def _check_decoder(path: Path, dataset: Dataset) -> None:
    """``ImageError`` naming the package when the transfer syntax cannot be decoded here."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_transfer_syntax or not syntax.is_encapsulated:
        return
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as fault:
        raise ImageError(
            f"{path} is compressed in a way that cannot be decoded",
            found=syntax.name,
            allowed="uncompressed, deflated, RLE, JPEG, JPEG-LS and JPEG 2000",
            next_step="convert it to an uncompressed transfer syntax",
        ) from fault
    if not decoder.is_available:
        raise ImageError(
            f"{path} needs a decoder that is not installed",
            found=f"{syntax.name}; wants {' or '.join(decoder.missing_dependencies)}",
            allowed="the packages pylibjpeg, pylibjpeg-libjpeg, pylibjpeg-openjpeg and pylibjpeg-rle",
            next_step="pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg pylibjpeg-rle",
        )


def _check_codestream(path: Path, dataset: Dataset, frame: int, frames: int) -> None:
    """The compressed frame must be as large as the header says: decoders allocate what the frame says."""
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    size = declared_size(get_frame(dataset.PixelData, frame, number_of_frames=frames))
    if size is not None and size != (dataset.Rows, dataset.Columns):
        raise ImageError(
            f"{path} contradicts itself about its size",
            found=f"{size[1]} x {size[0]} pixels in the compressed frame, {dataset.Columns} x {dataset.Rows} declared",
            allowed="the same size in both",
            next_step="export the image again",
        )


def _functional_groups(dataset: Dataset, frame: int) -> list[Dataset]:
    """The frame's own and the shared functional groups of enhanced objects (C.7.6.16), own first."""
    groups = []
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if frame < len(per_frame):
        groups.append(per_frame[frame])
    groups.extend(dataset.get("SharedFunctionalGroupsSequence") or [])
    return groups


def _attribute(keyword: str, macro: str, dataset: Dataset, groups: list[Dataset]) -> Any:
    """An attribute from the data set itself or, in enhanced objects, from the macro that holds it."""
    for holder in (dataset, *(item for group in groups for item in group.get(macro) or [])):
        value = holder.get(keyword)
        if value is not None and value != "":
            return value
    return None


def _numbers(value: Any) -> list[float]:
    """A one- or many-valued decimal attribute as finite floats; empty when absent or not numbers."""
    if value is None:
        return []
    items = [float(item) for item in (value if hasattr(value, "__iter__") and not isinstance(value, str) else [value])]
    return items if np.isfinite(items).all() else []


def _grey(
    stored: np.ndarray, dataset: Dataset, groups: list[Dataset], modality: str | None, notes: dict[str, str]
) -> tuple[np.ndarray, Units, Window | None]:
    """Stored values through the modality transformation and the sense of grey, to pixels with units and window."""
    bits = int(dataset.get("BitsStored") or 8 * stored.dtype.itemsize)
    if stored.dtype.kind == "u" and bits < 8 * stored.dtype.itemsize:
        # Retired files keep overlay planes in the unused high bits (PS3.3-2004, C.9.2).
        stored = stored & ((1 << bits) - 1)
    padding = _padding(stored, dataset)
    units: Units = "arbitrary"
    slopes = _numbers(_attribute("RescaleSlope", "PixelValueTransformationSequence", dataset, groups))
    intercepts = _numbers(_attribute("RescaleIntercept", "PixelValueTransformationSequence", dataset, groups))
    rescale_type = str(_attribute("RescaleType", "PixelValueTransformationSequence", dataset, groups) or "HU")
    if dataset.get("ModalityLUTSequence"):
        pixels = apply_modality_lut(stored, dataset).astype(np.float32)
        notes["modality_lut"] = "applied"
    elif slopes and intercepts:
        pixels = (stored * slopes[0] + intercepts[0]).astype(np.float32)
        if modality == "ct" and rescale_type.upper() in ("HU", "HU_MOD"):
            units = "hounsfield"
    else:
        pixels = stored.astype(np.float32)
        if modality == "ct":
            notes["units"] = "no rescale in the file: not Hounsfield units"
    window = _window(dataset, groups, notes)
    untransformed = not (slopes or dataset.get("ModalityLUTSequence"))
    if window is None and dataset.get("VOILUTSequence"):
        # C.11.2.1.1: the table is indexed by the values after the modality transformation, whole numbers.
        table_bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        looked_up = apply_voi_lut(np.rint(pixels).astype(np.int32), dataset, prefer_lut=True)
        pixels = (looked_up / (2**table_bits - 1)).astype(np.float32)
        units, notes["voi_lut"] = "display", "applied"
    elif window is None and units == "arbitrary" and untransformed and bits == 8 and stored.dtype.kind == "u":
        pixels, units = pixels / np.float32(255), "display"
    if padding is not None and padding.any() and not padding.all():
        pixels[padding] = pixels[~padding].max() if _inverted(dataset) else pixels[~padding].min()
        notes["padding"] = f"{int(padding.sum())} padding pixels set to the darkest value"
    if _inverted(dataset):
        # Black and white change places within the picture's own range, so the window is mirrored with it.
        turn = np.float32(1) if units == "display" else pixels.min() + pixels.max()
        pixels = turn - pixels
        window = Window(float(turn) - window.centre, window.width) if window else None
        units = "arbitrary" if units == "hounsfield" else units
        notes["photometric"] = "MONOCHROME1, inverted"
    return pixels, units, window


def _inverted(dataset: Dataset) -> bool:
    return dataset.PhotometricInterpretation == "MONOCHROME1"


def _padding(stored: np.ndarray, dataset: Dataset) -> np.ndarray | None:
    """Which pixels lie outside the acquired picture (Pixel Padding Value and Range Limit, C.7.5.1.1.2)."""
    first = dataset.get("PixelPaddingValue")
    if not isinstance(first, int):
        return None
    last = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((first, last if isinstance(last, int) else first))
    return (stored >= low) & (stored <= high)


def _window(dataset: Dataset, groups: list[Dataset], notes: dict[str, str]) -> Window | None:
    """The first of the file's windows (C.11.2.1.2); the half-unit shift of the LINEAR function is left out."""
    centres = _numbers(_attribute("WindowCenter", "FrameVOILUTSequence", dataset, groups))
    widths = _numbers(_attribute("WindowWidth", "FrameVOILUTSequence", dataset, groups))
    if not centres or not widths:
        return None
    if widths[0] <= 0:
        notes["window"] = f"ignored: width {widths[0]:g} is not above 0"
        return None
    if len(centres) > 1:
        notes["window"] = f"the first of {len(centres)}"
    return Window(centres[0], widths[0])


def _colour(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """RGB in [0, 1], (height, width, 3); palettes are looked up, YBR has been converted by the decoder."""
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
        bits = 8 * stored.dtype.itemsize
    else:
        bits = int(dataset.get("BitsStored") or 8 * stored.dtype.itemsize)
    return stored[..., :3].astype(np.float32) / np.float32(2**bits - 1)


def _spacing(dataset: Dataset, groups: list[Dataset]) -> tuple[float, float] | None:
    """(row, column) distances in mm: in the patient where given (10.7.1.3), else on the detector."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        values = _numbers(_attribute(keyword, "PixelMeasuresSequence", dataset, groups))
        if len(values) == 2 and min(values) > 0:
            return values[0], values[1]
    return None

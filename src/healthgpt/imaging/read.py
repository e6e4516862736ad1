"""Any supported image file to an ``Image``: what kind it is by its content, then the reader of that kind.

Files are not trusted: whatever is wrong with one ends in an ``ImageError`` of one line. Sizes are checked before
decoding, nothing is unpickled, and no file is opened that the header names outside its own folder.
"""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from healthgpt.errors import ImageError
from healthgpt.imaging.image import Image
from healthgpt.imaging.nifti_header import header_bytes
from healthgpt.imaging.read_dicom import read_dicom
from healthgpt.imaging.read_raster import read_jpeg, read_png, read_tiff
from healthgpt.imaging.read_volume import read_metaimage, read_mgh, read_nifti, read_nrrd

READERS: dict[str, Callable[[Path, int | None], Image]] = {
    "PNG": read_png,
    "JPEG": read_jpeg,
    "TIFF": read_tiff,
    "DICOM": read_dicom,
    "NIfTI": read_nifti,
    "MGH": read_mgh,
    "MetaImage": read_metaimage,
    "NRRD": read_nrrd,
}
FORMATS = "PNG, JPEG, TIFF, DICOM, NIfTI (.nii, .nii.gz), MetaImage (.mha), NRRD, MGH (.mgz)"

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"NRRD000", "NRRD"),
)
_OTHER_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"RIFF", "a RIFF file (WebP or sound)"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x1f\x8b", "gzip data that is neither NIfTI nor MGH"),
)
_METAIMAGE_START = re.compile(rb"\s*(ObjectType|NDims|Comment|ObjectSubType)\s*=")
_DICOM_FIRST_ELEMENT = re.compile(rb"(\x02\x00|\x08\x00)[\x00-\x20]\x00([A-Z]{2}|[\x00-\xff]{2}\x00\x00)")


def read_image(path: str | Path, slice_index: int | None = None) -> Image:
    """Read one 2D image from a file.

    ``slice_index``: the slice of a volume or the frame of a multi-frame file, from 0; the middle one when None.
    The picture is finite and not constant; colour whose channels are all equal comes back as grey. What the
    reader changed or chose, and what the decoders warned of, is in ``Image.notes``.
    Raises ``ImageError`` when the file is missing, damaged, too large, of another kind, or holds no picture.
    """
    path = Path(path)
    content = first_bytes(path)
    kind = kind_of(path, content)
    if kind is None:
        raise ImageError(
            f"{path} is not an image file this program reads",
            found=described(content),
            allowed=FORMATS,
            next_step="convert it to one of these",
        )
    with decoding(path, kind) as caught:
        image = READERS[kind](path, slice_index)
    if caught:
        told = dict.fromkeys(" ".join(str(warning.message).split())[:200] for warning in caught)
        image.notes["warnings"] = "; ".join(told)
    return _with_picture(image)


@contextmanager
def decoding(path: Path, kind: str) -> Iterator[list[warnings.WarningMessage]]:
    """Decode untrusted bytes inside: whatever is raised comes out as an ``ImageError``, warnings into the list."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield caught
        except ImageError:
            raise
        except Exception as fault:  # decoders of untrusted bytes raise anything, from struct.error to RecursionError
            raise ImageError(
                f"{path} is damaged: it starts as a {kind} file but cannot be decoded",
                found=f"{fault or type(fault).__name__}"[:200],
                allowed=f"a whole {kind} file",
                next_step="copy or export the file again",
            ) from fault


def first_bytes(path: Path) -> bytes:
    """The first 1024 bytes of a regular file, or the ``ImageError`` that says why there are none."""
    try:
        if path.is_dir():
            raise ImageError(
                f"{path} is a folder",
                found="a folder",
                allowed="one image file",
                next_step="name a file inside it",
            )
        if not path.exists():
            raise ImageError(
                f"there is no file {path}",
                found="nothing",
                allowed=f"an image file: {FORMATS}",
                next_step="check the path",
            )
        if not path.is_file():
            raise ImageError(
                f"{path} is not a regular file",
                found="a device, pipe or socket",
                allowed="an image file",
                next_step="save the image to a file first",
            )
        with path.open("rb") as stream:
            content = stream.read(1024)
    except (OSError, ValueError) as fault:
        raise ImageError(
            f"{str(path)[:200]!r} cannot be opened",
            found=str(getattr(fault, "strerror", None) or fault),
            allowed="a readable image file",
            next_step="check its path and permissions",
        ) from fault
    if not content:
        raise ImageError(
            f"{path} is empty",
            found="0 bytes",
            allowed=f"an image file: {FORMATS}",
            next_step="copy or export the file again",
        )
    return content


def kind_of(path: Path, content: bytes) -> str | None:
    """The key of ``READERS`` for these first bytes; the file name plays no part."""
    if content[128:132] == b"DICM":
        return "DICOM"
    for magic, kind in _MAGIC:
        if content.startswith(magic):
            return kind
    if _METAIMAGE_START.match(content):
        return "MetaImage"
    header = content
    if content.startswith(b"\x1f\x8b"):
        try:
            header = header_bytes(path)
        except Exception:  # not inflatable: then it is not a volume either
            return None
    if header[344:348] == b"n+1\x00" or header[4:8] == b"n+2\x00":
        return "NIfTI"
    if header.startswith(b"\x00\x00\x00\x01\x00") and len(header) >= 284:
        return "MGH"
    if header is content and _DICOM_FIRST_ELEMENT.match(content):
        return "DICOM"
    return None


def described(content: bytes) -> str:
    """A few words on bytes of no known image kind."""
    for magic, words in _OTHER_KINDS:
        if content.startswith(magic):
            return words
    if content[344:348] == b"ni1\x00" or content[:4] in (b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c"):
        return "the header of a two-file NIfTI or Analyze image"
    try:
        text = content[:64].decode("utf-8", errors="strict" if len(content) <= 64 else "ignore")
    except UnicodeDecodeError:
        text = ""
    if text and all(letter.isprintable() or letter in "\r\n\t" for letter in text):
        return f"text starting with {text.split(chr(10))[0].strip()[:40]!r}"
    return f"bytes starting with {content[:8].hex(' ')}"


def _with_picture(image: Image) -> Image:
    """The image with finite pixels and no needless colour; ``ImageError`` when nothing is to be seen on it."""
    pixels = image.pixels
    finite = np.isfinite(pixels)
    missing = pixels.size - int(finite.sum())
    where = f" ({image.notes['slice']})" if "slice" in image.notes else ""
    if missing == pixels.size:
        raise _no_picture(image, where, "no finite value")
    if missing:
        pixels = np.where(finite, pixels, pixels[finite].min())
        image.notes["replaced"] = f"{missing} pixels that were not finite set to the darkest value"
    # A channel at a time: one comparison against all of them would be spread over the channels, several times slower.
    if pixels.ndim == 3 and all(np.array_equal(pixels[..., 0], pixels[..., one]) for one in range(1, pixels.shape[2])):
        pixels = pixels[..., 0]
    first = pixels.reshape(-1, *pixels.shape[2:])[0]
    if (pixels == first).all():
        value = " ".join(f"{channel:g}" for channel in np.atleast_1d(first))
        raise _no_picture(image, where, f"the same value, {value}, in every pixel")
    return replace(image, pixels=np.ascontiguousarray(pixels, dtype=np.float32))


def _no_picture(image: Image, where: str, found: str) -> ImageError:
    return ImageError(
        f"{image.source}{where} holds no picture",
        found=found,
        allowed="an image with some contrast",
        next_step="choose another slice with --slice" if where else "choose another image",
    )

"""PNG, JPEG and TIFF files to an ``Image``, through Pillow's own decoders.

Eight-bit pictures are ``display`` units in [0, 1]. Deeper grey (16-bit PNG, 32-bit or float TIFF) is
``arbitrary``: such files usually hold raw detector values in a wider container, and say nothing of their range.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import ImageOps
from PIL.Image import Image as PillowImage
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from healthgpt.imaging.image import Image, Units
from healthgpt.imaging.limits import check_declared_size, chosen_index

# Pillow logs some faults it also raises; without any handler Python would print them to the terminal.
logging.getLogger("PIL").addHandler(logging.NullHandler())

_TIFF_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0
_TERMINAL = Lock()
_DEEP_GREY_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")


def read_png(path: Path, slice_index: int | None) -> Image:
    """A PNG file; ``ImageError`` when too large, any decoder fault when damaged."""
    with PngImageFile(str(path)) as picture:
        return _read(picture, path, slice_index)


def read_jpeg(path: Path, slice_index: int | None) -> Image:
    """A JPEG file (grey, colour or CMYK), turned upright by its EXIF orientation."""
    with JpegImageFile(str(path)) as picture:
        return _read(picture, path, slice_index)


def read_tiff(path: Path, slice_index: int | None) -> Image:
    """A TIFF file; of several pages the first, since later ones are often thumbnails, unless one is chosen."""
    with TiffImageFile(str(path)) as picture:
        # The first page's size is checked before the others are even counted.
        check_declared_size(path, picture.height, picture.width)
        pages = picture.n_frames
        page = chosen_index(path, slice_index, pages, default=0)
        picture.seek(page)
        image = _read(picture, path, None)
    if pages > 1:
        image.notes["page"] = f"page {page} of 0..{pages - 1}"
    return image


def _read(picture: ImageFile, path: Path, slice_index: int | None) -> Image:
    """``picture`` is opened, not yet decoded: its size is what the header declares."""
    check_declared_size(path, picture.height, picture.width)
    chosen_index(path, slice_index, count=1, default=0)
    notes: dict[str, str] = {}
    with _libtiff_silenced() if picture.tile and picture.tile[0][0] == "libtiff" else nullcontext():
        picture.load()
    upright = ImageOps.exif_transpose(picture)
    if upright.size != picture.size or picture.getexif().get(0x0112, 1) != 1:
        notes["orientation"] = "turned upright by the EXIF orientation tag"
    pixels, units = _pixels(upright, notes)
    tags = picture.tag_v2 if isinstance(picture, TiffImageFile) else {}
    if units == "arbitrary" and tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:
        # Pillow inverts white-is-zero TIFF for 8-bit grey only (TIFF 6.0, PhotometricInterpretation 0).
        pixels = pixels.min() + pixels.max() - pixels
        notes["photometric"] = "white-is-zero, inverted"
    return Image(pixels, units, source=str(path), notes=notes)


@contextmanager
def _libtiff_silenced() -> Iterator[None]:
    """Keep what libtiff prints about a bad file off the terminal; the fault itself still reaches Pillow.

    libtiff is C code that writes to file descriptor 2, and Pillow offers no other way to quiet it. The descriptor
    is the whole process's, so one thread at a time turns it away, and only while such a file is decoded.
    """
    with _TERMINAL, open(os.devnull, "wb") as nowhere:
        terminal = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def _pixels(picture: PillowImage, notes: dict[str, str]) -> tuple[np.ndarray, Units]:
    """float32 (height, width) or (height, width, 3) pixels and their units."""
    if picture.mode in _DEEP_GREY_MODES:
        return np.asarray(picture).astype(np.float32), "arbitrary"
    if picture.has_transparency_data:
        notes["alpha"] = "transparency laid over black"
        layers = np.asarray(picture.convert("RGBA"), dtype=np.float32) / 255.0
        return layers[..., :3] * layers[..., 3:], "display"
    if picture.mode in ("1", "L"):
        return np.asarray(picture.convert("L"), dtype=np.float32) / 255.0, "display"
    if picture.mode != "RGB":
        notes["colour"] = f"converted from {picture.mode}"
    return np.asarray(picture.convert("RGB"), dtype=np.float32) / 255.0, "display"

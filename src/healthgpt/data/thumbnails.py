"""Small pictures of a data set's images, as data URIs that a page carries in itself."""

import base64
import io
from pathlib import Path

from PIL import Image as PillowImage

from healthgpt.data.shards import picture_of

SIDE = 224
"""Pixels of a thumbnail's longer side at most; smaller pictures stay as they are."""
SMALL = 64
"""Up to so many pixels a picture is written without loss: JPEG would show more of itself than of the picture."""


def thumbnail(folder: Path, name: str, content: bytes | None = None) -> str | None:
    """A record's image, made small; None where it is missing, damaged or outside the folder."""
    try:
        picture = PillowImage.fromarray(picture_of(folder, name, content))
        if picture.mode not in ("L", "RGB"):
            picture = picture.convert("RGB")
        picture.thumbnail((SIDE, SIDE), PillowImage.Resampling.LANCZOS)
    except Exception:  # decoders of untrusted bytes raise anything, and a page about faults has to show the rest
        return None
    buffer = io.BytesIO()
    small = max(picture.size) <= SMALL
    picture.save(buffer, "PNG", optimize=True) if small else picture.save(buffer, "JPEG", quality=80)
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"

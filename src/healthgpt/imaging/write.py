"""Pixels to PNG files, whole or not at all, marked when they were not acquired but drawn."""

import os
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import numpy as np
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from healthgpt.errors import OutputError

SYNTHETIC_NOTICE = "Synthetic image drawn by HealthGPT: not a patient's picture, research use only, not for diagnosis."
NOTICE_KEY = "Disclaimer"
"""The PNG text keyword for such notices (PNG specification, 11.3.3)."""


def check_output(path: str | Path) -> Path:
    """The path, proven writable by a trial file beside it; call it before computing what is to be written.

    Raises ``OutputError`` for another suffix than .png, a folder, or a place that is missing or not writable.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise OutputError(
                f"cannot write {path}",
                found="a folder of that name",
                allowed="a file name ending in .png",
                next_step=f"write to {path / 'image.png'}",
            )
        if path.suffix.lower() != ".png":
            raise OutputError(
                f"cannot write {path}",
                found=f"suffix '{path.suffix}'" if path.suffix else "no suffix",
                allowed=".png",
                next_step=f"write to {path.with_suffix('.png') if path.name else path / 'image.png'}",
            )
        if not path.parent.is_dir():
            raise OutputError(
                f"cannot write {path}",
                found=f"no folder {path.parent}",
                allowed="an existing folder",
                next_step=f"create it first: mkdir -p {path.parent}",
            )
        if path.exists() and not path.is_file():
            raise OutputError(
                f"cannot write {path}",
                found="a device, pipe or socket",
                allowed="a new file or one to replace",
                next_step="choose another name",
            )
        trial = _partial_beside(path)
        trial.touch(exist_ok=False)
        trial.unlink()
    except (OSError, ValueError) as fault:
        raise _unwritable(path, fault) from fault
    return path


def write_png(
    path: str | Path, pixels: np.ndarray, metadata: Mapping[str, str] | None = None, *, synthetic: bool = False
) -> Path:
    """Write uint8 pixels, (height, width) grey or (height, width, 3) RGB, with text chunks.

    ``metadata``: PNG keyword (1 to 79 Latin-1 characters) to text. ``synthetic`` adds ``SYNTHETIC_NOTICE``. An
    interrupted write leaves an existing file as it was. Raises ``OutputError`` as ``check_output`` does, or when
    the disk is full; ``ValueError`` for other arrays.
    """
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise ValueError(f"PNG pixels are uint8 (H, W) or (H, W, 3), not {pixels.dtype} {pixels.shape}")
    path = check_output(path)
    chunks = PngInfo()
    for keyword, text in (metadata or {}).items():
        chunks.add_text(keyword, text)
    if synthetic:
        chunks.add_text(NOTICE_KEY, SYNTHETIC_NOTICE)
    partial = _partial_beside(path)
    try:
        with partial.open("xb") as stream:
            Pillow.fromarray(pixels).save(stream, format="PNG", pnginfo=chunks)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as fault:
        raise _unwritable(path, fault) from fault
    finally:
        partial.unlink(missing_ok=True)
    return path


def _partial_beside(path: Path) -> Path:
    """A name no other writer uses, in the same folder so that the last rename is atomic."""
    return path.parent / f".{uuid4().hex}.partial"


def _unwritable(path: Path, fault: Exception) -> OutputError:
    return OutputError(
        f"cannot write {str(path)[:200]!r}",
        found=str(getattr(fault, "strerror", None) or fault),
        allowed="a writable folder with space left",
        next_step="choose another folder",
    )

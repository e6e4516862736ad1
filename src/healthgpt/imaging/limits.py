"""How large a picture a file may declare itself to be, checked before any pixel is decoded."""

from math import prod
from pathlib import Path

from healthgpt.errors import ImageError

MAX_PICTURE_PIXELS = 64_000_000
"""One picture: larger than any detector here (a mammogram has about 17 million pixels)."""

MAX_STACK_PIXELS = 2**29
"""All slices or frames together: 512 x 512 x 2048, a whole-body CT."""

MAX_FILE_BYTES = 2**32
"""A DICOM header and its fragments are held in memory whole, so the file itself is bounded too."""


def check_declared_size(path: Path, height: int, width: int, depth: int = 1) -> None:
    """Refuse a header whose picture is empty or too large to decode safely.

    ``height``, ``width``: pixels of one picture; ``depth``: how many slices or frames the file declares.
    Raises ``ImageError``.
    """
    declared = f"{width} x {height}" + (f" x {depth}" if depth != 1 else "")
    if min(height, width, depth) < 1:
        raise ImageError(
            f"{path} declares an empty picture",
            found=f"{declared} pixels",
            allowed="at least 1 x 1",
            next_step="export the image again",
        )
    if height * width > MAX_PICTURE_PIXELS:
        raise ImageError(
            f"{path} declares too large a picture",
            found=f"{declared} pixels",
            allowed=f"up to {MAX_PICTURE_PIXELS:,} pixels a picture",
            next_step="crop or downsample it first",
        )
    if prod((height, width, depth)) > MAX_STACK_PIXELS:
        raise ImageError(
            f"{path} declares too many slices",
            found=f"{declared} pixels",
            allowed=f"up to {MAX_STACK_PIXELS:,} pixels a file",
            next_step="extract the slices you need first",
        )


def chosen_index(path: Path, slice_index: int | None, count: int, default: int) -> int:
    """The slice or frame to read out of ``count``; ``ImageError`` names the range when there is none such."""
    if slice_index is None:
        return default
    if count == 1:
        raise ImageError(
            f"{path} is a single 2D image",
            found=f"slice {slice_index}",
            allowed="no slice number",
            next_step="leave out --slice",
        )
    if not 0 <= slice_index < count:
        raise ImageError(
            f"{path} has no slice {slice_index}",
            found=f"{count} slices",
            allowed=f"0..{count - 1}",
            next_step="choose a slice in that range, or leave out --slice for the default one",
        )
    return slice_index

"""A contact sheet: rows of images with a caption under each, on one page."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

TILE = 256
"""Side of a tile's image, pixels: twice the 128 nano draws."""
MARGIN = 10
LINE = 16
"""Height of a caption line, pixels."""
CAPTION_LINES = 3
FONT_SIZE = 13
COLUMN_CHARACTERS = TILE // 7
PAPER, INK = (250, 250, 248), (20, 20, 20)


@dataclass(frozen=True)
class Tile:
    """One image, uint8 grey (height, width) or RGB (height, width, 3), and the words under it."""

    pixels: np.ndarray
    caption: str


def contact_sheet(rows: Sequence[Sequence[Tile]], footer: str) -> np.ndarray:
    """The page as uint8 RGB, (height, width, 3); ``footer`` is its last line."""
    columns = max(len(row) for row in rows)
    row_height = TILE + CAPTION_LINES * LINE + MARGIN
    page = Picture.new(
        "RGB",
        (MARGIN + columns * (TILE + MARGIN), MARGIN + len(rows) * row_height + LINE + MARGIN),
        PAPER,
    )
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(FONT_SIZE)
    for number, row in enumerate(rows):
        top = MARGIN + number * row_height
        for place, tile in enumerate(row):
            left = MARGIN + place * (TILE + MARGIN)
            picture = Picture.fromarray(tile.pixels).convert("RGB").resize((TILE, TILE), Picture.Resampling.NEAREST)
            page.paste(picture, (left, top))
            for line_number, line in enumerate(_wrapped(tile.caption)):
                pen.text((left, top + TILE + 2 + line_number * LINE), line, fill=INK, font=font)
    pen.text((MARGIN, page.height - LINE - MARGIN // 2), footer, fill=INK, font=font)
    return np.asarray(page)


def _wrapped(caption: str) -> list[str]:
    """At most ``CAPTION_LINES`` lines; the last ends in dots when words were left out."""
    lines: list[str] = [""]
    for word in caption.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > COLUMN_CHARACTERS:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    if len(lines) > CAPTION_LINES:
        lines = [*lines[: CAPTION_LINES - 1], lines[CAPTION_LINES - 1][: COLUMN_CHARACTERS - 3] + "..."]
    return lines

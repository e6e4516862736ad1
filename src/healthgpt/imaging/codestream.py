"""The picture size a JPEG, JPEG-LS or JPEG 2000 codestream declares in its own header."""

_START_OF_IMAGE = b"\xff\xd8"
_JPEG_2000_SIZE = b"\xff\x4f\xff\x51"
_START_OF_FRAME = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
"""SOF markers of ITU-T T.81 (table B.1) and of JPEG-LS (T.87); C4, C8 and CC are not frames."""


def declared_size(codestream: bytes) -> tuple[int, int] | None:
    """(rows, columns) from the frame or size marker; None where there is none (RLE, or a damaged stream).

    JPEG: ITU-T T.81, B.2.2. JPEG 2000: ITU-T T.800, A.5.1, also inside the boxes of a JP2 file.
    """
    if codestream.startswith(_START_OF_IMAGE):
        return _jpeg_size(codestream)
    start = codestream.find(_JPEG_2000_SIZE, 0, 4096)
    if start < 0 or len(codestream) < start + 24:
        return None
    fields = [int.from_bytes(codestream[start + at : start + at + 4], "big") for at in (8, 12, 16, 20)]
    right, bottom, left, top = fields
    return bottom - top, right - left


def _jpeg_size(codestream: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 <= len(codestream) and codestream[position] == 0xFF:
        marker = codestream[position + 1]
        if marker == 0xFF:  # a fill byte before the marker
            position += 1
            continue
        if marker in _START_OF_FRAME:
            rows = int.from_bytes(codestream[position + 5 : position + 7], "big")
            return rows, int.from_bytes(codestream[position + 7 : position + 9], "big")
        position += 2 + int.from_bytes(codestream[position + 2 : position + 4], "big")
    return None

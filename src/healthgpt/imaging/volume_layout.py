"""Where a volume's voxels lie in its file, and how one slice is taken out without reading the rest."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from healthgpt.errors import ImageError

_CHUNK = 2**20
_ANY_ZLIB_HEADER = zlib.MAX_WBITS | 32
_GZIP_MAGIC = b"\x1f\x8b"


class Inflated:
    """A zlib or gzip stream (several members too) read forwards, never more than asked for at a time."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._inflate = zlib.decompressobj(_ANY_ZLIB_HEADER)
        self._waiting = b""

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes; fewer only where the stream ends. ``zlib.error`` when it is damaged."""
        pieces: list[bytes] = []
        while count > 0:
            if self._inflate.eof:
                following = self._inflate.unused_data
                following += self._stream.read(len(_GZIP_MAGIC)) if len(following) < len(_GZIP_MAGIC) else b""
                if not following.startswith(_GZIP_MAGIC):
                    break
                self._inflate, self._waiting = zlib.decompressobj(_ANY_ZLIB_HEADER), following
            compressed = self._waiting or self._stream.read(_CHUNK)
            piece = self._inflate.decompress(compressed, count)
            self._waiting = self._inflate.unconsumed_tail
            if not piece and not compressed:
                break
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def skip(self, count: int) -> int:
        """Pass over ``count`` bytes in bounded memory; returns how many there were."""
        passed = 0
        while passed < count:
            piece = self.read(min(_CHUNK, count - passed))
            if not piece:
                break
            passed += len(piece)
        return passed

    @property
    def ended(self) -> bool:
        """Whether the stream was read to its checksum, which was right."""
        return self._inflate.eof


@dataclass(frozen=True)
class VolumeLayout:
    """A volume of one file as its header describes it; nothing has been decoded yet.

    ``shape``: voxels along the three axes, the first varying fastest. ``channels``: 1, or 3 or 4 for colour,
    varying faster still. ``affine``: (4, 4) voxel index to millimetres, RAS+ (x grows to the
    patient's right); None when the file is a bare 2D picture. ``offset``: bytes before the first
    voxel, counted after decompression when ``compression`` is ``whole`` (the header is compressed too) and
    before it when it is ``voxels`` (only what follows the header is). ``stated_spacing``: millimetres along the
    axes, where the header states them apart from the affine.
    """

    path: Path
    data_path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype
    offset: int
    affine: np.ndarray | None
    compression: Literal["none", "voxels", "whole"] = "none"
    channels: int = 1
    slope: float = 1.0
    intercept: float = 0.0
    notes: tuple[tuple[str, str], ...] = ()
    stated_spacing: tuple[float, ...] = ()

    @property
    def voxel_bytes(self) -> int:
        """Bytes of all voxels, uncompressed."""
        return prod(self.shape) * self.channels * self.dtype.itemsize

    def slice_along(self, axis: int, index: int) -> np.ndarray:
        """float32 slice over the two other axes in file order, a last axis of colours when there are several.

        Planes of the slowest axis are read one at a time, so memory stays at one plane whatever the axis.
        Raises ``ImageError`` when the file ends before its last voxel.
        """
        if self.compression == "none":
            voxels = self._mapped()
            taken = np.take(voxels, index, axis=axis + 1)
        else:
            if axis == 2:
                self._check_compressed_length()
                taken = next(self._inflated_planes(index))
            else:
                planes = self._inflated_planes(None)
                taken = np.stack([np.take(plane, index, axis=axis + 1) for plane in planes], axis=-1)
        values = np.moveaxis(taken, 0, -1)
        values = values[..., 0] if self.channels == 1 else values
        if (self.slope, self.intercept) != (1.0, 0.0):
            values = values * self.slope + self.intercept
        return values.astype(np.float32)

    def voxels(self) -> np.ndarray:
        """All voxels, scaled: float32 (x, y, z) in file order, for one channel; one plane is held beside the result.

        Raises ``ImageError`` when the file ends early, be it in the checksum that closes its compressed data.
        """
        values = np.empty(self.shape, np.float32, order="F")
        planes = np.moveaxis(self._mapped(), 3, 0) if self.compression == "none" else self._inflated_planes(None)
        for index, plane in enumerate(planes):
            scaled = plane[0]
            if (self.slope, self.intercept) != (1.0, 0.0):
                scaled = scaled.astype(np.float64) * self.slope + self.intercept
            values[..., index] = scaled
        return values

    def _mapped(self) -> np.ndarray:
        """All voxels, (channels, x, y, z), left on disk."""
        if self.data_path.stat().st_size < self.offset + self.voxel_bytes:
            raise self._truncated(f"{self.data_path.stat().st_size:,} bytes", self.offset + self.voxel_bytes)
        shape = (self.channels, *self.shape)
        return np.memmap(self.data_path, self.dtype, mode="r", offset=self.offset, shape=shape, order="F")

    def _inflated_planes(self, only: int | None) -> Iterator[np.ndarray]:
        """Planes (channels, x, y) of the slowest axis in order, or just one of them."""
        plane_bytes = self.voxel_bytes // self.shape[2]
        with self.data_path.open("rb") as stream:
            inflated = self._at_first_voxel(stream)
            inflated.skip((only or 0) * plane_bytes)
            for _ in range(self.shape[2] if only is None else 1):
                content = inflated.read(plane_bytes)
                if len(content) < plane_bytes:
                    raise self._truncated("the compressed data ends early", self.voxel_bytes)
                yield np.frombuffer(content, self.dtype).reshape((self.channels, *self.shape[:2]), order="F")
            if only is None and inflated.skip(_CHUNK) < _CHUNK and not inflated.ended:
                raise self._truncated("the compressed data ends before its checksum", self.voxel_bytes)

    def _at_first_voxel(self, stream: BinaryIO) -> Inflated:
        if self.compression == "voxels":
            stream.seek(self.offset)
            return Inflated(stream)
        inflated = Inflated(stream)
        inflated.skip(self.offset)
        return inflated

    def _check_compressed_length(self) -> None:
        """Refuse a cut file even where the wanted slice lies before the cut.

        A whole gzip file ends with its length modulo 2^32 (RFC 1952, ISIZE), so the common case costs four bytes;
        anything else is inflated to its end, in bounded memory.
        """
        expected = self.voxel_bytes + (self.offset if self.compression == "whole" else 0)
        with self.data_path.open("rb") as stream:
            stream.seek(-4, 2)
            if int.from_bytes(stream.read(4), "little") == expected % 2**32:
                return
            stream.seek(0)
            found = self._at_first_voxel(stream).skip(self.voxel_bytes)
        if found < self.voxel_bytes:
            raise self._truncated(f"{found:,} bytes of voxels", self.voxel_bytes)

    def _truncated(self, found: str, expected: int) -> ImageError:
        return ImageError(
            f"{self.path} is truncated",
            found=found,
            allowed=f"{expected:,} bytes, as its header declares",
            next_step="copy or download the file again",
        )

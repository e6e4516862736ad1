"""Torch files written by hand: any records in the zip archive, any steps in its pickle."""

import warnings
import zipfile
from pathlib import Path


def pack(path: Path, records: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for name, content in records.items():
            archive.writestr(name.removesuffix("#twice"), content)
    return path


def pack_pickle(path: Path, pickled: bytes, **records: bytes) -> Path:
    return pack(path, {"a/data.pkl": pickled, "a/byteorder": b"little", "a/data/0": bytes(64), **records})


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x10tQ"
"""A storage of 16 floats, as pickle steps: pushed on the stack."""


def described(
    offset: int = 0, size: bytes = b"(K\x04K\x04t", stride: bytes = b"(K\x04K\x01t", storage=STORAGE
) -> bytes:
    """Pickle steps that push {"a": tensor of that description}."""
    steps = REBUILD + b"(" + storage + b"J" + offset.to_bytes(4, "little", signed=True) + size + stride
    return b"\x80\x02}X\x01\x00\x00\x00a" + steps + b"\x89NtRs."

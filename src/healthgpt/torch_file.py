"""The tensors of an untrusted ``torch.save`` file (.bin, .pt, .ckpt): nothing it names is imported or run.

Such a file is a zip archive, stored uncompressed: ``NAME/data.pkl``, a pickle that says how the tensors nest
(read by ``torch_pickle.py``), and ``NAME/data/KEY``, the bytes of each storage (torch documentation,
"Serialization semantics"). Every declared size is checked against the bytes that are there before anything is
allocated, and only the storages of wanted tensors are read.
"""

import sys
import zipfile
from math import prod
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from healthgpt.errors import HealthGPTError, ModelError
from healthgpt.torch_pickle import Described, kind, read_pickle, shown

LARGEST_PICKLE = 64 * 2**20
"""Bytes of ``data.pkl``; a model of a thousand tensors needs about 200 kB."""
LARGEST_REPETITION = 2**20
"""Elements of a tensor that repeats its storage's (stride 0); one that repeats nothing may have any number."""
CHUNK = 2**20


class Contents(NamedTuple):
    """``tensors`` by dotted name; ``others``: what else the file holds, by dotted name, and what each is.

    ``others`` says ``"tensor"`` of one that was not asked for, the class of an object (``"pkg.Trainer"``), or the
    type of a plain value (``"int"``, ``"list of 3"``). All names are the file's own words.
    """

    tensors: dict[str, Tensor]
    others: dict[str, str]


def read_tensors(path: Path, under: str = "") -> dict[str, Tensor]:
    """The tensors of ``read_contents``, for callers who do not ask what else is there."""
    return read_contents(path, under).tensors


def read_contents(path: Path, under: str = "") -> Contents:
    """Every tensor of a ``torch.save`` file, on the CPU and without gradient, by the way to it.

    ``{"state_dict": {"a.weight": tensor}}`` gives ``state_dict.a.weight``; items of lists are named by their number,
    and a file that is one bare tensor names it ``""``. With ``under`` only the tensors below that name are read, and
    named from there: ``under="state_dict"`` gives ``a.weight``. Parameters come as plain tensors. Tensors that shared
    a storage in the file share it again and each storage is held once; a tensor that is a part of a larger storage
    keeps the whole in memory, as with ``torch.load``.

    ``ModelError`` when the file is missing, not a torch file of the zip kind, damaged, of the other byte order,
    declares sizes that its bytes do not have, names something that runs code, or holds no tensors to read.
    """
    _check_kind(path)
    try:
        with zipfile.ZipFile(path) as archive:
            contents = _contents(path, archive, under)
    except HealthGPTError:
        raise
    except Exception as fault:  # what zipfile and pickle raise on hostile bytes is not a closed list
        said = shown(str(fault))
        raise _damaged(path, said if type(fault) is ValueError else f"{type(fault).__name__}: {said}") from fault
    if not contents.tensors:
        top = sorted({name.partition(".")[0] for name in contents.others})
        raise ModelError(
            f"{path} holds no tensors" + (f" under '{under}'" if under else ""),
            found=", ".join(shown(name) for name in top[:8]) or "nothing",
            next_step="check that this is the file with the weights",
        )
    return contents


def _damaged(path: Path, found: str) -> ModelError:
    return ModelError(
        f"{path} cannot be read as a torch.save file",
        found=found,
        allowed="an undamaged file of tensors and plain values",
        next_step="get the file again from where it was published",
    )


def _check_kind(path: Path) -> None:
    """``ModelError`` that says what the file is when it is no torch file of the zip kind."""
    try:
        if not path.is_file():
            found = "a folder" if path.is_dir() else "something else" if path.exists() else "no such file"
            raise ModelError(
                f"{path} cannot be read",
                found=found,
                allowed="a file written by torch.save",
                next_step="give the path of the weights file itself",
            )
        with path.open("rb") as stream:
            start = stream.read(64)
        whole = zipfile.is_zipfile(path)
    except (OSError, ValueError) as fault:  # ValueError: a path with a null character
        raise ModelError(f"{path} cannot be read", found=str(fault), next_step="check the path") from fault
    if whole:
        return
    allowed, next_step = "the zip format of torch 1.6 or newer", "get the file again from where it was published"
    if not start:
        found = "an empty file"
    elif start.startswith(b"PK\x03\x04"):
        found = "a zip archive without its end, as a download that broke off leaves it"
    elif start.startswith(b"version https://git-lfs"):
        found, next_step = "a Git LFS pointer", "fetch the file it stands for with git lfs pull"
    elif start.lstrip().startswith(b"<"):
        found = "a web page or other markup"
    elif start.startswith(b"\x80"):
        found = "a bare pickle, the format of torch before 1.6"
        next_step = "if you trust the file, load it with torch and torch.save it again with a current version"
    else:
        found = f"a file that starts with the bytes {start[:8].hex(' ')}"
    raise ModelError(f"{path} is not a torch.save file", found=found, allowed=allowed, next_step=next_step)


def _contents(path: Path, archive: zipfile.ZipFile, under: str) -> Contents:
    """Sort what the pickle describes into the tensors asked for, read, and the rest, told."""
    members = _members(archive, path.stat().st_size)
    storages = _Storages(archive, members)
    prefix = f"{under}." if under else ""
    contents = Contents({}, {})
    for name, value in read_pickle(path, archive.read(members["data.pkl"])):
        if not isinstance(value, Described) or not name.startswith(prefix):
            contents.others[name] = kind(value)
        elif (wanted := name.removeprefix(prefix)) not in contents.tensors:
            contents.tensors[wanted] = storages.tensor(name, value)
        else:
            raise ValueError(f"two tensors called {name}")
    return contents


def _members(archive: zipfile.ZipFile, archive_size: int) -> dict[str, zipfile.ZipInfo]:
    """The archive's records by their names below its one folder; ``ValueError`` unless their sizes can be true."""
    records = archive.infolist()
    if any(one.compress_type != zipfile.ZIP_STORED or one.file_size != one.compress_size for one in records):
        raise ValueError("a compressed archive; torch stores uncompressed")
    if sum(one.file_size for one in records) > archive_size:
        raise ValueError("records that declare more bytes than the file has")
    if len({one.filename for one in records}) != len(records):
        raise ValueError("two records of one name")
    pickles = [one.filename for one in records if one.filename.count("/") == 1 and one.filename.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError(f"a zip archive with {len(pickles)} records called data.pkl; torch writes one")
    folder = pickles[0].removesuffix("data.pkl")
    members = {one.filename.removeprefix(folder): one for one in records if one.filename.startswith(folder)}
    if members["data.pkl"].file_size > LARGEST_PICKLE:
        raise ValueError(f"a data.pkl of {members['data.pkl'].file_size} bytes; the most is {LARGEST_PICKLE}")
    if "byteorder" in members:  # torch before 2.1 does not say; those files are taken as little endian
        order = archive.read(members["byteorder"]).decode("ascii", "replace")
        if order != sys.byteorder:
            raise ValueError(f"byte order {order[:16]}; this computer's is {sys.byteorder}")
    return members


class _Storages:
    """Reads storages out of the archive, each once."""

    def __init__(self, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> None:
        self._archive = archive
        self._members = members
        self._read: dict[str, Tensor] = {}

    def tensor(self, name: str, described: Described) -> Tensor:
        """The tensor, a view of its storage; ``ValueError`` when it does not lie inside."""
        storage, dtype, offset, size, stride, conjugated, negated = described
        member = self._members.get(f"data/{storage.key}")
        if member is None:
            raise ValueError(f"tensor {name} in a storage that is not there")
        if member.file_size != storage.length * storage.dtype.itemsize or member.file_size % dtype.itemsize:
            raise ValueError(
                f"tensor {name} in a storage of {storage.length} {storage.dtype} that has {member.file_size} bytes"
            )
        available, elements = member.file_size // dtype.itemsize, prod(size)
        last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if (elements and last >= available) or elements > max(available, LARGEST_REPETITION):
            raise ValueError(f"tensor {name} of size {size}, stride {stride} and offset {offset} in {available} values")
        whole = self._bytes(storage.key, member).view(dtype)
        if dtype == torch.bool and whole.view(torch.uint8).gt(1).any():
            raise ValueError(f"tensor {name} of truth values that are neither 0 nor 1")
        tensor = whole.as_strided(size, stride, offset if elements else 0)
        tensor = tensor.conj() if conjugated else tensor
        return tensor.neg() if negated else tensor  # torch has no public negated view: this is a copy

    def _bytes(self, key: str, member: zipfile.ZipInfo) -> Tensor:
        if key not in self._read:
            buffer = torch.empty(member.file_size, dtype=torch.uint8)
            window = buffer.numpy().data
            filled = 0
            with self._archive.open(member) as stream:  # checks the record's CRC-32 when it reaches the end
                while chunk := stream.read(CHUNK):
                    window[filled : filled + len(chunk)] = chunk
                    filled += len(chunk)
            if filled != member.file_size:
                raise ValueError(f"a storage that ends after {filled} of {member.file_size} bytes")
            self._read[key] = buffer
        return self._read[key]

"""Archives of other people to files below one folder: zip, tar and packed tar, whole or not at all.

Nothing is written before the names are checked, and nothing outside the folder: absolute names, ``..``, links, devices
and encrypted members are refused, and so are archives that declare more than a sane multiple of their own size. Members
are unpacked beside the folder first and moved in when all of them are there.
"""

import gzip
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from healthgpt.errors import DataError, HealthGPTError, OutputError

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz")
PIECE = 1 << 20
MOST_MEMBERS = 5_000_000
MOST_TIMES_LARGER = 200
"""An archive may declare so many times its own size; images and text pack to a tenth at most."""
ALWAYS_ALLOWED = 64 << 20
"""Bytes: below this a small archive of very plain files is no bomb."""
CLUTTER = frozenset(("__MACOSX", ".DS_Store"))


def is_archive(name: str) -> bool:
    """Whether a downloaded file of that name is to be unpacked; .npz and .csv.gz are not."""
    return name.lower().endswith((".zip", *TAR_ENDINGS))


@dataclass
class _Room:
    """Counts what members declare against what the archive may hold; raises ``DataError`` beyond it."""

    archive: Path
    allowed: int
    members: int = 0
    declared: int = 0

    @classmethod
    def of(cls, archive: Path, folder: Path) -> "_Room":
        packed = archive.stat().st_size
        sane = max(ALWAYS_ALLOWED, MOST_TIMES_LARGER * packed)
        return cls(archive, min(sane, shutil.disk_usage(folder).free))

    def take(self, size: int) -> None:
        self.members += 1
        self.declared += size
        if self.members > MOST_MEMBERS:
            raise _refused(self.archive, f"more than {MOST_MEMBERS:,} members")
        if size < 0 or self.declared > self.allowed:
            raise DataError(
                f"{self.archive} declares more than may be unpacked here",
                found=f"{self.declared:,} bytes or more", allowed=f"{self.allowed:,} bytes",
                next_step="make room on the disk; if there is enough, the archive is not what was published",
            )  # fmt: skip


def unpack(archive: Path, folder: Path, *, name: str = "") -> dict[str, int]:
    """Unpack into ``folder``, beside what is there; returns the files' sizes by path relative to ``folder``.

    ``name`` tells the kind of archive where the file's own does not. ``DataError`` when it is damaged or hostile, or
    when a member stands in the way of another file; then ``folder`` is as it was.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OutputError(f"cannot make the folder {folder}", found=str(fault.strerror)) from fault
    partial = folder / f".{archive.name}.unpacking"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        room = _Room.of(archive, folder)
        kind = (name or archive.name).lower()
        if kind.endswith(".zip"):
            _unpack_zip(archive, partial, room)
        else:
            _unpack_tar(archive, partial, room, packed=kind.endswith("gz"))
        sizes = {
            path.relative_to(partial).as_posix(): path.stat().st_size
            for path in sorted(partial.rglob("*"))
            if path.is_file()
        }
        if not sizes:
            raise _refused(archive, "no files")
        _move_in(partial, folder, sizes)
    except HealthGPTError:
        raise
    except OSError as fault:
        raise OutputError(f"cannot unpack {archive} into {folder}", found=str(fault)) from fault
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return sizes


def _refused(archive: Path, found: str) -> DataError:
    return DataError(
        f"{archive} cannot be unpacked", found=found, allowed="files and folders below one folder",
        next_step="remove it and get it again; if it stays so, it is not what was published",
    )  # fmt: skip


def safe_parts(archive: Path, name: str) -> tuple[str, ...]:
    """A member's name as parts below the folder; empty for the clutter that some systems add."""
    plain = name.replace("\\", "/")
    parts = PurePosixPath(plain).parts
    if plain.startswith("/") or ".." in parts or "\0" in plain or (parts and parts[0].endswith(":")):
        raise _refused(archive, f"a member named '{name}'")
    return () if CLUTTER.intersection(parts) else parts


def _unpack_zip(archive: Path, partial: Path, room: _Room) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [(one, safe_parts(archive, one.filename)) for one in opened.infolist()]
            for member, _ in members:
                room.take(member.file_size)
                mode = member.external_attr >> 16
                if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise _refused(archive, f"'{member.filename}', which is a link or a device")
                if member.flag_bits & 1:
                    raise _refused(archive, f"'{member.filename}', which is encrypted")
            for member, parts in members:
                if not parts:
                    continue
                if member.is_dir() or member.filename.endswith("\\"):
                    _make_folder(archive, partial, parts)
                else:
                    with opened.open(member) as stream:
                        _write(archive, partial, parts, stream, member.file_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as fault:
        raise _refused(archive, f"damage ({fault})") from fault


def _unpack_tar(archive: Path, partial: Path, room: _Room, *, packed: bool) -> None:
    """Each member's name and size are checked before it is written; what one refuses has not left ``partial``."""
    try:
        with tarfile.open(archive, "r:gz" if packed else "r:") as opened:
            for member in opened:
                parts = safe_parts(archive, member.name)
                room.take(member.size if member.isreg() else 0)
                if not (member.isreg() or member.isdir()):
                    raise _refused(archive, f"'{member.name}', which is a link or a device")
                if not parts:
                    continue
                if member.isdir():
                    _make_folder(archive, partial, parts)
                elif (stream := opened.extractfile(member)) is not None:
                    with stream:
                        _write(archive, partial, parts, stream, member.size)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as fault:
        raise _refused(archive, f"damage ({fault})") from fault


def _make_folder(archive: Path, partial: Path, parts: tuple[str, ...]) -> Path:
    folder = partial.joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as fault:
        raise _refused(archive, f"'{'/'.join(parts)}' as file and as folder") from fault
    return folder


def _write(archive: Path, partial: Path, parts: tuple[str, ...], stream: IO[bytes], size: int) -> None:
    """One new file with the declared number of bytes."""
    path = _make_folder(archive, partial, parts[:-1]) / parts[-1]
    name = "/".join(parts)
    left = size
    try:
        with path.open("xb") as target:
            while piece := stream.read(PIECE):
                left -= len(piece)
                if left < 0:
                    raise _refused(archive, f"'{name}', which is larger than it declares")
                target.write(piece)
    except (FileExistsError, IsADirectoryError) as fault:
        raise _refused(archive, f"'{name}' twice") from fault
    if left:
        raise _refused(archive, f"'{name}', which ends early")


def _move_in(partial: Path, folder: Path, sizes: dict[str, int]) -> None:
    """Move all into ``folder``, or nothing: a file that is there already is replaced only by one of its size."""
    for name, size in sizes.items():
        for step in (*PurePosixPath(name).parents, PurePosixPath(name)):
            there = folder / step
            in_the_way = there.is_symlink() if step.name else False
            if str(step) == name:
                in_the_way |= there.exists() and (not there.is_file() or there.stat().st_size != size)
            else:
                in_the_way |= there.exists() and not there.is_dir()
            if in_the_way:
                raise DataError(
                    f"{there} is in the way of a file to unpack", next_step="move it elsewhere, then run this again"
                )
    moved: list[Path] = []
    try:
        for source, target in _moves(partial, folder):
            new = not target.exists()
            os.replace(source, target)
            if new:
                moved.append(target)
    except OSError:
        for path in moved:
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise


def _moves(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """(from, to), a whole folder at a time where there is none of that name yet."""
    for path in sorted(source.iterdir()):
        there = target / path.name
        if path.is_dir() and there.is_dir():
            yield from _moves(path, there)
        else:
            yield path, there

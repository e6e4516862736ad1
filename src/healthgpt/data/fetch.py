"""Downloads a source's originals: resumed where they broke off, checked, unpacked, and written down.

A file is downloaded to ``<file>.partial`` and takes its name when size and checksum are right; an archive is unpacked
then and goes. ``fetched.json`` in the source's folder says what was got, so that files changed or lost since are
noticed, and a publisher's change too where no checksum is published. A file that a person put there, on a machine
without a network, is checked and unpacked like a download.
"""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from healthgpt.data.transfer import Progress, Transfer
from healthgpt.data.unpack import is_archive, unpack
from healthgpt.errors import DataError, OutputError
from healthgpt.sources.base import Source
from healthgpt.sources.layout import Download

RECORD = "fetched.json"
PARTIAL = ".partial"
PIECE = 1 << 20


def quiet(name: str, there: int, total: int) -> None:
    """Progress that nobody watches."""


def fetch(source: Source, root: Path, progress: Progress = quiet) -> list[Path]:
    """Get what is public of a source into its folder below ``root``; returns the files, and folders of archives.

    What was got before and is unchanged is left alone. ``DataError`` says what to do where there is nothing to
    download without an account, where there is no network, and where a file is not the one that was published.
    """
    folder = root / source.folder
    downloads = source.published.downloads if source.published else ()
    if not downloads:
        access = source.published.access if source.published else "public"
        raise DataError(
            f"'{source.name}' cannot be downloaded by a program", found="" if access == "public" else access,
            next_step=f"get it from {source.obtain} and put it into {folder}",
        )  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OutputError(f"cannot make the folder {folder}", found=str(fault.strerror)) from fault
    return [_Fetching(source, folder, download, progress).run() for download in downloads]


def changes(folder: Path) -> list[str]:
    """What is not as ``fetched.json`` says, e.g. ``train.json is missing``; the contents of archives by size."""
    found = []
    for url, entry in read_record(folder).items():
        place = folder / entry["folder"]
        for name, size in entry.get("unpacked", {entry["file"]: entry["size"]}).items():
            path = place / name
            if not path.is_file():
                found.append(f"{path.relative_to(folder)} is missing")
            elif path.stat().st_size != size or ("unpacked" not in entry and digest(path) != entry["sha256"]):
                found.append(f"{path.relative_to(folder)} is not what was fetched from {url}")
    return found


def read_record(folder: Path) -> dict[str, dict[str, Any]]:
    """What was fetched, by address; empty where nothing was."""
    path = folder / RECORD
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        for entry in record.values():
            sizes = [entry["size"], *entry.get("unpacked", {}).values()]
            names = [entry["file"], entry["folder"], entry["sha256"]]
            if not all(isinstance(one, int) for one in sizes) or not all(isinstance(one, str) for one in names):
                raise TypeError("an entry with values of the wrong type")
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as fault:
        raise DataError(
            f"{path} is not a record of downloads", found=repr(fault),
            next_step="remove it and fetch again: files that are right are not fetched twice",
        ) from fault  # fmt: skip
    return record


def file_name(url: str) -> str:
    """The plain file name at the end of an address."""
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    if not re.fullmatch(r"[^.\\/\0][^\\/\0]*", name):
        raise DataError(f"'{url}' does not end in the name of a file")
    return name


def digest(path: Path, kind: str = "sha256", progress: Progress = quiet) -> str:
    """A file's checksum in hexadecimal; ``progress`` hears of it as ``<file> (check)``."""
    state = hashlib.new(kind, usedforsecurity=False)
    name, total, there = path.name.removesuffix(PARTIAL), path.stat().st_size, 0
    with path.open("rb") as stream:
        while piece := stream.read(PIECE):
            state.update(piece)
            there += len(piece)
            progress(f"{name} (check)", there, total)
    return state.hexdigest()


@dataclass(frozen=True)
class _Fetching:
    """One download of a source into its folder."""

    source: Source
    folder: Path
    download: Download
    progress: Progress

    def run(self) -> Path:
        """The file, or the folder of an archive's files; does nothing where an earlier run has done it."""
        name = file_name(self.download.url)
        place = self.folder / self.download.folder
        place.mkdir(parents=True, exist_ok=True)
        packed = is_archive(name)
        result = place if packed else place / name
        known = read_record(self.folder).get(self.download.url)
        if known is not None and self._is_whole(known):
            return result
        # Archives lie at the top, where a person would put them, and not among what they hold.
        by_hand = (self.folder if packed else place) / name
        if by_hand.is_file():
            if known is not None and not packed:
                raise self._changed_here(by_hand, known)
            entry = self._checked(by_hand, known)
            if packed:
                entry["unpacked"] = unpack(by_hand, place)
        else:
            transfer = Transfer(
                self.download.url, name, by_hand.with_name(name + PARTIAL), self.download.size, self.source.obtain,
                by_hand, self.progress,
            )  # fmt: skip
            transfer.run()
            try:
                entry = self._checked(transfer.partial, known)
            except DataError:
                transfer.drop()
                raise
            if packed:
                entry["unpacked"] = unpack(transfer.partial, place, name=name)
            else:
                os.replace(transfer.partial, result)
            transfer.drop()
        self._write_down(entry)
        return result

    def _is_whole(self, entry: dict[str, Any]) -> bool:
        """Whether all that an earlier run got is there: an archive's files by size, a plain one by checksum."""
        place = self.folder / entry["folder"]
        for name, size in entry.get("unpacked", {entry["file"]: entry["size"]}).items():
            if not (place / name).is_file() or (place / name).stat().st_size != size:
                return False
        return "unpacked" in entry or digest(place / entry["file"], progress=self.progress) == entry["sha256"]

    def _checked(self, path: Path, known: dict[str, Any] | None) -> dict[str, Any]:
        """The record of a file that is the published one; ``DataError`` names what is wrong with any other."""
        size, sha256 = path.stat().st_size, digest(path, progress=self.progress)
        download = self.download
        if download.size and size != download.size:
            raise self._not_published(path, f"{size} bytes", f"{download.size} bytes")
        if download.sha256 and sha256 != download.sha256.lower():
            raise self._not_published(path, f"SHA-256 {sha256}", f"SHA-256 {download.sha256.lower()}")
        if download.md5 and (md5 := digest(path, "md5")) != download.md5.lower():
            raise self._not_published(path, f"MD5 {md5}", f"MD5 {download.md5.lower()}")
        if known is not None and not download.sha256 and not download.md5 and sha256 != known["sha256"]:
            raise DataError(
                f"{download.url} has changed since it was fetched", found=f"SHA-256 {sha256}",
                allowed=f"SHA-256 {known['sha256']}",
                next_step=f"see {self.source.obtain} for why; to take the new one, remove its entry in {self._record}",
            )  # fmt: skip
        return {"file": file_name(download.url), "folder": download.folder, "size": size, "sha256": sha256}

    def _not_published(self, path: Path, found: str, allowed: str) -> DataError:
        afresh = "run this again" if path.name.endswith(PARTIAL) else f"remove {path} and run this again"
        return DataError(
            f"{path.name.removesuffix(PARTIAL)} is not the file that was published", found=found, allowed=allowed,
            next_step=f"{afresh} to fetch it afresh; if it stays so, see {self.source.obtain} for a newer release",
        )  # fmt: skip

    def _changed_here(self, path: Path, known: dict[str, Any]) -> DataError:
        return DataError(
            f"{path} is not what was fetched from {self.download.url}",
            found=f"{path.stat().st_size} bytes, SHA-256 {digest(path)}",
            allowed=f"{known['size']} bytes, SHA-256 {known['sha256']}",
            next_step=f"remove it to fetch it again, or its entry in {self._record} to keep it",
        )  # fmt: skip

    @property
    def _record(self) -> Path:
        return self.folder / RECORD

    def _write_down(self, entry: dict[str, Any]) -> None:
        record = read_record(self.folder) | {self.download.url: entry}
        partial = self._record.with_name(RECORD + PARTIAL)
        try:
            partial.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            os.replace(partial, self._record)
        except OSError as fault:
            raise OutputError(f"cannot write {self._record}", found=str(fault.strerror)) from fault

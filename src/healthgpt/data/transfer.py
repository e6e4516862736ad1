"""One file over HTTP into ``<file>.partial``, taken up where it broke off.

Goes through the HTTP client of huggingface_hub, so that proxies, certificates and HF_HUB_OFFLINE are honoured as
elsewhere. Beside the partial file stands ``.version``: what the server calls this version of the file, so that parts
of two versions are never joined.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage
from typing import Any

from huggingface_hub import get_session

from healthgpt.errors import DataError, HealthGPTError, OutputError

ATTEMPTS = 5
"""Times in a row that a transfer may break off without a byte more."""
PAUSE = 2.0
"""Seconds before a transfer is taken up again, times the attempts that brought nothing."""
PATIENCE = 30.0
"""Seconds without an answer after which the line counts as broken."""
PASSING = frozenset((408, 425, 429))
"""HTTP statuses below 500 that go away by themselves."""

Progress = Callable[[str, int, int], None]
"""Called with the file's name, the bytes that are there, and how many there will be (0: not known)."""


class _BrokenOffError(Exception):
    """A transfer that may be taken up again; the message says what happened."""


@dataclass(frozen=True)
class Transfer:
    """What to get: ``name`` for messages, ``size`` in bytes where known, ``by_hand`` where a person may put it."""

    url: str
    name: str
    partial: Path
    size: int
    obtain: str
    by_hand: Path
    progress: Progress

    @property
    def there(self) -> int:
        """Bytes of it on this disk."""
        return self.partial.stat().st_size if self.partial.is_file() else 0

    @property
    def version(self) -> Path:
        """The file that tells this version from others."""
        return self.partial.with_name(f"{self.partial.name}.version")

    def drop(self) -> None:
        """Forget what is there of it."""
        self.partial.unlink(missing_ok=True)
        self.version.unlink(missing_ok=True)

    def run(self) -> None:
        """Get all bytes into ``partial``; ``DataError`` when they cannot be had, with what is there kept."""
        if self.size and self.there > self.size:
            self.drop()
        fruitless = 0
        while not self.size or self.there < self.size:
            before = self.there
            try:
                self._once()
                return
            except _BrokenOffError as fault:
                fruitless = 0 if self.there > before else fruitless + 1
                if fruitless >= ATTEMPTS or (not self.there and fruitless > 1):
                    raise self._unreachable(fault) from fault
                time.sleep(PAUSE * fruitless)

    def _unreachable(self, fault: Exception) -> DataError:
        kept = f"; the {self.there} bytes that are there are kept" if self.there else ""
        return DataError(
            f"{self.url} cannot be downloaded", found=str(fault), allowed=f"a network{kept}",
            next_step=(
                f"run this again when there is one, or download it elsewhere (it is published at {self.obtain}),"
                f" put it at {self.by_hand} and run this again"
            ),
        )  # fmt: skip

    def _once(self) -> None:
        """One request, from the end of ``partial`` on where the server takes part of a file up again."""
        headers = {"Accept-Encoding": "identity"}
        if there := self.there:
            headers["Range"] = f"bytes={there}-"
            version = self.version.read_text(encoding="utf-8") if self.version.is_file() else ""
            if version:
                headers["If-Range"] = version
        try:
            with get_session().stream("GET", self.url, headers=headers, timeout=PATIENCE) as answer:
                start = self._start_of(answer.status_code, answer.headers.get("Content-Range", ""), there)
                if start is not None:
                    self._receive(answer.headers, answer.iter_raw(), start)
        except (HealthGPTError, _BrokenOffError):
            raise
        except Exception as fault:  # whatever the HTTP library raises: no route, no name, a cut line, being offline
            raise _BrokenOffError(str(fault).splitlines()[0] if str(fault) else type(fault).__name__) from fault

    def _start_of(self, status: int, content_range: str, there: int) -> int | None:
        """The byte that an answer begins with; None when everything is there already."""
        if status == 200:
            return 0
        if status == 206:
            match = re.match(r"bytes (\d+)-", content_range)
            if match and int(match[1]) <= there:
                return int(match[1])
            self.drop()
            raise _BrokenOffError("the server answers with another part of the file")
        if status == 416:
            if content_range == f"bytes */{there}":
                return None
            self.drop()
            raise _BrokenOffError("the server's file is shorter than what is there")
        if status in PASSING or status >= 500:
            raise _BrokenOffError(f"the server answers with HTTP status {status}")
        raise DataError(
            f"{self.url} cannot be had", found=f"HTTP status {status}",
            next_step=f"the publisher has moved or closed it: see {self.obtain}, and put the file at {self.by_hand}",
        )  # fmt: skip

    def _receive(self, headers: Any, pieces: Iterator[bytes], start: int) -> None:
        length = headers.get("Content-Length", "")
        total = self.size or (start + int(length) if length.isdecimal() else 0)
        tag = headers.get("ETag", "")
        # A weak tag does not vouch for bytes, so the date stands in for it.
        version = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")
        free = disk_usage(self.partial.parent).free
        if total - start > free:
            raise OutputError(f"no room for {self.partial}", found=f"{free} bytes", allowed=f"{total - start} or more")
        there = start
        try:
            self.version.write_text(version, encoding="utf-8")
            with self.partial.open("r+b" if self.partial.is_file() else "xb") as stream:
                stream.truncate(start)
                stream.seek(start)
                for piece in _broken_off_by_the_line(pieces):
                    there += len(piece)
                    if self.size and there > self.size:
                        break
                    stream.write(piece)
                    self.progress(self.name, there, total)
        except OSError as fault:
            raise OutputError(f"cannot write {self.partial}", found=str(fault.strerror)) from fault
        if self.size and there > self.size:
            self.drop()
            raise DataError(
                f"{self.name} is not the file that was published", found=f"more than {self.size} bytes",
                allowed=f"{self.size} bytes", next_step=f"see {self.obtain} for a newer release",
            )  # fmt: skip
        if there < total:
            raise _BrokenOffError(f"the line was cut after {there} of {total} bytes")


def _broken_off_by_the_line(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces; faults of the line are told from those of the disk, which are ``OSError`` too."""
    try:
        yield from pieces
    except Exception as fault:  # whatever the HTTP library raises
        raise _BrokenOffError(str(fault) or type(fault).__name__) from fault

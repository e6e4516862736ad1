"""Checks of a data set's pictures, in files or embedded: they are there, decode, and are what their name says."""

import hashlib
import io
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image as PillowImage

from healthgpt.data.findings import Findings
from healthgpt.data.scattered import ScatteredFacts

THREADS = 4
"""Hashing and decoding release the interpreter's lock."""
REMEMBERED = 4_096
"""Embedded pictures that are not decoded again: the records of one picture mostly stand together."""
BY_CONTENT = re.compile(r"images/[^/]+/(?P<start>[0-9a-f]{2})/(?P<digest>[0-9a-f]{64})\.(?:png|jpg)")
PLAIN_MODES = ("L", "RGB")


@dataclass(frozen=True)
class Looked:
    """What looking at one picture gave: its SHA-256, where there was content, and its faults (kind, words)."""

    name: str
    digest: str | None
    faults: tuple[tuple[str, str], ...] = ()


@contextmanager
def picture_readers() -> Iterator[Executor]:
    """Threads that look at pictures. Large ones are not refused, only those beyond the decoder's own limit."""
    with _quiet_about_size(), ThreadPoolExecutor(THREADS) as pool:
        yield pool


def look_at_files(readers: Executor, folder: Path, names: Iterable[str], *, by_content: bool) -> Iterator[Looked]:
    """Read, hash and decode the named files, in their order. ``by_content``: names have to be those of a build."""
    root = folder.resolve()

    def look(name: str) -> Looked:
        try:
            path = (root / name).resolve()
            if not path.is_relative_to(root):
                return Looked(name, None, (("image outside", name),))
            if not path.is_file():
                return Looked(name, None, (("image missing", name),))
            content = path.read_bytes()
        except (OSError, ValueError) as fault:  # no permission, or a name no file can have
            return Looked(name, None, (("image missing", f"{name!r}: {fault}"),))
        return look_at_content(name, content, by_content=by_content)

    yield from readers.map(look, names)


def look_at_content(name: str, content: bytes, *, by_content: bool) -> Looked:
    """Hash and decode one picture."""
    digest = hashlib.sha256(content).hexdigest()
    faults: list[tuple[str, str]] = []
    named = BY_CONTENT.fullmatch(name)
    if named and (named["digest"] != digest or named["start"] != digest[:2]):
        faults.append(("image changed", f"{name}: its SHA-256 is {digest}"))
    elif by_content and not named:
        faults.append(("image name", name))
    try:
        with PillowImage.open(io.BytesIO(content)) as picture:
            picture.load()
            if picture.mode not in PLAIN_MODES:
                faults.append(("image form", f"{name}: {picture.mode}"))
    except Exception as fault:  # decoders of untrusted bytes raise anything, from struct.error to RecursionError
        words = str(fault).replace(repr(fault.args[0]), "") if "BytesIO" in str(fault) else str(fault)
        faults.append(("image unreadable", f"{name}: {words or type(fault).__name__}"[:300]))
    return Looked(name, digest, tuple(faults))


def _quiet_about_size() -> warnings.catch_warnings:
    return warnings.catch_warnings(action="ignore", category=PillowImage.DecompressionBombWarning)


class EmbeddedPictures:
    """Pictures that stand in the rows themselves; ``contents`` takes what is known of each by its digest."""

    def __init__(self, findings: Findings, contents: ScatteredFacts) -> None:
        self._findings, self._contents = findings, contents
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def look(self, value: dict[str, Any], split: str) -> str | None:
        """Check one embedded picture; returns the name it goes by."""
        name, content = value.get("path"), value.get("bytes")
        if not isinstance(name, str) or not name:
            self._findings.add("image name", "an embedded picture has no name")
            return None
        if not isinstance(content, bytes):
            self._findings.add("image missing", f"{name}: nothing is embedded under this name")
            return name
        digest = hashlib.sha256(content).hexdigest()
        self._contents.add(digest, f"{split} {name}")
        if (name, digest) not in self._known:
            self._known[name, digest] = None
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            with _quiet_about_size():
                for kind, words in look_at_content(name, content, by_content=True).faults:
                    self._findings.add(kind, words)
        return name

"""Facts about very many keys, gathered on disk and handed back a part of the keys at a time.

What stays in memory is what waits to be written (``WAITING`` lines) and, when read back, the keys of one of ``PARTS``
parts, so a question like "which id occurs twice" needs no more memory for a hundred million ids than for a few.
"""

import json
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PARTS = 256
WAITING = 50_000


class ScatteredFacts:
    """(key, fact) pairs in files of ``folder``, which has to exist and be this object's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: list[list[str]] = [[] for _ in range(PARTS)]
        self._waiting = 0

    def add(self, key: str, fact: str) -> None:
        """Note a fact; the same one may be noted again and counts again."""
        self._lines[zlib.crc32(key.encode("utf-8", "surrogatepass")) % PARTS].append(json.dumps((key, fact)))
        self._waiting += 1
        if self._waiting >= WAITING:
            self._write()

    def parts(self) -> Iterator[dict[str, Counter[str]]]:
        """For each part of the keys: how often each fact was noted of each key, in the order of noting."""
        self._write()
        for number in range(PARTS):
            path = self._path(number)
            if not path.is_file():
                continue
            facts: dict[str, Counter[str]] = {}
            with path.open(encoding="utf-8") as lines:
                for line in lines:
                    key, fact = json.loads(line)
                    facts.setdefault(key, Counter())[fact] += 1
            yield facts

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:03d}"

    def _write(self) -> None:
        for number, lines in enumerate(self._lines):
            if lines:
                with self._path(number).open("a", encoding="utf-8") as stream:
                    stream.write("\n".join(lines) + "\n")
                lines.clear()
        self._waiting = 0

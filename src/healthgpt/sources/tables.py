"""Rows of published tables as a stream: JSON, separated text, pickled lists, NumPy archives.

Memory is that of one row and a read-ahead of a megabyte, whatever the file's size. Every row has a ``Mark``, from
which reading can begin again, so that a long file is cut into pieces for several workers. Rows that cannot be read
are yielded as ``Damaged`` and reading goes on behind them.

Files are read as UTF-8; bytes that are not UTF-8 are taken for Windows-1252 and counted.
"""

import codecs
import csv
import gzip
import io
import json
import pickle
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from healthgpt.errors import DataError
from healthgpt.sources.layout import Form, Table

PIECE = 1 << 20
LONGEST_ROW = 16 << 20
"""Characters after which a row that does not end is given up."""
LARGEST_PICKLE = 1 << 30
SEPARATORS: dict[Form, str] = {"csv": ",", "tsv": "\t", "pipe": "|"}

NOT_UTF8 = "bytes that are not UTF-8, read as Windows-1252"
JSON_LINES = "JSON lines in a file named .json"
PADDED_HEADER = "column names padded with blanks"
_SURROGATE = re.compile("[\udc80-\udcff]")
_NEXT_OBJECT = re.compile(r"\}\s*,?\s*(?=\{)")
_SECTION = re.compile(r'("(?:[^"\\]|\\.)*")\s*:\s*\[')
_BLANK = re.compile(r"[\s,]*")


class Mark(NamedTuple):
    """Where a row begins: byte in the (unpacked) file or number of the item, line, and section."""

    offset: int = 0
    line: int = 1
    section: str = ""


@dataclass(frozen=True, slots=True)
class Damaged:
    """A row that cannot be read, and why."""

    reason: str


def rows_of(path: Path, table: Table, notes: Counter[str], start: Mark | None = None) -> Iterator[tuple[Mark, Any]]:
    """Every row from ``start`` on, as (its mark, its value or ``Damaged``). ``notes`` counts the file's oddities.

    Raises ``DataError`` when the file as a whole is not what the table says.
    """
    if table.form in ("json", "sections"):
        yield from _json_rows(path, table.form, notes, start)
    elif table.form in SEPARATORS:
        yield from _separated_rows(path, table, notes, start)
    elif table.form == "pickle":
        yield from _numbered(plain_pickle(path), start)
    elif table.form == "npz":
        yield from _numbered(_archive_rows(path), start)
    else:
        raise ValueError(f"a table of {table.form} has no rows")


def repaired(text: str, notes: Counter[str]) -> str:
    """Text whose undecodable bytes (surrogates) are read as Windows-1252."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    notes[NOT_UTF8] += 1
    return _SURROGATE.sub(lambda one: bytes([ord(one[0]) - 0xDC00]).decode("cp1252", "replace"), text)


def opened(path: Path) -> BinaryIO:
    """The file for reading bytes, unpacked if its name ends in .gz."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


class _Text:
    """A window of a file's text that moves on: ``text[at]`` is the next character to read."""

    def __init__(self, stream: BinaryIO, start: Mark | None) -> None:
        self.stream = stream
        self.offset, self.line = (start.offset, start.line) if start else (0, 1)
        self.stream.seek(self.offset)
        self.decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.text, self.at = "", 0
        self.counted = 0
        self.ended = False
        self.fault = ""

    def more(self) -> bool:
        """Drop what was read and read on; False at the end of the file."""
        if self.ended:
            return False
        self._count()
        self.text, self.at, self.counted = self.text[self.at :], 0, 0
        try:
            # One read at a time: a cut archive still gives what lies before the cut.
            piece = self.stream.read1(PIECE)  # type: ignore[attr-defined]
        except (OSError, EOFError, zlib.error) as fault:
            piece, self.fault = b"", f"the compressed file is cut short or damaged ({fault})"
        self.ended = not piece
        self.text += self.decoder.decode(piece, final=self.ended)
        return True

    def _count(self) -> None:
        """Bring byte offset and line up to ``at``."""
        passed = self.text[self.counted : self.at]
        self.offset += len(passed) if passed.isascii() else len(passed.encode("utf-8", "surrogateescape"))
        self.line += passed.count("\n")
        self.counted = self.at

    def peek(self, pattern: re.Pattern[str] = _BLANK) -> str:
        """Skip what matches; the next character, or nothing at the end."""
        while True:
            match = pattern.match(self.text, self.at)
            self.at = match.end() if match else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def mark(self, section: str) -> Mark:
        self._count()
        return Mark(self.offset, self.line, section)


def _json_rows(path: Path, form: Form, notes: Counter[str], start: Mark | None) -> Iterator[tuple[Mark, Any]]:
    """Elements of an array, values one after another, or elements of the arrays of an object."""
    with opened(path) as stream:
        yield from _values(_Text(stream, start), path, form, notes, start)


def _values(
    source: _Text, path: Path, form: Form, notes: Counter[str], start: Mark | None
) -> Iterator[tuple[Mark, Any]]:
    decoder = json.JSONDecoder(strict=False)
    section = start.section if start else ""
    if start is None:
        _enter(source, path, form, notes)
    while (character := source.peek()) != "":
        if character in "]}":
            source.at += 1
        elif form == "sections" and character == '"':
            section = _section_name(source, path, decoder)
        else:
            yield source.mark(section), _one_value(source, decoder, notes)
    if source.fault:
        yield source.mark(section), Damaged(source.fault)


def _enter(source: _Text, path: Path, form: Form, notes: Counter[str]) -> None:
    """Step into the outer array or object; ``DataError`` when the file begins with anything else."""
    first = source.peek(re.compile("[\\s\ufeff]*"))
    if first == "":
        raise DataError(f"{path} is empty", found=source.fault, next_step="get the file again")
    if first not in ("{" if form == "sections" else "[{"):
        raise DataError(f"{path} is not JSON of the published shape", found=f"a file that begins with '{first}'")
    if first == "[" or form == "sections":
        source.at += 1
    elif path.name.removesuffix(".gz").endswith(".json"):
        notes[JSON_LINES] += 1


def _section_name(source: _Text, path: Path, decoder: json.JSONDecoder) -> str:
    """The key at ``source.at``; moves into the array behind it."""
    while not (opening := _SECTION.match(source.text, source.at)):
        if source.ended or len(source.text) - source.at > PIECE:
            raise DataError(f"{path} is not an object of arrays", found=source.text[source.at : source.at + 40])
        source.more()
    source.at = opening.end()
    return str(decoder.decode(opening[1]))


def _one_value(source: _Text, decoder: json.JSONDecoder, notes: Counter[str]) -> Any:
    """The value at ``source.at``, or ``Damaged``; moves behind it."""
    while True:
        try:
            value, end = decoder.raw_decode(source.text, source.at)
        except (json.JSONDecodeError, RecursionError) as fault:
            where = fault.pos if isinstance(fault, json.JSONDecodeError) else source.at
            reason = fault.msg if isinstance(fault, json.JSONDecodeError) else "nested too deeply"
            unfinished = reason.startswith("Unterminated string") or where >= len(source.text) - 8
            if unfinished and len(source.text) < LONGEST_ROW and source.more():
                continue
            if unfinished and source.ended:
                source.at = len(source.text)
                return Damaged("the file ends inside this row")
            _skip_damage(source, max(where - 1, source.at))
            return Damaged(f"not JSON: {reason}")
        piece = source.text[source.at : end]
        source.at = end
        if not piece.isascii() and _SURROGATE.search(piece):
            value = decoder.decode(repaired(piece, notes))
        return value


def _skip_damage(source: _Text, where: int) -> None:
    """To the next object behind a damaged one."""
    source.at = where
    while True:
        following = _NEXT_OBJECT.search(source.text, source.at)
        if following:
            source.at = following.end()
            return
        source.at = max(source.at, len(source.text) - 64)
        if not source.more():
            source.at = len(source.text)
            return


def _separated_rows(
    path: Path, table: Table, notes: Counter[str], start: Mark | None
) -> Iterator[tuple[Mark, dict[str, str] | Damaged]]:
    """Rows as dicts by column name; quoted cells may span lines, except in pipe-separated files."""
    csv.field_size_limit(LONGEST_ROW)
    style: dict[str, Any] = {"delimiter": SEPARATORS[table.form]}
    if table.form == "pipe":
        style["quoting"] = csv.QUOTE_NONE
    with opened(path) as stream:
        lines = _Lines(stream)
        reader = csv.reader(lines, **style)
        names = table.header or tuple(next(reader, ()))
        stripped = tuple(repaired(name, notes).strip() for name in names)
        if start is None and stripped != tuple(names):
            notes[PADDED_HEADER] += 1
        if start is not None and start.offset:
            lines.go_to(start)
        while True:
            mark = Mark(lines.offset, lines.line)
            lines.quotes = 0
            try:
                cells = next(reader, None)
            except csv.Error as fault:
                yield mark, Damaged(f"not a row of a table: {fault}")
                lines.leave(mark)
                continue
            except (OSError, EOFError, zlib.error) as fault:
                yield mark, Damaged(f"the compressed file is cut short or damaged ({fault})")
                return
            if cells is None:
                return
            if not any(cells):
                continue
            if lines.quotes % 2 and lines.line > mark.line + 1:
                yield mark, Damaged("a quote that never closes")
                lines.leave(mark)
                continue
            if len(cells) != len(stripped):
                yield mark, Damaged(f"{len(cells)} cells where the table has {len(stripped)} columns")
                continue
            yield mark, {name: repaired(cell, notes) for name, cell in zip(stripped, cells, strict=True)}


class _Lines:
    """Lines of a byte stream as text for ``csv.reader``, counting bytes, lines, and quotes since they were set to 0."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.offset, self.line, self.quotes = 0, 1, 0
        self.stream.seek(0)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        raw = self.stream.readline(LONGEST_ROW)
        if not raw:
            raise StopIteration
        text = raw.decode("utf-8", "surrogateescape")
        if self.offset == 0:
            text = text.removeprefix("\ufeff")
        self.offset += len(raw)
        self.line += 1
        self.quotes += text.count('"')
        return text

    def leave(self, damaged: Mark) -> None:
        """Go on at the second line of a damaged row: a stray quote has swallowed the rows behind its own."""
        if self.line > damaged.line + 1:
            self.go_to(damaged)
            next(self)

    def go_to(self, start: Mark) -> None:
        self.stream.seek(start.offset)
        self.offset, self.line = start.offset, start.line


class _PlainValues(pickle.Unpickler):
    """Refuses every class and function: what is left is numbers, text, lists, tuples, dicts and sets."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def plain_pickle(path: Path) -> list[Any]:
    """A pickled list of plain values; ``DataError`` when it holds anything that would have to be run."""
    if path.stat().st_size > LARGEST_PICKLE:
        raise DataError(f"{path} is too large to read whole", found=f"{path.stat().st_size} bytes", allowed="1 GiB")
    try:
        values = _PlainValues(io.BytesIO(path.read_bytes())).load()
    except Exception as fault:  # a hostile or damaged pickle can raise anything
        raise DataError(f"{path} is not a pickled list of plain values", found=str(fault)) from fault
    if not isinstance(values, list):
        raise DataError(f"{path} is not a list", found=type(values).__name__)
    return values


def _archive_rows(path: Path) -> list[tuple[str, int]]:
    """(array name, index) of every image of a MedMNIST-style archive; only the arrays' headers are read."""
    rows = []
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith("_images.npy"):
                    with archive.open(name) as stream:
                        version = np.lib.format.read_magic(stream)
                        read = (
                            np.lib.format.read_array_header_1_0 if version == (1, 0)
                            else np.lib.format.read_array_header_2_0
                        )  # fmt: skip
                        shape = read(stream)[0]
                    rows += [(name.removesuffix(".npy"), index) for index in range(shape[0])]
    except (OSError, ValueError, IndexError, EOFError, zlib.error, zipfile.BadZipFile) as fault:
        raise DataError(f"{path} is not a NumPy archive", found=str(fault)) from fault
    return rows


def _numbered(values: list[Any], start: Mark | None) -> Iterator[tuple[Mark, Any]]:
    first = start.offset if start else 0
    for number in range(first, len(values)):
        yield Mark(number, number + 1), values[number]

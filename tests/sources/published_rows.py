"""Reads a source's originals row by row as the builder does, for the tests of what sources yield.

Nothing is divided over workers and no picture is opened: tables in order, rows in order, entries in order.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from healthgpt.sources.base import Source
from healthgpt.sources.entry import BadRowError, Entry
from healthgpt.sources.layout import Row, Table
from healthgpt.sources.tables import Damaged, Mark, rows_of


class Reading(NamedTuple):
    """All of a folder: entries, the rows that could not be read, and the oddities by name."""

    entries: list[Entry]
    damaged: list[str]
    """``file:line reason`` of each row that is no row, or that the source refused."""
    oddities: Counter[str]


def read_all(source: Source, folder: Path) -> Reading:
    """Every entry of the originals below ``folder``, the data set's own folder.

    The first row of each file must have the columns its table promises, and no file may match two tables.
    """
    published = source.published
    assert published is not None, f"{source.name} does not say how it is published"
    reading = Reading([], [], Counter())
    context = published.prepare(folder) if published.prepare else None
    seen: set[Path] = set()
    for table in published.tables:
        for path in sorted(folder.glob(table.pattern)):
            assert path not in seen, f"two tables of {source.name} read {path.name}"
            seen.add(path)
            _read_file(source, folder, path, table, context, reading)
    return reading


def _read_file(source: Source, folder: Path, path: Path, table: Table, context: Any, reading: Reading) -> None:
    assert source.published is not None
    file = path.relative_to(folder).as_posix()
    first = True
    for mark, value in _rows(path, file, table, reading.oddities):
        if isinstance(value, Damaged):
            reading.damaged.append(f"{file}:{mark.line} {value.reason}")
            continue
        if first and table.columns:
            assert set(table.columns) <= set(value), f"{file} lacks {set(table.columns) - set(value)}"
        first = False
        row = Row(value, folder, file, mark.line, table.split, mark.section, context)
        try:
            reading.entries.extend(source.published.entries(row, reading.oddities))
        except BadRowError as fault:
            reading.damaged.append(f"{file}:{mark.line} {fault}")


def _rows(path: Path, file: str, table: Table, oddities: Counter[str]) -> Iterator[tuple[Mark, Any]]:
    if table.form == "files":
        yield Mark(), file
    else:
        yield from rows_of(path, table, oddities)

"""The pieces a build is cut into: for every file of every source, where each piece begins and how many rows it has.

A piece depends on nothing but its rows, so pieces can be done in any order, by any worker, again after a kill, and
give the same bytes.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from healthgpt.data.settings import BuildSettings
from healthgpt.errors import DataError
from healthgpt.sources.base import Source
from healthgpt.sources.catalog import SOURCES, source_named
from healthgpt.sources.layout import Published, Table
from healthgpt.sources.tables import Damaged, Mark, rows_of

ROWS_PER_CHUNK = 5_000
FILES_PER_CHUNK = 16
SAMPLES = -1
"""Table number of a chunk that takes a whole pack's own ``samples``."""


class Chunk(BaseModel):
    """``rows`` rows of one file from the mark (``offset``, ``line``, ``section``) on, or the files ``items``.

    ``first``: of its file, so that what is odd about the file as a whole is counted once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    source: str
    table: int
    file: str = ""
    offset: int = 0
    line: int = 1
    section: str = ""
    rows: int = 0
    first: bool = False
    items: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return f"{self.number:06d}"


class Plan(BaseModel):
    """All chunks, with the settings they were made for and the sizes of the files they read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: BuildSettings
    chunks: tuple[Chunk, ...]
    sizes: dict[str, int]


def make_plan(settings: BuildSettings) -> Plan:
    """Find every source's files and cut them; ``DataError`` for a folder or a file that is not as published."""
    found: list[Chunk] = []
    sizes: dict[str, int] = {}
    for name, folder in settings.sources.items():
        source = source_named(name)
        if not folder.is_dir():
            raise DataError(
                f"no data set '{name}' at {folder}", next_step=f"put {source.title} there; see {source.obtain}"
            )
        if source.published is None:
            found.append(Chunk(number=len(found), source=name, table=SAMPLES))
            continue
        before = len(found)
        for number, table in enumerate(source.published.tables):
            for chunk, size in _cut(source, folder, number, table):
                found.append(chunk.model_copy(update={"number": len(found)}))
                sizes[f"{name}/{chunk.file}"] = size
        if len(found) == before:
            raise DataError(
                f"{folder} holds none of the files of '{name}'",
                found=_some_names(folder),
                allowed=", ".join(table.pattern for table in source.published.tables),
                next_step=f"put the download there as published; see {source.obtain}",
            )
    return Plan(settings=settings, chunks=tuple(found), sizes=sizes)


def _cut(source: Source, folder: Path, number: int, table: Table) -> Iterator[tuple[Chunk, int]]:
    paths = sorted(path for path in folder.glob(table.pattern) if table.form == "files" or path.is_file())
    if table.form == "files":
        names = [path.relative_to(folder).as_posix() for path in paths]
        for first in range(0, len(names), FILES_PER_CHUNK):
            items = tuple(names[first : first + FILES_PER_CHUNK])
            yield Chunk(number=0, source=source.name, table=number, file=items[0], items=items, rows=len(items)), 0
        return
    for path in paths:
        name, size = path.relative_to(folder).as_posix(), path.stat().st_size
        mark, count, first = Mark(), 0, True
        for place, value in rows_of(path, table, Counter()):
            if count == 0:
                mark = place
            if first and count == 0:
                check_columns(source, path, table, value)
            count += 1
            if count == ROWS_PER_CHUNK:
                yield _chunk(source, number, name, mark, count, first), size
                count, first = 0, False
        if count:
            yield _chunk(source, number, name, mark, count, first), size


def _chunk(source: Source, table: int, file: str, mark: Mark, rows: int, first: bool) -> Chunk:
    return Chunk(
        number=0, source=source.name, table=table, file=file, offset=mark.offset, line=mark.line, section=mark.section,
        rows=rows, first=first,
    )  # fmt: skip


def check_columns(source: Source, path: Path, table: Table, first: object) -> None:
    """``DataError`` when the first row lacks a column, naming the published layout that fits it best."""
    if not table.columns or isinstance(first, Damaged):
        return
    names = {str(name) for name in first} if isinstance(first, dict) else set()
    missing = [name for name in table.columns if name not in names]
    if not missing:
        return
    closest = closest_layout(names)
    raise DataError(
        f"{path} is not laid out as '{source.name}' publishes it: no {', '.join(missing)}",
        found=", ".join(sorted(names)) or type(first).__name__,
        allowed=", ".join(table.columns),
        next_step=f"its columns are closest to those of '{closest}'" if closest else "see 'healthgpt data sources'",
    )


def closest_layout(names: set[str]) -> str:
    """The source whose required columns share the largest part with ``names``; empty where none shares half."""
    best, found = 0.5, ""
    for source in SOURCES.values():
        for table in source.published.tables if source.published else ():
            wanted = set(table.columns) | set(table.header)
            share = len(wanted & names) / len(wanted | names) if wanted else 0.0
            if share > best:
                best, found = share, source.name
    return found


def published_of(name: str) -> Published:
    """How a source's originals are laid out; the chunks that need it come from sources that have it."""
    published = SOURCES[name].published
    assert published is not None
    return published


def _some_names(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:6]) + (" ..." if len(names) > 6 else "") if names else "an empty folder"


def save_plan(plan: Plan, path: Path) -> None:
    """Write the plan whole."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(plan.model_dump_json(), encoding="utf-8")
    partial.replace(path)


def load_plan(path: Path) -> Plan:
    """The plan of a build that was begun; ``DataError`` when the file is damaged."""
    try:
        return Plan.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as fault:
        raise DataError(f"{path} is not a build's plan", next_step="remove the folder and build again") from fault

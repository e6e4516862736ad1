"""How a data set lies on disk as published: its tables, the files to expect, and where they are to be had."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from healthgpt.record import Split
from healthgpt.sources.entry import Entry

Form = Literal["json", "sections", "csv", "tsv", "pipe", "pickle", "npz", "files"]
"""``json``: an array or JSON lines, whichever it is, streamed; ``sections``: an object of arrays. ``csv``, ``tsv``,
``pipe``: text with a separator. ``pickle``: a list of plain values, read without running anything. ``npz``: one row
an image. ``files``: one row a file or folder that matches the pattern."""


@dataclass(frozen=True)
class Table:
    """Files of one layout: ``pattern`` is a glob below the data set's folder, ``split`` what the publisher made of it.

    ``columns``: names every row must have; a file whose first row lacks one is refused with the closest known layout.
    ``header``: the names where the file has no header line (pipe-separated files). ``rows``: how many are published,
    0 where that is not known.
    """

    pattern: str
    form: Form
    split: Split | None = None
    columns: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: ``value`` is a dict for text tables, a path relative to ``folder`` for ``files``, and
    (array name, index) for ``npz``. ``line``: where it begins, from 1; the number of the item elsewhere.
    ``section``: the key of the array it stands in, in an object of arrays.
    ``context``: what the source's ``prepare`` made of the folder."""

    value: Any
    folder: Path
    file: str
    line: int
    split: Split | None
    section: str = ""
    context: Any = None


@dataclass(frozen=True)
class Download:
    """A file to be had without an account: ``size`` (bytes), ``sha256`` and ``md5`` where the publisher's are known.

    ``folder``: below the data set's folder; archives (zip, tar, tar.gz) are unpacked there.
    """

    url: str
    size: int = 0
    sha256: str = ""
    folder: str = "."
    md5: str = ""


@dataclass(frozen=True)
class Published:
    """A data set's originals: what files to expect, how to get them, and how a row becomes entries.

    ``expected``: (pattern, size in bytes as published or 0, what it is) for people and for the table of sources.
    ``access``: ``public``, or how to apply where credentials are needed. ``splits``: the published ones, in words.
    ``yields``: what the rows become, in words. ``prepare``: reads what a single row cannot know (joins, groups).
    ``entries``: one row to entries; raises ``BadRowError`` with the reason and counts oddities by name.
    """

    tables: tuple[Table, ...]
    entries: Callable[[Row, Counter[str]], Iterator[Entry]]
    expected: tuple[tuple[str, int, str], ...]
    splits: str
    yields: str
    access: str = "public"
    downloads: tuple[Download, ...] = ()
    prepare: Callable[[Path], Any] | None = None
    citation: str = ""
    notes: tuple[str, ...] = field(default=())

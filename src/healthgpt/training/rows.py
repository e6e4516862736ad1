"""Records to rows: what one line of a batch says and shows, measured in tokens, in one table on disk.

RUN/rows/SPLIT-KEY.arrow       the rows, mapped into memory, not read
RUN/rows/SPLIT-KEY.json        what was found on the way; written last
RUN/quarantine.jsonl           records left out because of their image, each with its reason

A reading row is a conversation of a few questions about one image; a drawing row is one picture to draw. KEY is the
hash of data, tokenizer and settings, so a run that goes on does not look through its data again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from healthgpt.backbone.prompts import Prompt, PromptBuilder
from healthgpt.tasks import TASKS

CHUNK = 10_000
SCHEMA = pa.schema(
    [
        ("records", pa.list_(pa.string())),
        ("task", pa.string()),
        ("instructions", pa.list_(pa.string())),
        ("responses", pa.list_(pa.string())),
        ("image", pa.string()),
        ("image_key", pa.string()),
        ("target", pa.string()),
        ("codes", pa.list_(pa.uint16())),
        ("source", pa.string()),
        ("part", pa.int16()),
        ("length", pa.int32()),
        ("learned", pa.int32()),
    ]
)


@dataclass(frozen=True)
class Row:
    """One row: ``records``: ids of the records it was made from, one per turn; ``image``, ``target``: files of a part's
    folder; ``image_key``: hash of the image's content; ``codes``: of the target, raster order; ``part``: number of the
    recipe's data part; ``length``: its tokens, visual ones included; ``learned``: those the loss counts."""

    records: tuple[str, ...]
    task: str
    instructions: tuple[str, ...]
    responses: tuple[str, ...]
    image: str | None
    image_key: str | None
    target: str | None
    codes: np.ndarray | None
    source: str
    part: int
    length: int
    learned: int


@dataclass(frozen=True)
class PictureFolders:
    """Where the images of each part lie: in its data set, or extracted from its shards beside the run."""

    folders: tuple[Path, ...]
    extracted: Path

    def of(self, part: int, name: str) -> Path:
        """The folder that holds a part's image of that name."""
        own = self.extracted / str(part)
        return own if (own / name).is_file() else self.folders[part]


class RowTable:
    """The rows of one split, mapped from their file; a copy in another process maps it again."""

    def __init__(self, path: Path, pictures: PictureFolders) -> None:
        self.path = path
        self.pictures = pictures
        self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        self.lengths = self._table["length"].to_numpy()
        self.learned = self._table["learned"].to_numpy()
        self.parts = self._table["part"].to_numpy()
        self.tasks = np.array(self._table["task"].to_pylist(), dtype=str)
        drawing = [name for name in np.unique(self.tasks) if TASKS[str(name)].family == "generation"]
        self.families = np.isin(self.tasks, drawing).astype(np.int8)
        """0: reads, 1: draws."""

    def __reduce__(self) -> tuple[type["RowTable"], tuple[Path, PictureFolders]]:
        return RowTable, (self.path, self.pictures)

    def __len__(self) -> int:
        return self._table.num_rows

    def row(self, number: int) -> Row:
        """One row, read from disk."""
        values = {name: self._table[name][int(number)] for name in SCHEMA.names}
        codes = values.pop("codes")
        plain = {name: value.as_py() for name, value in values.items()}
        for name in ("records", "instructions", "responses"):
            plain[name] = tuple(plain[name])
        return Row(**plain, codes=codes.values.to_numpy() if codes.is_valid else None)

    def shown_image(self, row: Row) -> tuple[Path, str]:
        """Folder and name of the image a row shows; ``ValueError`` when it shows none."""
        if row.image is None:
            raise ValueError(f"the row of {row.records[0]} shows no image")
        return self.pictures.of(row.part, row.image), row.image


class RowColumns:
    """Rows on their way to a table, with what they add up to; a chunk of columns is closed every ``CHUNK`` rows."""

    def __init__(self) -> None:
        self.chunks: list[pa.RecordBatch] = []
        self.open: list[Row] = []
        self.rows = self.tokens = self.learned = 0

    def add(self, row: Row) -> None:
        """Append a row."""
        self.open.append(row)
        self.rows += 1
        self.tokens += row.length
        self.learned += row.learned
        if len(self.open) == CHUNK:
            self._close()

    def _close(self) -> None:
        columns = {name: [getattr(row, name) for row in self.open] for name in SCHEMA.names}
        self.chunks.append(pa.record_batch(columns, SCHEMA))
        self.open = []

    def table(self) -> pa.Table:
        """All rows added so far."""
        self._close()
        return pa.Table.from_batches(self.chunks, SCHEMA)


def prompt_of(
    builder: PromptBuilder,
    instructions: Sequence[str],
    responses: Sequence[str],
    *,
    has_image: bool,
    codes: np.ndarray | None,
) -> Prompt:
    """Ids and labels of a row: a picture to draw where there are ``codes``, else a conversation."""
    if codes is not None:
        return builder.drawing(instructions[0], has_image=has_image, codes=codes.tolist())
    return builder.reading(list(zip(instructions, responses, strict=True)), has_image=has_image)


def cut(prompt: Prompt, length: int) -> Prompt:
    """The first ``length`` positions of a row."""
    return Prompt(prompt.ids[:length], prompt.labels[:length], prompt.instruction[:length])


def write_rows(path: Path, table: pa.Table) -> None:
    """Write a table of rows whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        writer.write_table(table, max_chunksize=4096)
    partial.replace(path)

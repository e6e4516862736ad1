"""A data set's records in Parquet shards, with a manifest that is written last.

    FOLDER/data/train-00000.parquet       records, one split a file; loads as it is with the datasets library
    FOLDER/images/...                     picture files, unless they are embedded in the shards
    FOLDER/index.parquet                  shard and row of every id
    FOLDER/manifest.json                  every shard with rows, bytes and SHA-256; counts; settings
    FOLDER/README.md  leaks.json  quarantine.jsonl  withheld.jsonl

A folder without its manifest is unfinished.
"""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image as PillowImage
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from healthgpt.data.whole_file import whole_file
from healthgpt.errors import DataError
from healthgpt.record import Provenance, Record, Split, read_records

MANIFEST = "manifest.json"
INDEX = "index.parquet"
INDEX_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "source", "task", "split", "shard")] + [("row", pa.int64())]
)
ROW_GROUP = 5_000
ROW_GROUP_EMBEDDED = 100
"""Rows with pictures in them: whoever reads one of a row group holds them all."""
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""How the datasets library stores an image: its bytes with the name it had."""

_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("id", pa.string()),
    ("task", pa.string()),
    ("instruction", pa.string()),
    ("response", pa.string()),
    ("image", pa.string()),
    ("target_image", pa.string()),
    ("options", pa.list_(pa.string())),
    ("kind", pa.string()),
    ("split", pa.string()),
    ("source", pa.string()),
    ("licence", pa.string()),
    ("original_id", pa.string()),
    ("group", pa.string()),
    ("published_split", pa.string()),
    ("disjoint_split", pa.string()),
    ("transforms", pa.list_(pa.string())),
]


class Shard(BaseModel):
    """One file of records."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    split: Split
    rows: int
    size: int
    sha256: str


class Manifest(BaseModel):
    """What a finished data set holds and how it came about. No times: the same build gives the same bytes.

    ``counts``: records by split, then by ``source/task``. ``sources``: rows read, drafts, quarantined, dropped and
    oddities of each source. ``left_out``: drafts that became no record, by reason. ``images``: distinct picture files.
    ``settings``: the build's. ``mixture``: wanted and found of each part, where one was given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = 1
    shards: tuple[Shard, ...]
    counts: dict[str, dict[str, int]]
    sources: dict[str, dict[str, Any]]
    left_out: dict[str, int]
    images: int
    settings: dict[str, Any]
    mixture: dict[str, Any] = Field(default_factory=dict)


def schema(embedded: bool) -> pa.Schema:
    """Columns of a shard; with pictures embedded, ``image`` and ``target_image`` hold their bytes."""
    picture = PICTURE if embedded else pa.string()
    fields = [(name, picture if name in ("image", "target_image") else kind) for name, kind in _COLUMNS]
    if not embedded:
        return pa.schema(fields)
    features = {name: _feature(name) for name, _ in fields}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _feature(name: str) -> dict[str, Any]:
    if name in ("image", "target_image"):
        return {"_type": "Image"}
    text = {"dtype": "string", "_type": "Value"}
    return {"feature": text, "_type": "List"} if name in ("options", "transforms") else text


class Columns:
    """Records of one split on their way to a shard, as columns: what stays of a record is its text."""

    def __init__(self) -> None:
        self.values: dict[str, list[Any]] = {name: [] for name, _ in _COLUMNS}
        self.counts: Counter[str] = Counter()
        """Records by ``source/task``."""
        self._own = [(name, self.values[name].append) for name in self.values if name in Record.model_fields]
        self._origin = [(name, self.values[name].append) for name in self.values if name in Provenance.model_fields]

    def add(self, record: Record) -> None:
        """Append a record's fields."""
        fields, origin = record.__dict__, record.provenance.__dict__
        for name, append in self._own:
            append(fields[name])
        for name, append in self._origin:
            append(origin[name])
        self.counts[f"{origin['source']}/{fields['task']}"] += 1


def write_shard(path: Path, split: Split, records: Columns, folder: Path, *, embedded: bool) -> Shard | None:
    """Write one split's records whole or not at all; None when there are none."""
    columns, rows = records.values, records.counts.total()
    if not rows:
        return None
    row_group = ROW_GROUP_EMBEDDED if embedded else ROW_GROUP
    with whole_file(path, folder / "work") as partial:
        with pq.ParquetWriter(partial, schema(embedded), compression="zstd") as writer:
            for first in range(0, rows, row_group):
                some = {name: values[first : first + row_group] for name, values in columns.items()}
                if embedded:  # so many pictures at a time are in memory
                    contents: dict[str, bytes] = {}
                    for name in ("image", "target_image"):
                        some[name] = [file and _embedded(folder, file, contents) for file in some[name]]
                writer.write_table(pa.table(some, schema(embedded)))
        size, digest = partial.stat().st_size, file_digest(partial)
    return Shard(
        file=f"data/{path.name}", split=split, rows=rows, size=size, sha256=digest
    )  # fmt: skip


def _embedded(folder: Path, file: str, contents: dict[str, bytes]) -> dict[str, Any]:
    if file not in contents:
        contents[file] = (folder / file).read_bytes()
    return {"bytes": contents[file], "path": file}


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def load_manifest(folder: Path) -> Manifest:
    """The manifest of a finished data set; ``DataError`` when there is none or it is damaged."""
    path = folder / MANIFEST
    if not path.is_file():
        unfinished = (folder / "work").is_dir()
        raise DataError(
            f"{folder} is not a finished data set: no {MANIFEST}",
            next_step="run the same 'healthgpt data build' again; it goes on where it stopped"
            if unfinished
            else "build one with 'healthgpt data build'",
        )
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as fault:
        raise DataError(f"{path} is damaged", next_step="build the data set again") from fault


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest whole; with it the data set is finished."""
    partial = folder / (MANIFEST + ".partial")
    partial.write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    partial.replace(folder / MANIFEST)


def rows_of_shard(path: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a shard as dicts, read a row group at a time; ``DataError`` when the file is damaged."""
    try:
        with pq.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                yield from file.read_row_group(number, columns=columns).to_pylist()
    except (OSError, pa.ArrowInvalid) as fault:
        raise DataError(f"{path} is not a readable shard", found=str(fault)) from fault


def record_of_row(row: dict[str, Any]) -> Record:
    """A row of a shard as the validated record; an embedded picture is named by its path."""
    origin = {name: row[name] for name in Provenance.model_fields if row.get(name) is not None}
    own = {name: row[name] for name in Record.model_fields if name in row and row[name] is not None}
    for name in ("image", "target_image"):
        if isinstance(own.get(name), dict):
            own[name] = own[name]["path"]
    return Record(**own, provenance=Provenance(**origin))


def record_by_id(folder: Path, identity: str) -> Record:
    """One record by its id, through the index; ``DataError`` when there is none."""
    manifest = load_manifest(folder)
    found = pq.read_table(folder / INDEX, filters=[("id", "=", identity)]).to_pylist()
    if not found:
        raise DataError(f"no record '{identity}' in {folder}", next_step="see 'healthgpt data show' for ids")
    place = found[0]
    if place["shard"] not in [shard.file for shard in manifest.shards]:
        raise DataError(f"{folder / INDEX} names a shard that is not of this data set", found=str(place["shard"]))
    for number, row in enumerate(rows_of_shard(folder / place["shard"])):
        if number == place["row"]:
            return record_of_row(row)
    raise DataError(f"{folder / INDEX} does not fit its shards", next_step="build the data set again")


def records_of(folder: Path, split: Split | None = None) -> Iterator[Record]:
    """All records of a data folder, or those of one split: of its shards, or of its ``records.jsonl``."""
    yield from (record for record, _ in records_with_pictures(folder, split))


def records_with_pictures(folder: Path, split: Split | None = None) -> Iterator[tuple[Record, dict[str, bytes]]]:
    """Records with the contents of the pictures that are embedded beside them, by the name the record gives them."""
    if (folder / "records.jsonl").is_file():
        records = read_records(folder / "records.jsonl")
        yield from ((record, {}) for record in records if split in (None, record.split))
        return
    for shard in load_manifest(folder).shards:
        if split in (None, shard.split):
            for row in rows_of_shard(folder / shard.file):
                embedded = [row[name] for name in ("image", "target_image") if isinstance(row[name], dict)]
                yield record_of_row(row), {one["path"]: one["bytes"] for one in embedded}


def picture_of(folder: Path, name: str, content: bytes | None = None) -> np.ndarray:
    """Pixels of a record's image, uint8; ``DataError`` when it lies outside the folder or cannot be read."""
    path = folder / name
    if content is None and not path.resolve().is_relative_to(folder.resolve()):
        raise DataError("a record names an image outside its folder", found=name)
    try:
        with PillowImage.open(path if content is None else io.BytesIO(content)) as picture:
            return np.asarray(picture)
    except (OSError, ValueError, SyntaxError, PillowImage.DecompressionBombError) as fault:  # as Pillow's readers raise
        raise DataError(f"image {path} of a record cannot be read", found=str(fault)) from fault


def write_lines(path: Path, values: Iterable[dict[str, Any]], work: Path | None = None) -> int:
    """JSON lines, whole or not at all; returns how many. ``work``: as for ``whole_file``."""
    count = 0
    with whole_file(path, work) as partial, partial.open("w", encoding="utf-8") as stream:
        for value in values:
            stream.write(json.dumps(value, ensure_ascii=False) + "\n")
            count += 1
    return count

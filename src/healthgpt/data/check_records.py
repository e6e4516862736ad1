"""Checks of a data set's files of records: the files against the manifest, every row against the record's model.

What can be said only of all records together (repeated ids, groups in two splits, which images are named) is noted as
facts and settled in ``check.py``.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from healthgpt.data.check_images import EmbeddedPictures
from healthgpt.data.findings import Findings
from healthgpt.data.scattered import ScatteredFacts
from healthgpt.data.shards import Manifest, Shard, file_digest, record_of_row, rows_of_shard, schema
from healthgpt.errors import DataError
from healthgpt.record import Record, Split
from healthgpt.tasks import TASKS

RECORDS_FILE = "records.jsonl"
TOLD_EVERY = 2_000
"""Rows between two reports of progress."""


@dataclass
class RecordsSeen:
    """The reading of all records: what was found and noted, and the counts the manifest is compared with.

    ``facts``: under ``id ID``, ``group SOURCE/GROUP`` and ``image NAME``. ``counts``: valid records by split, then by
    ``source/task``.
    """

    folder: Path
    findings: Findings
    facts: ScatteredFacts
    embedded: EmbeddedPictures
    policy: str | None = None
    rows: int = 0
    records: int = 0
    files: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=dict)

    def read_shards(self, manifest: Manifest | None, progress: Callable[[int], None]) -> None:
        """All shards the manifest names, or without one all that are there."""
        found = {path.relative_to(self.folder).as_posix() for path in sorted(self.folder.glob("data/*.parquet"))}
        if manifest is None:
            for name in sorted(found):
                self._read_shard(name, None, progress)
            return
        for shard in manifest.shards:
            found.discard(shard.file)
            path = self.folder / shard.file
            if not path.resolve().is_relative_to(self.folder.resolve()) or not path.is_file():
                self.findings.add("shard missing", shard.file)
                continue
            self._compare(path, shard)
            before = self.rows
            whole = self._read_shard(shard.file, shard.split, progress)
            if whole and self.rows - before != shard.rows:
                self.findings.add("shard rows", f"{shard.file}: {self.rows - before:,} instead of {shard.rows:,}")
        for name in sorted(found):
            self.findings.add("shard unknown", name)

    def _compare(self, path: Path, shard: Shard) -> None:
        size = path.stat().st_size
        if size != shard.size:
            self.findings.add("shard changed", f"{shard.file}: {size:,} bytes instead of {shard.size:,}")
        elif file_digest(path) != shard.sha256:
            self.findings.add("shard changed", f"{shard.file}: another SHA-256")

    def _read_shard(self, name: str, split: Split | None, progress: Callable[[int], None]) -> bool:
        """Look at every row; whether the file could be read to its end."""
        path = self.folder / name
        self.files += 1
        try:
            self._compare_columns(name, pq.read_schema(path))
            for number, row in enumerate(rows_of_shard(path), start=1):
                self._look(f"{name} row {number}", row, split, lambda row: record_of_row(row))
                if self.rows % TOLD_EVERY == 0:
                    progress(self.rows)
        except (DataError, OSError, ValueError, pa.ArrowException) as fault:
            told = fault.found if isinstance(fault, DataError) else str(fault)
            self.findings.add("shard unreadable", f"{name}: {told}"[:300])
            return False
        return True

    def _compare_columns(self, name: str, found: pa.Schema) -> None:
        embedded = pa.types.is_struct(found.field("image").type) if "image" in found.names else False
        wanted = schema(embedded)
        different = [
            column.name
            for column in wanted
            if column.name not in found.names or found.field(column.name).type != column.type
        ]
        different += [column for column in found.names if column not in wanted.names]
        if different:
            self.findings.add("shard columns", f"{name}: {', '.join(different)}")

    def read_lines(self, progress: Callable[[int], None]) -> None:
        """All lines of ``records.jsonl``."""
        self.files += 1
        for number, line in self._lines():
            place = f"{RECORDS_FILE} line {number}"
            try:
                value = json.loads(line)
            except ValueError as fault:
                self.rows += 1
                self.findings.add("record", f"{place}: not JSON ({fault})")
                continue
            self._look(place, value if isinstance(value, dict) else {}, None, Record.model_validate)
            if self.rows % TOLD_EVERY == 0:
                progress(self.rows)

    def _lines(self) -> Iterator[tuple[int, str]]:
        # Bytes that are no UTF-8 are the fault of one line, which then does not fit the model.
        with (self.folder / RECORDS_FILE).open(encoding="utf-8", errors="surrogateescape") as lines:
            yield from enumerate(lines, start=1)

    def _look(
        self, place: str, row: dict[str, Any], split: Split | None, record_of: Callable[[dict[str, Any]], Record]
    ) -> None:
        self.rows += 1
        options, response = row.get("options"), row.get("response")
        if isinstance(options, list) and options and response not in options:
            # The model refuses these as well; told apart, as there the words are whole and only the choice is not.
            self.findings.add("options", f"{place} ({row.get('id')}): '{response}' is not among them")
            self._note_images(row, str(row.get("split")))
            return
        try:
            record = record_of(row)
        except (ValidationError, KeyError, TypeError) as fault:
            self.findings.add("record", f"{place} ({row.get('id')}): {_first(fault)}")
            self._note_images(row, str(row.get("split")))
            return
        self.records += 1
        origin = record.provenance
        self.counts.setdefault(record.split, Counter())[f"{origin.source}/{record.task}"] += 1
        self.facts.add(f"id {record.id}", "")
        group = origin.group if origin.group.startswith(f"{origin.source}/") else f"{origin.source}/{origin.group}"
        self.facts.add(f"group {group}", record.split)
        self._note_images(row, record.split)
        self._check_split(place, record, split)
        self._check_form(place, record)

    def _note_images(self, row: dict[str, Any], split: str) -> None:
        for column in ("image", "target_image"):
            value = row.get(column)
            name = self.embedded.look(value, split) if isinstance(value, dict) else value
            if isinstance(name, str) and name:
                # Embedded pictures have been looked at here; of those in files it is noted which are to be.
                self.facts.add(f"image {name}", "embedded" if isinstance(value, dict) else f"split {split}")
                if column == "target_image":
                    self.facts.add(f"image {name}", "target")

    def _check_split(self, place: str, record: Record, split: Split | None) -> None:
        origin = record.provenance
        by_policy = {
            "clean": origin.published_split, "published": origin.published_split, "disjoint": origin.disjoint_split
        }.get(self.policy or "")  # fmt: skip
        for wanted, why in ((split, "its shard"), (by_policy, "its origin")):
            if wanted is not None and wanted != record.split:
                self.findings.add("split", f"{place} ({record.id}): {record.split}, but {why} says {wanted}")
                return

    def _check_form(self, place: str, record: Record) -> None:
        if record.options:
            if len(set(record.options)) != len(record.options):
                self.findings.add("options", f"{place} ({record.id}): {', '.join(record.options)}")
            elif any(option not in record.instruction for option in record.options):
                self.findings.add("options", f"{place} ({record.id}): not all are in '{record.instruction[:120]}'")
        task = TASKS[record.task]
        if task.family == "generation":
            lacking = [
                name
                for name, needed, given in (
                    ("image", task.takes_image, record.image),
                    ("target_image", True, record.target_image),
                )
                if needed and not given
            ]
            if lacking:
                self.findings.add("images of a task", f"{place} ({record.id}): {record.task} without {lacking[0]}")


def _first(fault: Exception) -> str:
    if isinstance(fault, ValidationError):
        first = fault.errors()[0]
        return f"{first['msg']} at {'.'.join(map(str, first['loc'])) or 'top level'}"
    return f"{type(fault).__name__}: {fault}"

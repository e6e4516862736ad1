"""The end of a build: the shards' index, what was left out, the data card, and the manifest that makes it a data set.

FOLDER/index.parquet     id, source, task, split, shard and row of every record
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from healthgpt.data.card import data_card
from healthgpt.data.drafts import stable_number
from healthgpt.data.leaks import LeakReport
from healthgpt.data.settings import BuildSettings
from healthgpt.data.settle import Settled, source_totals
from healthgpt.data.shards import INDEX, INDEX_SCHEMA, Manifest, Shard, write_lines, write_manifest
from healthgpt.data.whole_file import whole_file


def finish(
    folder: Path, settings: BuildSettings, summaries: list[dict[str, Any]], sealed: list[dict[str, Any]],
    settled: Settled, report: LeakReport,
) -> Manifest:  # fmt: skip
    """Write everything that is beside the shards, the manifest last."""
    work = folder / "work"
    shards = tuple(Shard(**shard) for result in sealed for shard in result["shards"])
    write_index(folder, shards)
    if settings.images == "files":
        remove_unused_images(folder, shards)
    (folder / "leaks.json").write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    join_lines(work / "refused", folder / "quarantine.jsonl")
    join_lines(work / "withheld", folder / "withheld.jsonl")
    manifest = _manifest(shards, sealed, summaries, settled, settings, folder)
    (folder / "README.md").write_text(data_card(manifest, report), encoding="utf-8")
    write_manifest(folder, manifest)
    return manifest


def write_index(folder: Path, shards: tuple[Shard, ...]) -> None:
    """Where every record lies, a row group a shard."""
    with whole_file(folder / INDEX, folder / "work") as partial, pq.ParquetWriter(partial, INDEX_SCHEMA) as writer:
        for shard in shards:
            table = pq.read_table(folder / shard.file, columns=["id", "source", "task", "split"])
            rows = pa.array(np.arange(shard.rows), pa.int64())
            columns = [*table.columns, pa.array([shard.file] * shard.rows, pa.string()), rows]
            writer.write_table(pa.table(columns, INDEX_SCHEMA))


def remove_unused_images(folder: Path, shards: tuple[Shard, ...]) -> None:
    """Remove pictures that were stored for rows which became no record: withheld ones, or not in the mixture."""
    used = [np.zeros(0, np.uint64)]
    for shard in shards:
        table = pq.read_table(folder / shard.file, columns=["image", "target_image"])
        names = {name for column in table.columns for name in column.unique().to_pylist() if name is not None}
        used.append(np.array([stable_number(name) for name in names], np.uint64))
    known = np.unique(np.concatenate(used))
    for path in (folder / "images").rglob("*"):
        if path.is_file():
            number = np.uint64(stable_number(path.relative_to(folder).as_posix()))
            place = np.searchsorted(known, number)
            if place == len(known) or known[place] != number:
                path.unlink()


def told(settings: BuildSettings) -> dict[str, Any]:
    """The settings as the manifest has them: without places, which say nothing about the data."""
    return settings.model_dump(mode="json", exclude={"sources"}) | {"sources": list(settings.sources)}


def join_lines(pieces: Path, path: Path) -> None:
    """All lines of the pieces, in the order of their names, as one file."""
    rows = (json.loads(line) for piece in sorted(pieces.glob("*.jsonl")) for line in _lines(piece))
    write_lines(path, rows, pieces.parent)


def _lines(path: Path) -> Iterable[str]:
    with path.open(encoding="utf-8") as stream:
        yield from stream


def _manifest(
    shards: tuple[Shard, ...], sealed: list[dict[str, Any]], summaries: list[dict[str, Any]], settled: Settled,
    settings: BuildSettings, folder: Path,
) -> Manifest:  # fmt: skip
    counts: dict[str, Counter[str]] = {}
    left_out: Counter[str] = Counter()
    for result in sealed:
        left_out.update(result["left_out"])
        left_out["withheld"] += result["withheld"]
        for split, own in result["counts"].items():
            counts.setdefault(split, Counter()).update(own)
    mixture: dict[str, Any] = {}
    if settings.mixture is not None:
        mixture = {
            "name": settings.mixture.name,
            "parts": [
                {"sources": list(part.sources), "tasks": list(part.tasks), "kinds": list(part.kinds)}
                | {name: row[name] for name in ("wanted", "found", "taken")}
                for part, row in zip(settings.mixture.parts, settled.thresholds, strict=True)
            ],
        }
    return Manifest(
        shards=shards,
        counts={split: dict(sorted(own.items())) for split, own in sorted(counts.items())},
        sources=source_totals(summaries),
        left_out=dict(sorted(left_out.items())),
        images=sum(1 for path in (folder / "images").rglob("*") if path.is_file()),
        settings=told(settings),
        mixture=mixture,
    )

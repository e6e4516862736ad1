"""Drafts to final records: split, form and phrasing are given, the record is validated and written to its shard."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from healthgpt.data.choices import AnswerPool, forms_of, open_form, single_choice
from healthgpt.data.settings import BuildSettings
from healthgpt.data.settle import final_splits, parts_of, rank_of, read_settled
from healthgpt.data.shards import Columns, Shard, write_lines, write_shard
from healthgpt.data.templates import phrasing
from healthgpt.data.unit_splits import SPLITS, UnitSplits
from healthgpt.data.whole_file import whole_file
from healthgpt.record import Record, Split
from healthgpt.sources.catalog import SOURCES
from healthgpt.tasks import TASKS

DRAFTS_PER_SHARD = 50_000
SAME_PICTURE = "reconstruction of a picture again"
WITHHELD_REASON = "shares an image, a patient or a near-duplicate with held-out records"


@dataclass(frozen=True)
class SealJob:
    """Neighbouring chunks that become one shard a split."""

    number: int
    chunks: tuple[int, ...]
    sources: tuple[str, ...]


def plan_sealing(summaries: list[dict[str, Any]]) -> list[SealJob]:
    """Chunks gathered, in order, until a shard is full."""
    jobs: list[SealJob] = []
    chunks: list[int] = []
    drafts = 0
    for chunk, summary in enumerate(summaries):
        chunks.append(chunk)
        drafts += summary["drafts"]
        if drafts >= DRAFTS_PER_SHARD or chunk == len(summaries) - 1:
            jobs.append(SealJob(len(jobs), tuple(chunks), tuple(summaries[one]["source"] for one in chunks)))
            chunks, drafts = [], 0
    return jobs


def seal(job: SealJob, settings: BuildSettings, folder: Path) -> dict[str, Any]:
    """Write the job's shards, unless that is done; returns what it wrote: shards, counts, withheld."""
    work = folder / "work"
    done = work / "sealed" / f"{job.number:05d}.json"
    if done.is_file():
        sealed: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return sealed
    # A worker that outlives a build may meet another one in the same place: it reads again what has changed.
    settled, pool = _settled(work / "settled.json", (work / "settled.json").stat().st_mtime_ns)
    splits = _unit_splits(work / "unit_splits.npz", (work / "unit_splits.npz").stat().st_mtime_ns)
    records = {split: Columns() for split in SPLITS}
    withheld: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    for chunk, source in zip(job.chunks, job.sources, strict=True):
        table = pq.read_table(work / "drafts" / f"{chunk:06d}.parquet")
        codes = final_splits(table, settings.splits, splits)
        fresh = splits.fresh_of(table["unit"].to_numpy())
        repeated = frozenset(settled.repeated.get(chunk, ()))
        mixed = _in_mixture(table, source, settings, settled.thresholds)
        for place, row in enumerate(_rows(table)):
            if place in repeated:
                left_out[SAME_PICTURE if row["task"] == "reconstruct" else "repeated id"] += 1
            elif codes[place] == len(SPLITS):
                withheld.append({"id": record_id(source, row["key"]), "group": row["group"], "why": WITHHELD_REASON})
            elif codes[place] == SPLITS.index("train") and not mixed[place]:
                left_out["not in the mixture"] += 1
            else:
                split = SPLITS[codes[place]]
                records[split].add(final_record(row, source, split, SPLITS[fresh[place]], pool, settings))
    shards = _write(job, records, settings, folder)
    write_lines(work / "withheld" / f"{job.number:05d}.jsonl", withheld)
    sealed = {
        "shards": [shard.model_dump() for shard in shards],
        "counts": {split: dict(sorted(own.counts.items())) for split, own in records.items() if own.counts},
        "withheld": len(withheld),
        "left_out": dict(sorted(left_out.items())),
    }
    with whole_file(done) as partial:
        partial.write_text(json.dumps(sealed), encoding="utf-8")
    return sealed


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Rows as dicts; a column at a time is several times faster than ``Table.to_pylist``."""
    names = table.column_names
    columns = (table[name].to_pylist() for name in names)
    return (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))


def _write(job: SealJob, records: dict[Split, Columns], settings: BuildSettings, folder: Path) -> list[Shard]:
    shards = []
    for split, own in records.items():
        path = folder / "data" / f"{split}-{job.number:05d}.parquet"
        shard = write_shard(path, split, own, folder, embedded=settings.images == "embed")
        if shard is not None:
            shards.append(shard)
    return shards


def record_id(source: str, key: str) -> str:
    """The id of a record: the source's name, then the publisher's own id."""
    return key if key.startswith(f"{source}/") else f"{source}/{key}"


def final_record(
    row: dict[str, Any], source: str, split: str, fresh: str, pool: AnswerPool, settings: BuildSettings
) -> Record:
    """A draft with its form and phrasing, validated."""
    identity = record_id(source, row["key"])
    instruction, response, options = row["instruction"], row["response"], tuple(row["options"])
    transforms = list(row["transforms"])
    task = row["task"]
    if not row["settled"]:
        if TASKS[task].family == "generation":
            instruction = f"{phrasing(task, identity, settings.seed)} {instruction}".strip()
        elif row["kind"] in ("caption", "report"):
            instruction = instruction or phrasing(task, identity, settings.seed, saying=row["kind"])
        else:
            posed = open_form(instruction, response)
            # Held-out questions keep the form in which benchmarks are scored.
            if split == "train" and "choice" in forms_of(identity, settings.choice_share, settings.seed):
                choice = single_choice(
                    identity, instruction, response, pool, settings.seed, source=source, kind=row["kind"]
                )
                if choice is not None:
                    posed = choice
                    transforms.append("single choice with drawn options")
            instruction, response, options = posed
    # The packs of nano are divided by us, not by who published them.
    published = row["split"] or None if SOURCES[source].published else None
    # Validated in one go: building the two models one after the other takes half as long again.
    return Record.model_validate(
        {
            "id": identity, "task": task, "instruction": instruction, "response": response, "image": row["image"],
            "target_image": row["target"], "options": options, "kind": row["kind"], "split": split,
            "provenance": {
                "source": source, "licence": row["licence"] or SOURCES[source].licence,
                "original_id": row["original"], "group": f"{source}/{row['group']}",
                "published_split": published, "disjoint_split": fresh, "transforms": transforms,
            },
        }
    )  # fmt: skip


def _in_mixture(
    table: pa.Table, source: str, settings: BuildSettings, thresholds: tuple[dict[str, int | None], ...]
) -> np.ndarray:
    """Whether each draft may be in the training split as far as the mixture goes."""
    if settings.mixture is None:
        return np.ones(table.num_rows, bool)
    parts = parts_of(table, source, settings.mixture)
    ranks = rank_of(table["number"].to_numpy(), settings.seed)
    taken = np.zeros(table.num_rows, bool)
    for number, row in enumerate(thresholds):
        limit = row["threshold"]
        taken |= (parts == number) & (True if limit is None else ranks <= np.uint64(limit))
    return taken


@lru_cache(maxsize=1)
def _settled(path: Path, changed: int) -> tuple[Any, AnswerPool]:
    settled = read_settled(path)
    return settled, AnswerPool.from_json(settled.pool)


@lru_cache(maxsize=1)
def _unit_splits(path: Path, changed: int) -> UnitSplits:
    return UnitSplits.load(path)

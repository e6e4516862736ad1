"""What can be decided only when every chunk is drafted: repeated ids, splits without leaks, the answers that serve as
distractors, and which records a mixture takes.

Tables of all rows are read column by column. What stays in memory is a few hundred bytes for each distinct image, 10
for each group, and the ids of one part of the id space at a time (``IDS_AT_ONCE``, 16 bytes each).
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from healthgpt.data.choices import AnswerPool
from healthgpt.data.mixture import Mixture, MixturePart
from healthgpt.data.settings import BuildSettings, SplitPolicy
from healthgpt.data.unit_splits import SPLITS, UNPUBLISHED, UnitSplits
from healthgpt.tasks import TASKS

IDS_AT_ONCE = 1 << 24
"""So many ids are compared at a time; more than that are looked at in parts of the id space."""
RANK_BINS = 1 << 16


class Settled(BaseModel):
    """``repeated``: rows of each chunk whose id an earlier row has. ``pool``: answers that serve as wrong options.
    ``thresholds``: for each part of the mixture the largest rank it takes, with what was wanted and found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repeated: dict[int, tuple[int, ...]]
    pool: dict[str, Any]
    thresholds: tuple[dict[str, int | None], ...] = ()


def settle(summaries: list[dict[str, Any]], settings: BuildSettings, work: Path, splits: UnitSplits) -> Settled:
    """Decide for all drafts of the chunks, in the order of ``summaries``."""
    pool = AnswerPool()
    for summary in summaries:
        pool = pool | AnswerPool.from_json(summary["pool"])
    drafts = [work / "drafts" / f"{number:06d}.parquet" for number in range(len(summaries))]
    repeated = repeated_rows(drafts, sum(summary["drafts"] for summary in summaries))
    thresholds: tuple[dict[str, int | None], ...] = ()
    if settings.mixture is not None:
        sources = [summary["source"] for summary in summaries]
        thresholds = mixture_thresholds(drafts, sources, settings.mixture, settings, splits, repeated)
    return Settled(repeated=repeated, pool=pool.to_json(), thresholds=thresholds)


def repeated_rows(drafts: list[Path], total: int) -> dict[int, tuple[int, ...]]:
    """Rows, by chunk, whose id was seen in an earlier row: a part of the id space at a time."""
    found: dict[int, list[int]] = {}
    parts = total // IDS_AT_ONCE + 1
    for part in range(parts):
        numbers, chunks, rows = [], [], []
        for chunk, path in enumerate(drafts):
            column = _columns(path, ["number"])["number"].to_numpy()
            own = np.flatnonzero(column % parts == part)
            numbers.append(column[own])
            chunks.append(np.full(len(own), chunk, np.uint32))
            rows.append(own.astype(np.uint32))
        flat = np.concatenate(numbers) if numbers else np.zeros(0, np.uint64)
        order = np.argsort(flat, kind="stable")
        again = order[1:][flat[order][1:] == flat[order][:-1]]
        chunk_of, row_of = (np.concatenate(one) if one else np.zeros(0, int) for one in (chunks, rows))
        for place in again:
            found.setdefault(int(chunk_of[place]), []).append(int(row_of[place]))
    return {chunk: tuple(sorted(found[chunk])) for chunk in sorted(found)}


def held_out_units(drafts: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """(uint64 units, int8 codes) of published held-out drafts: of records without an image no use of one tells."""
    units, codes = [np.zeros(0, np.uint64)], [np.zeros(0, np.int8)]
    for path in drafts:
        table = _columns(path, ["unit", "split"])
        published = _published(table)
        some = published > SPLITS.index("train")
        # One of each is enough; a unit has many drafts.
        both = np.unique(np.stack([table["unit"].to_numpy()[some], published[some].astype(np.uint64)]), axis=1)
        units.append(both[0])
        codes.append(both[1].astype(np.int8))
    return np.concatenate(units), np.concatenate(codes)


def _published(table: pa.Table) -> np.ndarray:
    return np.array([SPLITS.index(one) if one else UNPUBLISHED for one in table["split"].to_pylist()], np.int8)


def final_splits(table: pa.Table, policy: SplitPolicy, splits: UnitSplits) -> np.ndarray:
    """Code of each draft's split: an index into ``SPLITS``, or ``WITHHELD``."""
    return splits.decide(table["unit"].to_numpy(), _published(table), policy)


def rank_of(numbers: np.ndarray, seed: int) -> np.ndarray:
    """A pseudo-random order of ids, uint64, another for each seed (splitmix64's finaliser; Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        mixed = numbers + np.uint64((0x9E3779B97F4A7C15 * (seed + 1)) % 2**64)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


def parts_of(table: pa.Table, source: str, mixture: Mixture) -> np.ndarray:
    """Number of the mixture's part that has each draft; -1 where none does."""
    tasks, kinds = table["task"].to_pylist(), table["kind"].to_pylist()
    known: dict[tuple[str, str], int] = {}
    for key in set(zip(tasks, kinds, strict=True)):
        matching = [number for number, part in enumerate(mixture.parts) if _matches(part, source, *key)]
        known[key] = matching[0] if matching else -1
    return np.array([known[key] for key in zip(tasks, kinds, strict=True)], np.int64)


def _matches(part: MixturePart, source: str, task: str, kind: str) -> bool:
    return (
        source in part.sources
        and (not part.tasks or task in part.tasks)
        and (not part.kinds or kind in part.kinds)
        and (part.family is None or TASKS[task].family == part.family)
    )


def mixture_thresholds(
    drafts: list[Path], sources: list[str], mixture: Mixture, settings: BuildSettings, splits: UnitSplits,
    repeated: dict[int, tuple[int, ...]],
) -> tuple[dict[str, int | None], ...]:  # fmt: skip
    """For each part the rank up to which its training records are taken, so that exactly ``count`` are.

    Two passes with a histogram of ranks between them: memory does not depend on how many records there are.
    """
    counts = np.zeros((len(mixture.parts), RANK_BINS), np.int64)
    for owner, ranks in _part_ranks(drafts, sources, mixture, settings, splits, repeated):
        counts[owner] += np.bincount((ranks >> np.uint64(48)).astype(np.int64), minlength=RANK_BINS)
    edges = {}
    for number, part in enumerate(mixture.parts):
        before = np.concatenate(([0], np.cumsum(counts[number])))
        if part.count is not None and before[-1] > part.count:
            edges[number] = int(np.searchsorted(before, part.count, side="left")) - 1
    at_edge: dict[int, list[np.ndarray]] = {number: [] for number in edges}
    for owner, ranks in _part_ranks(drafts, sources, mixture, settings, splits, repeated):
        if owner in edges:
            at_edge[owner].append(ranks[(ranks >> np.uint64(48)) == edges[owner]])
    results: list[dict[str, int | None]] = []
    for number, part in enumerate(mixture.parts):
        found = int(counts[number].sum())
        threshold = None
        if number in edges:
            missing = int(part.count or 0) - int(counts[number][: edges[number]].sum())
            threshold = int(np.sort(np.concatenate(at_edge[number]))[missing - 1])
        taken = found if threshold is None else int(part.count or 0)
        results.append({"wanted": part.count, "found": found, "taken": taken, "threshold": threshold})
    return tuple(results)


def _part_ranks(
    drafts: list[Path], sources: list[str], mixture: Mixture, settings: BuildSettings, splits: UnitSplits,
    repeated: dict[int, tuple[int, ...]],
) -> Iterator[tuple[int, np.ndarray]]:  # fmt: skip
    for chunk, path in enumerate(drafts):
        table = _columns(path, ["number", "unit", "split", "task", "kind"])
        usable = final_splits(table, settings.splits, splits) == SPLITS.index("train")
        usable[list(repeated.get(chunk, ()))] = False
        parts = parts_of(table, sources[chunk], mixture)
        ranks = rank_of(table["number"].to_numpy(), settings.seed)
        for part in np.unique(parts[usable]):
            if part >= 0:
                yield int(part), ranks[usable & (parts == part)]


def _columns(path: Path, names: list[str]) -> pa.Table:
    return pq.read_table(path, columns=names)


def source_totals(summaries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows, drafts, refused, dropped and oddities of each source, in the order of the build."""
    totals: dict[str, dict[str, Any]] = {}
    for summary in summaries:
        own = totals.setdefault(
            summary["source"], {"rows": 0, "drafts": 0, "quarantined": 0, "dropped": Counter(), "oddities": Counter()}
        )
        own["rows"] += summary["rows"]
        own["drafts"] += summary["drafts"]
        own["quarantined"] += summary["refused"]
        own["dropped"].update(summary["dropped"])
        own["oddities"].update(summary["oddities"])
    for own in totals.values():
        own["dropped"], own["oddities"] = dict(sorted(own["dropped"].items())), dict(sorted(own["oddities"].items()))
    return totals


def read_settled(path: Path) -> Settled:
    """What ``settle`` decided, from the file the build wrote."""
    return Settled.model_validate(json.loads(path.read_text(encoding="utf-8")))

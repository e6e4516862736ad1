"""From the uses of images that all chunks noted: which units are tied to which, and the report of leaks."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from healthgpt.data.leaks import LeakReport, find_leaks
from healthgpt.data.picture_table import Pictures, link
from healthgpt.data.unit_splits import SPLITS, UNPUBLISHED, UnitSplits
from healthgpt.imaging.fingerprint import WORDS


@dataclass(frozen=True)
class _Uses:
    """The uses of images that one chunk noted, a column each; a picture between bars stands there twice."""

    source: str
    names: list[str]
    splits: list[str]
    groups: list[str]
    contents: list[str]
    units: np.ndarray
    fingerprints: np.ndarray

    @classmethod
    def read(cls, path: Path, source: str) -> "_Uses":
        table = pq.read_table(path)
        words = table["fingerprint"].combine_chunks()
        prints = words.value_lengths().to_numpy(zero_copy_only=False) // WORDS
        rows = np.repeat(np.arange(table.num_rows), np.maximum(prints, 1))
        fingerprints = np.zeros((len(rows), WORDS), np.uint64)
        fingerprints[np.repeat(prints > 0, np.maximum(prints, 1))] = words.flatten().to_numpy().reshape(-1, WORDS)
        table = table.take(pa.array(rows))
        names = table["name"].to_pylist()
        contents = [
            digest or f"{source}/{name}" for digest, name in zip(table["sha256"].to_pylist(), names, strict=True)
        ]
        splits = [sys.intern(split) for split in table["split"].to_pylist()]
        return cls(
            source, names, splits, table["group"].to_pylist(), contents, table["unit"].to_numpy(), fingerprints
        )  # fmt: skip


def link_pictures(tables: Sequence[Path], sources: Sequence[str]) -> tuple[UnitSplits, LeakReport]:
    """``tables``: one file of picture uses for each chunk; ``sources``: the source of each.

    An image that is named but not there (words only) is compared by its name and group alone.
    """
    uses = [_Uses.read(path, source) for path, source in zip(tables, sources, strict=True)]
    pictures = Pictures(
        sources=[one.source for one in uses for _ in one.names],
        images=[name for one in uses for name in one.names],
        splits=[split for one in uses for split in one.splits],
        groups=[group for one in uses for group in one.groups],
        sha256=[content for one in uses for content in one.contents],
        fingerprints=np.concatenate([np.zeros((0, WORDS), np.uint64), *(one.fingerprints for one in uses)]),
    )
    unit_numbers = np.concatenate([np.zeros(0, np.uint64), *(one.units for one in uses)])
    links = link(pictures)
    published = np.array([SPLITS.index(one) if one else UNPUBLISHED for one in pictures.splits], np.int8)  # type: ignore[arg-type]
    names = list(zip(pictures.sources, pictures.groups, strict=True))
    leaders = _leaders(links.component, names, unit_numbers)
    report = find_leaks(pictures, links)
    stored = _stored(report.named(), tables, sources)
    return UnitSplits.of(unit_numbers, links.component, leaders, published), report.model_copy(update={"files": stored})


def _stored(names: frozenset[str], tables: Sequence[Path], sources: Sequence[str]) -> dict[str, str]:
    """The stored file of each of those ``source/name`` that has one."""
    found: dict[str, str] = {}
    for path, source in zip(tables, sources, strict=True):
        for use in pq.read_table(path, columns=["name", "file"]).to_pylist():
            if use["file"] and f"{source}/{use['name']}" in names:
                found[f"{source}/{use['name']}"] = use["file"]
    return dict(sorted(found.items()))


def _leaders(components: np.ndarray, names: list[tuple[str, str]], units: np.ndarray) -> np.ndarray:
    """For each component the unit whose source and group come first in the alphabet."""
    leaders = np.zeros(int(components.max(initial=-1)) + 1, np.uint64)
    # Written from the last name to the first, so that the first stays.
    for row in sorted(range(len(names)), key=names.__getitem__, reverse=True):
        leaders[components[row]] = units[row]
    return leaders

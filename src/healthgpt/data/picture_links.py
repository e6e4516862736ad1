"""From the uses of images that all chunks noted: which units are tied to which, and the report of leaks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from healthgpt.data.leaks import LeakReport, find_leaks
from healthgpt.data.picture_table import Pictures, link
from healthgpt.data.unit_splits import SPLITS, UNPUBLISHED, UnitSplits
from healthgpt.imaging.fingerprint import WORDS


def link_pictures(tables: Sequence[Path], sources: Sequence[str]) -> tuple[UnitSplits, LeakReport]:
    """``tables``: one file of picture uses for each chunk; ``sources``: the source of each.

    An image that is named but not there (words only) is compared by its name and group alone.
    """
    rows: list[tuple[str, str, str, str, str]] = []
    units: list[int] = []
    prints: list[list[int]] = []
    for path, source in zip(tables, sources, strict=True):
        for use in pq.read_table(path).to_pylist():
            own = use["fingerprint"] or [0] * WORDS
            for first in range(0, len(own), WORDS):  # a picture between bars has a second one
                content = use["sha256"] or f"{source}/{use['name']}"
                rows.append((source, use["name"], use["split"], use["group"], content))
                units.append(use["unit"])
                prints.append(own[first : first + WORDS])
    names: list[tuple[str, ...]] = list(zip(*rows, strict=True)) or [()] * 5
    pictures = Pictures(
        sources=names[0], images=names[1], splits=names[2], groups=names[3], sha256=names[4],
        fingerprints=np.array(prints, np.uint64).reshape(-1, WORDS),
    )  # fmt: skip
    links = link(pictures)
    unit_numbers = np.array(units, np.uint64)
    published = np.array([SPLITS.index(one) if one else UNPUBLISHED for one in names[2]], np.int8)
    leaders = _leaders(links.component, list(zip(names[0], names[3], strict=True)), unit_numbers)
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

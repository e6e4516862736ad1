"""Mixtures: exact counts, the same choice in any order of reading, and files that are told what is wrong with them."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthgpt.data.drafts import SCHEMA
from healthgpt.data.mixture import Mixture, MixturePart, load_mixture, mixture_names
from healthgpt.data.settings import BuildSettings
from healthgpt.data.settle import mixture_thresholds, rank_of, repeated_rows
from healthgpt.data.unit_splits import UnitSplits
from healthgpt.errors import RecipeError
from healthgpt.sources.catalog import SOURCES

NO_UNITS = UnitSplits(np.zeros(0, np.uint64), np.zeros(0, np.int8), np.zeros(0, np.int8))


def write_drafts(path: Path, numbers: np.ndarray) -> Path:
    """Training drafts with these id numbers."""
    count = len(numbers)
    columns = {
        "number": pa.array(numbers, pa.uint64()),
        "unit": pa.array(numbers, pa.uint64()),
        "task": ["ct"] * count,
        "kind": ["organ"] * count,
        "split": ["train"] * count,
    }
    empty = {field.name: pa.nulls(count, field.type) for field in SCHEMA if field.name not in columns}
    pq.write_table(pa.table({**columns, **empty}).select(SCHEMA.names).cast(SCHEMA), path)
    return path


@settings(deadline=None, max_examples=25)
@given(count=st.integers(0, 300), wanted=st.integers(1, 350), cut=st.integers(0, 300), seed=st.integers(0, 5))
def test_exactly_as_many_are_taken_as_wanted_wherever_chunks_are_cut(
    count: int, wanted: int, cut: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("drafts")
    numbers = np.random.default_rng(count).integers(0, 2**63, count, np.uint64)
    mixture = Mixture(name="some", parts=(MixturePart(sources=("slake",), count=wanted),))
    plan = BuildSettings(sources={}, seed=seed, mixture=mixture)
    told = []
    for pieces in ([numbers], [numbers[:cut], numbers[cut:]]):
        paths = [write_drafts(folder / f"{len(pieces)}-{n}.parquet", piece) for n, piece in enumerate(pieces)]
        told.append(mixture_thresholds(paths, ["slake"] * len(paths), mixture, plan, NO_UNITS, {}))
    assert told[0] == told[1]
    row = told[0][0]
    limit = row["threshold"]
    taken = count if limit is None else int((rank_of(numbers, seed) <= np.uint64(limit)).sum())
    assert taken == row["taken"] == min(count, wanted)
    assert row["found"] == count


def test_a_repeated_id_is_found_across_chunks(tmp_path: Path) -> None:
    paths = [
        write_drafts(tmp_path / f"{n}.parquet", np.array(numbers, np.uint64))
        for n, numbers in enumerate([[5, 6, 5], [], [6, 9]])
    ]
    assert repeated_rows(paths, 5) == {0: (2,), 2: (0,)}


def test_ranks_are_another_order_for_another_seed_and_spread_evenly() -> None:
    numbers = np.arange(20_000, dtype=np.uint64)
    first, second = rank_of(numbers, 0), rank_of(numbers, 1)
    assert len(np.unique(first)) == len(numbers)
    assert abs(np.corrcoef(first.astype(float), second.astype(float))[0, 1]) < 0.05
    assert abs(first.astype(float).mean() / 2**64 - 0.5) < 0.02


def test_bundled_mixtures_name_known_sources_and_the_papers_totals() -> None:
    totals = {}
    for name in mixture_names():
        mixture = load_mixture(name)
        assert mixture.name == name
        assert all(source in SOURCES for part in mixture.parts for source in part.sources)
        totals[name] = sum(part.count or 0 for part in mixture.parts)
    assert totals["mixed-47k"] == 47_000
    assert totals["stage3-generation"] == 783_045
    assert totals["stage3-comprehension"] - 665_298 == 765_802


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("parts: [", "is not YAML"),
        ("name: a\nparts: []", "at least one part"),
        ("name: a\nparts: [{sources: [slake], coutn: 3}]", "parts.0.coutn"),
        ("name: a\nparts: [{sources: [slake], count: 0}]", "greater than or equal to 1"),
        ("name: a\nparts: [{sources: [slaek]}]", "did you mean 'slake'"),
        ("name: a\nparts: [{sources: [slake], tasks: [xray]}]", "unknown task 'xray'"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(RecipeError, match=re.escape(told)):
        load_mixture(str(tmp_path / "mine.yaml"))

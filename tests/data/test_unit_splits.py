"""Splits by units: what the report of leaks counts is what the records get."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthgpt.data.drafts import unit_number
from healthgpt.data.picture_table import Pictures, link
from healthgpt.data.splits import published_without_leaks
from healthgpt.data.unit_splits import SPLITS, WITHHELD, UnitSplits, fresh_split
from healthgpt.sources.base import split_of

USES = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.integers(0, 3), st.sampled_from(SPLITS)), max_size=12
)
"""Source, content, group and published split of some uses of images."""


def arrays(uses: list[tuple[str, int, int, str]]) -> tuple[Pictures, np.ndarray, np.ndarray]:
    pictures = Pictures(
        sources=[use[0] for use in uses],
        images=[f"{use[1]}-{use[2]}" for use in uses],
        splits=[use[3] for use in uses],
        groups=[f"g{use[2]}" for use in uses],
        sha256=[str(use[1]) for use in uses],
        fingerprints=np.zeros((len(uses), 4), np.uint64),
    )
    units = np.array([unit_number(use[0], f"g{use[2]}") for use in uses], np.uint64)
    return pictures, units, np.array([SPLITS.index(use[3]) for use in uses], np.int8)  # type: ignore[arg-type]


@given(USES)
def test_records_and_report_follow_one_rule(uses: list[tuple[str, int, int, str]]) -> None:
    pictures, units, published = arrays(uses)
    links = link(pictures)
    leaders = np.zeros(int(links.component.max(initial=-1)) + 1, np.uint64)
    decided = UnitSplits.of(units, links.component, leaders, published).decide(units, published, "clean")
    named = [(*SPLITS, "withheld")[code] for code in decided]
    assert named == published_without_leaks(pictures, links)


@given(USES)
def test_no_component_is_used_in_two_splits(uses: list[tuple[str, int, int, str]]) -> None:
    pictures, units, published = arrays(uses)
    component = link(pictures).component
    leaders = np.random.default_rng(0).integers(0, 2**63, int(component.max(initial=-1)) + 1, np.uint64)
    splits = UnitSplits.of(units, component, leaders, published)
    for policy in ("clean", "disjoint"):
        decided = splits.decide(units, published, policy)  # type: ignore[arg-type]
        for one in set(component.tolist()):
            assert len(set(decided[component == one].tolist()) - {WITHHELD}) <= 1
    assert splits.decide(units, published, "published").tolist() == published.tolist()


@pytest.mark.parametrize("group", ["1", "patient-7", "ä/b"])
def test_a_unit_tied_to_no_other_has_the_split_of_its_name(group: str) -> None:
    unit = np.array([unit_number("slake", group)], np.uint64)
    assert SPLITS[fresh_split(unit)[0]] == split_of("slake", group)
    known = UnitSplits.of(np.zeros(0, np.uint64), np.zeros(0, int), np.zeros(0, np.uint64), np.zeros(0, np.int8))
    assert SPLITS[known.fresh_of(unit)[0]] == split_of("slake", group)


def test_saved_equals_loaded(tmp_path: Path) -> None:
    _, units, published = arrays([("a", 1, 1, "train"), ("a", 1, 2, "test"), ("b", 3, 1, "train")])
    splits = UnitSplits.of(units, np.array([0, 0, 1]), units[1:], published)
    splits.save(tmp_path / "splits.npz")
    again = UnitSplits.load(tmp_path / "splits.npz")
    assert all((getattr(splits, name) == getattr(again, name)).all() for name in ("units", "fresh", "held_out"))

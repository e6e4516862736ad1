"""The contract: splits by hash and by slab, and what a missing data set is told as."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthgpt.errors import DataError
from healthgpt.sources.base import SLAB_SLICES, Source, fraction_of, slab_of, split_of, split_of_slab

SOURCE = Source("tiny", "Tiny set", "CC0", "https://example.org/tiny", "tiny_pack", 1, 0)


@settings(deadline=None)
@given(st.text(), st.text())
def test_split_depends_on_source_and_group_alone(source: str, group: str) -> None:
    assert split_of(source, group) == split_of(source, group)
    assert 0 <= fraction_of(f"{source}/{group}") < 1


def test_splits_are_these_for_ever() -> None:
    # Written down: a change of the hash would move patients from test to training between versions.
    assert [split_of("vqa_rad", f"patient-{i}") for i in range(8)] == [
        "train", "train", "train", "test", "test", "train", "train", "train",
    ]  # fmt: skip


def test_shares_are_seven_one_two() -> None:
    counts = Counter(split_of("many", str(i)) for i in range(5_000))
    assert counts["train"] == pytest.approx(3_500, abs=150)
    assert counts["validation"] == pytest.approx(500, abs=100)
    assert counts["test"] == pytest.approx(1_000, abs=120)


def test_slabs_do_not_touch() -> None:
    slabs = [slab_of(number) for number in range(200)]
    for below, above in pairwise(slabs):
        assert below is None or above is None or below == above
    assert max(Counter(slab for slab in slabs if slab is not None).values()) == SLAB_SLICES - 1


@given(st.integers(0, 1000))
def test_ten_neighbouring_slabs_have_two_for_testing_and_one_for_validation(first: int) -> None:
    splits = Counter(split_of_slab(slab) for slab in range(first, first + 10))
    assert splits == {"train": 7, "test": 2, "validation": 1}


def test_missing_data_set_says_where_to_get_it(tmp_path: Path) -> None:
    assert not SOURCE.is_present(tmp_path)
    with pytest.raises(DataError, match=r"tiny_pack.*https://example\.org/tiny"):
        SOURCE.folder_in(tmp_path)

"""The search for near-duplicates: equal to brute force, and bounded where a million hashes are one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthgpt.data import duplicates
from healthgpt.data.duplicates import clusters, distances, first_rows, near_duplicates
from healthgpt.errors import DataError


def hashes_with_copies(seed: int, count: int, words: int, flips: int, skew: float) -> np.ndarray:
    """Random hashes whose bits are set with probability ``skew``, as many with up to ``flips`` changed, some equal."""
    draw = np.random.default_rng(seed)
    bits = draw.random((count, 64 * words)) < skew
    changed = bits[draw.integers(0, count, count)]
    for row in changed:
        places = draw.integers(0, 64 * words, draw.integers(0, flips + 1))
        row[places] = ~row[places]
    both = np.concatenate([bits, changed])[draw.permutation(2 * count)]
    return np.packbits(both, axis=1, bitorder="little").view(np.uint64)


def by_brute_force(hashes: np.ndarray, radius: int) -> set[tuple[int, int]]:
    """All pairs of first rows within the radius, and every later row with the first of its value."""
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(axis=-1)
    first = [int(np.flatnonzero(row == 0)[0]) for row in apart]
    pairs = set()
    for one, other in np.argwhere(np.triu(apart <= radius, 1)).tolist():
        if first[other] == one or (first[one] == one and first[other] == other):
            pairs.add((one, other))
    return pairs


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 80),
    words=st.sampled_from([1, 2, 4]),
    radius=st.integers(0, 24),
    skew=st.sampled_from([0.5, 0.2, 0.02]),
)
def test_pairs_equal_brute_force(seed, count, words, radius, skew):
    hashes = hashes_with_copies(seed, count, words, radius + 4, skew)
    pairs = near_duplicates(hashes, radius)
    assert pairs.dtype == np.int64
    assert pairs.tolist() == sorted(map(list, by_brute_force(hashes, radius)))
    assert (distances(hashes, pairs) <= radius).all()


def test_small_chunks_change_nothing(monkeypatch):
    hashes = hashes_with_copies(1, 300, 4, 20, 0.1)
    whole = near_duplicates(hashes, 16)
    monkeypatch.setattr(duplicates, "CHUNK", 7)
    assert np.array_equal(near_duplicates(hashes, 16), whole)


def test_a_column_of_numbers_is_one_word_each():
    hashes = hashes_with_copies(2, 100, 1, 6, 0.5)
    assert np.array_equal(near_duplicates(hashes[:, 0], 5), near_duplicates(hashes, 5))


def test_a_hundred_thousand_equal_hashes_make_as_many_pairs():
    hashes = np.concatenate([np.full((100_000, 4), 7, np.uint64), np.full((1, 4), 6, np.uint64)])
    pairs = near_duplicates(hashes, 16)
    assert len(pairs) == 100_000
    assert (pairs[:, 0] == 0).all()
    assert len(set(clusters(pairs, len(hashes)).tolist())) == 1


def test_too_many_pairs_are_refused(monkeypatch):
    monkeypatch.setattr(duplicates, "MOST_PAIRS", 1000)
    with pytest.raises(DataError, match="more than 1,000 near-duplicate pairs among 200"):
        near_duplicates(np.arange(200, dtype=np.uint64), 16)


def test_nothing_and_one_have_no_pairs():
    assert near_duplicates(np.zeros((0, 4), np.uint64), 16).shape == (0, 2)
    assert near_duplicates(np.zeros((1, 4), np.uint64), 16).shape == (0, 2)
    assert clusters(np.zeros((0, 2), np.int64), 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("hashes", "distance"),
    [
        (np.zeros(3, np.int64), 4),
        (np.zeros((3, 0), np.uint64), 4),
        (np.zeros((3, 1, 1), np.uint64), 4),
        (np.zeros(3, np.uint64), 64),
        (np.zeros(3, np.uint64), -1),
    ],
)
def test_other_input_is_refused(hashes, distance):
    with pytest.raises(DataError):
        near_duplicates(hashes, distance)


def test_first_rows_and_clusters():
    words = np.array([[5], [3], [5], [3], [9]], np.uint64)
    assert first_rows(words).tolist() == [0, 1, 0, 1, 4]
    assert clusters(np.array([[0, 2], [2, 4]]), 5).tolist() == [0, 1, 0, 2, 0]

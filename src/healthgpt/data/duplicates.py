"""Near-duplicates among many fingerprints: all pairs within a Hamming radius, exactly, without comparing all pairs.

Multi-index hashing (M. Norouzi, A. Punjani, D. Fleet, "Fast Search in Hamming Space with Multi-Index Hashing",
CVPR 2012): the bits are dealt to bands. Of two hashes at most R bits apart, with R = bands + spare, either one of the
first spare + 1 bands differs in at most one bit, or one of the others in none: else at least
2 (spare + 1) + (bands - spare - 1) = R + 1 bits would differ. Every band is sorted, buckets whose keys are equal or one
bit apart are joined, and the candidates are counted in full.
"""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from healthgpt.errors import DataError

MOST_PAIRS = 50_000_000
"""Pairs between different hashes beyond which the search gives up: the radius is too wide for pictures so alike."""
WIDEST_KEY = 32
CHUNK = 1 << 17
"""Candidates compared at once: their arrays stay in the processor's cache."""


def near_duplicates(hashes: np.ndarray, max_distance: int) -> np.ndarray:
    """(M, 2) int64: pairs of rows, smaller first and sorted, that differ in at most ``max_distance`` bits.

    ``hashes``: uint64, (N,) or (N, words). Equal hashes are one: the first row of a value stands for it in the pairs
    with other values, and each later row of that value is paired with that first row only, so that a million equal
    hashes make a million pairs. No other pair is left out. Memory: about 120 bytes a hash besides the pairs.
    ``DataError`` for other arrays, a distance outside 0..bits-1, or more than ``MOST_PAIRS`` pairs.
    """
    if hashes.dtype != np.uint64 or hashes.ndim not in (1, 2) or 0 in hashes.shape[1:]:
        raise DataError(
            "these are no hashes", found=f"{hashes.dtype} of shape {hashes.shape}", allowed="uint64, (N,) or (N, words)"
        )
    words = hashes[:, None] if hashes.ndim == 1 else hashes
    bits = 64 * words.shape[1]
    if not 0 <= max_distance < bits:
        raise DataError("no such distance", found=str(max_distance), allowed=f"0 to {bits - 1} for {bits} bits")
    if not len(words):
        return np.zeros((0, 2), np.int64)
    first_of = first_rows(words)
    rows = np.arange(len(words))
    distinct = np.flatnonzero(first_of == rows)
    later = np.flatnonzero(first_of != rows)
    equal = np.stack([first_of[later], later], axis=1)
    pairs = np.concatenate([equal, distinct[_pairs_of_distinct(words[distinct], max_distance)]])
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def first_rows(words: np.ndarray) -> np.ndarray:
    """(N,) int64: for each row of a (N, words) array the first row equal to it."""
    order = np.lexsort(words.T)  # stable, so the first of equal rows comes first
    ordered = words[order]
    is_new = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))[: len(words)]
    first = np.empty(len(words), np.int64)
    first[order] = order[is_new][np.cumsum(is_new) - 1]
    return first


def distances(hashes: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(M,) int64: bits in which the two rows of each pair differ, for (N, words) uint64 hashes."""
    return np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]).sum(axis=1, dtype=np.int64)


def clusters(pairs: np.ndarray, count: int) -> np.ndarray:
    """(count,) int32: number of the connected component of each of ``count`` rows linked by (M, 2) pairs."""
    ones = np.ones(len(pairs), bool)
    return connected_components(coo_array((ones, (pairs[:, 0], pairs[:, 1])), (count, count)), directed=False)[1]


def _pairs_of_distinct(words: np.ndarray, radius: int) -> np.ndarray:
    """(M, 2) int64: all pairs of different rows within the radius."""
    count = len(words)
    bands = max(1, radius // 2 + 1)
    loose = radius - bands + 1
    """So many bands may differ in one bit; the others in none."""
    found = np.zeros(0, np.int64)
    for band in range(bands):
        pieces = [found]
        total = len(found)
        for left, right in _band_pairs(words, range(band, 64 * words.shape[1], bands), band < loose, radius):
            pieces.append(np.minimum(left, right).astype(np.int64) * count + np.maximum(left, right))
            total += len(left)
            if total > MOST_PAIRS:
                raise DataError(
                    f"more than {MOST_PAIRS:,} near-duplicate pairs among {count:,} pictures",
                    found=f"a distance of {radius} bits",
                    next_step="compare at a smaller distance",
                )
        found = np.unique(np.concatenate(pieces))  # a pair is often found in several bands
    return np.stack([found // count, found % count], axis=1)


def _band_pairs(words: np.ndarray, bits: range, one_bit: bool, radius: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows (left, right) within the radius whose keys in this band are equal or, if ``one_bit``, one bit apart."""
    # Neighbouring frequencies go to different bands, and a key may leave bits out: it only finds more candidates.
    keys = _keys(words, bits[:WIDEST_KEY])
    order = np.argsort(keys, kind="stable").astype(np.int32)
    keys = keys[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])).astype(np.int32)
    counts = np.diff(starts, append=np.int32(len(keys)))
    values = keys[starts]
    del keys
    columns = [np.ascontiguousarray(column[order]) for column in words.T]
    ends = starts + counts
    full = np.flatnonzero(counts > 1)
    rows = _ranges(starts[full], counts[full])
    for left, right in _expanded(rows, rows + 1, np.repeat(ends[full], counts[full]), columns, radius):
        yield order[left], order[right]
    if not one_bit:
        return
    for bit in range(len(bits[:WIDEST_KEY])):
        flag = np.uint32(1 << bit)
        without = np.flatnonzero((values & flag) == 0)
        partner = np.minimum(np.searchsorted(values, values[without] | flag), len(values) - 1)
        hit = values[partner] == values[without] | flag
        without, partner = without[hit], partner[hit]
        lefts = _ranges(starts[without], counts[without])
        each = counts[without]
        for left, right in _expanded(
            lefts, np.repeat(starts[partner], each), np.repeat(ends[partner], each), columns, radius
        ):
            yield order[left], order[right]


def _keys(words: np.ndarray, bits: range) -> np.ndarray:
    """(N,) uint32: the chosen bits of each row side by side."""
    keys = np.zeros(len(words), np.uint32)
    for place, bit in enumerate(bits):
        chosen = (words[:, bit // 64] >> np.uint64(bit % 64)) & np.uint64(1)
        keys |= chosen.astype(np.uint32) << np.uint32(place)
    return keys


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """``[start, start + 1, ...]`` of each count, one after the other."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - counts), counts)


def _expanded(
    left: np.ndarray, start: np.ndarray, end: np.ndarray, columns: list[np.ndarray], radius: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs within the radius of each ``left[k]`` with the rows from ``start[k]`` to before ``end[k]``."""
    some = np.flatnonzero(end > start)
    left, start, counts = left[some], start[some], (end - start)[some]
    totals = np.cumsum(counts)
    at = 0
    while at < len(left):
        done = totals[at] - counts[at]
        # At least one row of candidates at a time: at most one bucket more than CHUNK.
        stop = max(at + 1, int(np.searchsorted(totals, done + CHUNK, "right")))
        one = np.repeat(left[at:stop], counts[at:stop])
        other = _ranges(start[at:stop], counts[at:stop])
        apart = np.zeros(len(one), np.uint16)
        for column in columns:
            apart += np.bitwise_count(column.take(one) ^ column.take(other))
            near = np.flatnonzero(apart <= radius)
            one, other, apart = one[near], other[near], apart[near]
        if len(one):
            yield one, other
        at = stop

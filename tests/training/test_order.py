"""Laws of the order of rows: all are seen, shares hold, no state but the step, and batches divide evenly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthgpt.training.order import WINDOW, Order, micro_batches

SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=4)


def lengths_of(sizes: list[int], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 100, size) for size in sizes]


@given(SIZES, st.integers(1, 16), st.integers(0, 3))
def test_without_shares_every_epoch_sees_every_row_once(sizes, batch, seed) -> None:
    order = Order(lengths_of(sizes), batch, seed)
    steps = order.window * 3
    seen = np.concatenate([order.batch(step) for step in range(steps)])
    assert all(len(order.batch(step)) == batch for step in range(steps))
    counts = np.bincount(seen, minlength=order.rows)
    assert counts.max() - counts.min() <= 1
    assert order.epoch(steps) == pytest.approx(steps * batch / order.rows)


@given(SIZES, st.integers(1, 12), st.data())
def test_shares_hold_in_every_batch(sizes, batch, data) -> None:
    weights = np.array([data.draw(st.integers(1, 9)) for _ in sizes], dtype=float)
    shares = list(weights / weights.sum())
    order = Order(lengths_of(sizes), batch, 0, shares)
    drawn = np.array(
        [np.bincount(np.searchsorted(order.offsets, order.batch(step), side="right") - 1, minlength=len(sizes))
         for step in range(3 * WINDOW)]
    )  # fmt: skip
    assert (drawn.sum(axis=1) == batch).all()
    assert (drawn >= np.floor(np.array(shares) * batch - 1e-6)).all()
    assert np.allclose(drawn.mean(axis=0) / batch, shares, atol=0.05)


def test_a_step_is_known_without_those_before() -> None:
    lengths = lengths_of([50, 20])
    straight = Order(lengths, 8, 5, [0.7, 0.3])
    expected = [straight.batch(step) for step in range(100)]
    for step in (99, 3, 64, 31, 32):
        assert np.array_equal(Order(lengths, 8, 5, [0.7, 0.3]).batch(step), expected[step])


def test_rows_of_a_batch_are_alike_in_length() -> None:
    lengths = [np.random.default_rng(0).integers(10, 1000, 4000)]
    order = Order(lengths, 8, 0)
    spread = [np.ptp(lengths[0][order.batch(step)]) for step in range(64)]
    apart = [np.ptp(lengths[0][np.arange(8) + 8 * step]) for step in range(64)]
    assert np.mean(spread) < 0.1 * np.mean(apart)
    assert len({int(lengths[0][order.batch(step)].mean()) // 100 for step in range(WINDOW)}) > 4  # not sorted in time


def test_a_batch_divides_evenly_over_processes() -> None:
    rng = np.random.default_rng(1)
    families, lengths = rng.integers(0, 2, 100), rng.integers(1, 50, 100)
    rows = rng.permutation(100)[:48]
    for processes in (1, 2, 4):
        shared = micro_batches(rows, families, lengths, 4, processes)
        assert [len(own) for own in shared] == [12 // processes] * processes
        assert sorted(np.concatenate([piece for own in shared for piece in own])) == sorted(rows)
    mixed = sum(len(set(families[piece])) > 1 for piece in micro_batches(rows, families, lengths, 4, 1)[0])
    assert mixed <= 1
    with pytest.raises(ValueError, match="do not divide"):
        micro_batches(rows, families, lengths, 5, 2)


def test_a_row_does_not_meet_itself_in_a_batch() -> None:
    lengths = [np.random.default_rng(0).integers(10, 100, 40)]
    order = Order(lengths, 8, 0)
    assert all(len(set(order.batch(step))) == 8 for step in range(100))

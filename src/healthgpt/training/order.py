"""Which rows make up each global batch: a function of seed and step alone, so a run that goes on needs no more state.

Rows are drawn without replacement, part by part, each part in an order drawn anew every epoch. Where parts have
shares, every batch holds them in those shares as nearly as whole rows allow. Within a window of steps rows of like
length are put into one batch, so that little is padding.
"""

from collections.abc import Sequence

import numpy as np

WINDOW = 32
"""Most steps whose rows are sorted by length together; fewer where an epoch has fewer."""
GOLDEN = (5**0.5 - 1) / 2


class Order:
    """``lengths``: tokens of each row of each part; ``shares``: of each part, None: as many rows as it has.

    Rows are numbered through all parts, in order of the parts.
    """

    def __init__(
        self, lengths: Sequence[np.ndarray], global_batch: int, seed: int, shares: Sequence[float] | None = None
    ) -> None:
        if any(len(part) == 0 for part in lengths):
            raise ValueError("a part without rows")
        self.lengths = list(lengths) if shares is not None else [np.concatenate(list(lengths))]
        self.shares = list(shares) if shares is not None else [1.0]
        self.offsets = np.cumsum([0, *(len(part) for part in self.lengths)])
        self.global_batch = global_batch
        self.seed = seed
        per_step = np.maximum(1, np.array(self.shares) * global_batch)
        epoch = min(len(part) / rows for part, rows in zip(self.lengths, per_step, strict=True))
        self.window = int(np.clip(epoch, 1, WINDOW))
        self._window: tuple[int, list[np.ndarray]] | None = None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self.offsets[-1])

    def batch(self, step: int) -> np.ndarray:
        """Numbers of the rows of the global batch of a step (from 0), longest first within each part."""
        number = step // self.window
        if self._window is None or self._window[0] != number:
            self._window = number, self._batches(number)
        return self._window[1][step % self.window]

    def epoch(self, step: int) -> float:
        """How often the rows of the fullest-used part have been seen before a step."""
        return float((self._counts(0, step).sum(axis=0) / [len(part) for part in self.lengths]).max())

    def _counts(self, first: int, end: int) -> np.ndarray:
        """Rows of each part in the batches of steps first..end, (steps, parts): every batch full, shares kept.

        What whole rows leave over of the shares is dealt by multiples of the golden ratio: any stretch is near the
        shares, and no stretch needs to know the one before.
        """
        wanted = np.array(self.shares) * self.global_batch
        whole = np.floor(wanted + 1e-9).astype(np.int64)
        over = self.global_batch - int(whole.sum())
        counts = np.tile(whole, (end - first, 1))
        if over:
            edges = np.cumsum(np.clip(wanted - whole, 0, None)) / over
            places = (np.arange(first * over, end * over) * GOLDEN) % 1.0
            parts = np.searchsorted(edges[:-1], places, side="right")
            steps = np.repeat(np.arange(end - first), over)
            np.add.at(counts, (steps, parts), 1)
        return counts

    def _batches(self, window: int) -> list[np.ndarray]:
        start = window * self.window
        before = self._counts(0, start).sum(axis=0)
        counts = self._counts(start, start + self.window)
        turn = np.random.default_rng([self.seed, window, 1]).permutation(self.window)
        batches: list[list[np.ndarray]] = [[] for _ in range(self.window)]
        for part, lengths in enumerate(self.lengths):
            first = int(before[part])
            end = first + int(counts[:, part].sum())
            rows = self._drawn(part, first, end)
            epochs = np.arange(first, end) // len(lengths)  # kept apart: a row is not to meet itself in a batch
            rows = rows[np.lexsort((-lengths[rows], epochs))]
            ends = np.cumsum(counts[turn, part])
            for step, end in zip(turn, ends, strict=True):
                batches[step].append(rows[end - counts[step, part] : end] + self.offsets[part])
        return [np.concatenate(pieces) for pieces in batches]

    def _drawn(self, part: int, first: int, end: int) -> np.ndarray:
        """Rows at positions first..end of a part's endless order."""
        size = len(self.lengths[part])
        epochs = range(first // size, max(first // size + 1, -(-end // size)))
        order = np.concatenate(
            [np.random.default_rng([self.seed, part, epoch, 0]).permutation(size) for epoch in epochs]
        )
        start = first - (first // size) * size
        return order[start : start + end - first]


def micro_batches(
    rows: np.ndarray, families: np.ndarray, lengths: np.ndarray, size: int, processes: int
) -> list[list[np.ndarray]]:
    """A global batch divided evenly: for each process its micro-batches of ``size`` rows.

    Rows of one family and of like length lie together. ``families``, ``lengths``: of all rows, by number. Raises
    ``ValueError`` when the batch does not divide.
    """
    if len(rows) % (size * processes):
        raise ValueError(f"{len(rows)} rows do not divide into micro-batches of {size} on {processes} processes")
    ordered = rows[np.lexsort((rows, -lengths[rows], families[rows]))]
    pieces = ordered.reshape(-1, size)
    return [list(pieces[process::processes]) for process in range(processes)]

"""Rows to micro-batches: prompts built, images read, ahead of time in other processes where the recipe says so."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch.utils.data import DataLoader, Dataset

from healthgpt.backbone.prompts import PromptBuilder
from healthgpt.batch import Batch
from healthgpt.data.collate import right_padded
from healthgpt.data.shards import picture_of
from healthgpt.tasks import TASKS, Grain
from healthgpt.training.rows import Row, RowTable, cut, prompt_of
from healthgpt.vision.preprocess import Preprocessing


@dataclass(frozen=True)
class Prepared:
    """A micro-batch whose images are not in it yet.

    ``batch``: without pixels or features; ``keys``: content of each image, in row order; ``squares``: uint8 (S, S, 3)
    of those whose features were not at hand, by key.
    """

    batch: Batch
    keys: tuple[str, ...]
    squares: dict[str, np.ndarray]


class MicroBatches(Dataset[Prepared]):
    """Micro-batches by number. ``rows``: numbers of each one's rows; ``at_hand``: grain and key of images whose
    features are kept, which need not be read."""

    def __init__(
        self,
        table: RowTable,
        rows: Sequence[np.ndarray],
        builder: PromptBuilder,
        preprocessing: Preprocessing,
        max_length: int,
        at_hand: Container[tuple[Grain, str]] = frozenset(),
    ) -> None:
        self.table = table
        self.rows = rows
        self.builder = builder
        self.preprocessing = preprocessing
        self.max_length = max_length
        self.at_hand = at_hand

    def of_table(self, table: RowTable) -> "MicroBatches":
        """Made the same way from another table; no micro-batches yet."""
        return MicroBatches(table, [], self.builder, self.preprocessing, self.max_length)

    def of(self, rows: Sequence[np.ndarray], at_hand: Container[tuple[Grain, str]]) -> "MicroBatches":
        """Other micro-batches of the same table."""
        return MicroBatches(self.table, rows, self.builder, self.preprocessing, self.max_length, at_hand)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Prepared:
        return self.prepare([self.table.row(row) for row in self.rows[number]])

    def prepare(self, rows: Sequence[Row]) -> Prepared:
        """Rows padded on the right, each cut at the longest allowed; images read unless at hand."""
        prompts = [
            cut(prompt_of(self.builder, row.instructions, row.responses, has_image=row.image is not None,
                          codes=row.codes), self.max_length)
            for row in rows
        ]  # fmt: skip
        batch = right_padded(prompts, [row.task for row in rows], [None] * len(rows), self.preprocessing)
        shown = [(number, row) for number, row in enumerate(rows) if row.image is not None]
        squares = {
            row.image_key or "": self.preprocessing.square(picture_of(*self.table.shown_image(row)))
            for _, row in shown
            if (TASKS[row.task].grain, row.image_key or "") not in self.at_hand
        }
        return Prepared(
            replace(batch, image_rows=tuple(number for number, _ in shown)),
            tuple(row.image_key or "" for _, row in shown), squares,
        )  # fmt: skip


def loaded(batches: MicroBatches, workers: int) -> Iterator[Prepared]:
    """All micro-batches in order, read ahead by so many processes."""
    loader: DataLoader[Prepared] = DataLoader(
        batches, batch_size=None, shuffle=False, num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
    )  # fmt: skip
    yield from loader

"""What every stage draws its batches from: examples by kind, with real ones at the recipe's share."""

from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np

from healthgpt.data.build import PHANTOM
from healthgpt.data.dataset import Drawing, Reading
from healthgpt.record import Record
from healthgpt.variants import Variant
from healthgpt.vision.preprocess import Preprocessing

Example = TypeVar("Example", Reading, Drawing)


def preprocessing_of(variant: Variant) -> Preprocessing:
    """How nano's images reach tower and codec: padded to a square on black, values in [-1, 1]."""
    return Preprocessing(size=variant.image_size)


def _record(example: Reading | Drawing) -> Record:
    return example.records[0] if isinstance(example, Reading) else example.record


class Pool(Generic[Example]):
    """Examples grouped by task: a draw picks real or simulated by share, then a task, then an example."""

    def __init__(self, examples: Sequence[Example], real_share: float) -> None:
        self.simulated: dict[str, list[Example]] = {}
        self.real: dict[str, list[Example]] = {}
        for example in examples:
            source = _record(example).provenance.source
            group = self.simulated if source == PHANTOM else self.real
            group.setdefault(example.task, []).append(example)
        self.real_share = real_share if self.real and self.simulated else float(bool(self.real))

    def draw(self, count: int, rng: np.random.Generator) -> list[Example]:
        """``count`` examples; tasks of a group are equally likely, real ones in proportion to their size."""
        drawn = []
        for _ in range(count):
            if rng.random() < self.real_share:
                flat = [example for own in self.real.values() for example in own]
                drawn.append(flat[int(rng.integers(len(flat)))])
            else:
                names = sorted(self.simulated)
                own = self.simulated[names[int(rng.integers(len(names)))]]
                drawn.append(own[int(rng.integers(len(own)))])
        return drawn

"""What every stage draws its batches from: examples by kind, with real ones at the recipe's share."""

from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np

from healthgpt.data.dataset import Drawing, Reading
from healthgpt.data.sample_folder import PHANTOM
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
    """Examples by group: a draw picks simulated or real by share, then a group, then an example.

    Simulated examples are grouped by task, all tasks alike. Real ones are grouped by data set and task, each
    drawn in proportion to the square root of its size: large sets lead without drowning the small ones.
    """

    def __init__(self, examples: Sequence[Example], real_share: float) -> None:
        simulated: dict[str, list[Example]] = {}
        real: dict[str, list[Example]] = {}
        for example in examples:
            source = _record(example).provenance.source
            if source == PHANTOM:
                simulated.setdefault(example.task, []).append(example)
            else:
                real.setdefault(f"{source} {example.task}", []).append(example)
        self.simulated: list[list[Example]] = [simulated[name] for name in sorted(simulated)]
        self.real: list[list[Example]] = [real[name] for name in sorted(real)]
        sizes = np.sqrt([len(group) for group in self.real])
        self.weights = sizes / sizes.sum() if self.real else sizes
        self.real_share = real_share if self.real and self.simulated else float(bool(self.real))

    def draw(self, count: int, rng: np.random.Generator) -> list[Example]:
        """``count`` examples, with replacement."""
        drawn = []
        for _ in range(count):
            if rng.random() < self.real_share:
                group = self.real[int(rng.choice(len(self.real), p=self.weights))]
            else:
                group = self.simulated[int(rng.integers(len(self.simulated)))]
            drawn.append(group[int(rng.integers(len(group)))])
        return drawn

"""A data folder in memory: images as 8-bit squares, readings grouped by image, drawings with their codes."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from healthgpt.data.shards import picture_of, records_with_pictures
from healthgpt.record import Record, Split
from healthgpt.tasks import TASKS
from healthgpt.vision.preprocess import Preprocessing


@dataclass(frozen=True)
class Reading:
    """All questions about one image: learned as one conversation, in an order drawn anew each time."""

    task: str
    image: int
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Drawing:
    """One picture to draw: from an image, from words, or from both. ``image`` and ``target`` index the images."""

    task: str
    image: int | None
    target: int
    record: Record


@dataclass
class Examples:
    """The part of a data folder that belongs to one split.

    ``images``: uint8 squares, (size, size) when grey, else (size, size, 3).
    """

    images: list[np.ndarray] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    drawings: list[Drawing] = field(default_factory=list)

    def square(self, index: int) -> np.ndarray:
        """Image ``index`` as (size, size, 3)."""
        image = self.images[index]
        return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)

    def squares(self, indices: list[int]) -> np.ndarray:
        """(N, size, size, 3)."""
        return np.stack([self.square(index) for index in indices])


def load_examples(
    folder: Path, split: Split, preprocessing: Preprocessing, *, sources: set[str] | None = None
) -> Examples:
    """Read one split of a data folder (``sources``: only these data sets).

    Raises ``DataError`` when a record names an image that is not there or lies outside the folder.
    """
    examples = Examples()
    index_of: dict[str, int] = {}
    grouped: dict[tuple[str, int], list[Record]] = {}

    def image_index(name: str, embedded: bytes | None) -> int:
        if name not in index_of:
            square = preprocessing.square(picture_of(folder, name, embedded))
            grey = bool((square[..., 0] == square[..., 1]).all() and (square[..., 1] == square[..., 2]).all())
            index_of[name] = len(examples.images)
            examples.images.append(square[..., 0].copy() if grey else square)
            examples.names.append(name)
        return index_of[name]

    for record, pictures in records_with_pictures(folder, split):
        if sources is not None and record.provenance.source not in sources:
            continue
        image = image_index(record.image, pictures.get(record.image)) if record.image is not None else None
        if TASKS[record.task].family == "comprehension":
            if image is not None:
                grouped.setdefault((record.task, image), []).append(record)
        elif record.target_image is not None:
            target = image_index(record.target_image, pictures.get(record.target_image))
            examples.drawings.append(Drawing(record.task, image, target, record))
    examples.readings = [Reading(task, image, tuple(records)) for (task, image), records in grouped.items()]
    return examples

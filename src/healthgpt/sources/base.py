"""The contract of a source: one published data set as a row, and which split each of its groups belongs to."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from healthgpt.errors import DataError
from healthgpt.record import Sample, Split
from healthgpt.sources.layout import Published

TRAIN_SHARE = 0.7
VALIDATION_SHARE = 0.1
"""Shares of the groups; what is left is the test split, held out and never used in training."""

SLAB_SLICES = 5
"""A data set of one patient, or one volume, has no second patient to hold out: it is cut into slabs of so many
neighbouring slices, each a group. Held-out slabs are of a patient seen in training, so a score on them says less
than one on unseen patients would."""


@dataclass(frozen=True)
class Source:
    """One data set: what it is, on what terms, and how to read it.

    ``samples`` and ``text_pairs`` take the folder that holds all packs, not the pack itself.
    A source of questions without pictures has no ``samples``; ``text_pairs`` are (question, answer)
    pairs in English for language-model pre-training and are only ever training material. ``published`` reads the
    original downloads for a VL-Health data set; ``samples`` makes nano's training set, with questions of its own.
    """

    name: str
    title: str
    licence: str
    obtain: str
    """Where the data set is published."""
    folder: str
    """Name of its folder below the folder of packs."""
    published_images: int
    """Images of the whole data set as published; a pack may hold fewer. 0 where it has none of its own."""
    published_questions: int
    """Written questions of the whole data set as published; 0 where questions are made from its labels."""
    published: Published | None = None
    samples: Callable[[Path], Iterator[Sample]] | None = None
    text_pairs: Callable[[Path], Iterator[tuple[str, str]]] | None = None

    def is_present(self, root: Path) -> bool:
        """Whether the pack lies below ``root``."""
        return (root / self.folder).is_dir()

    def has_files(self, root: Path) -> bool:
        """Whether there is anything of it to build from: sources may share a folder and have other files in it."""
        folder = root / self.folder
        if self.published is None:
            return self.samples is not None and folder.is_dir()
        return any(next(folder.glob(table.pattern), None) is not None for table in self.published.tables)

    def folder_in(self, root: Path) -> Path:
        """The pack's folder below ``root``; ``DataError`` says where to get it when it is not there."""
        if not self.is_present(root):
            raise DataError(
                f"no data set '{self.name}' at {root / self.folder}",
                next_step=f"put {self.title} there; it is published at {self.obtain}",
            )
        return root / self.folder


def fraction_of(text: str) -> float:
    """A number in [0, 1) that depends on the text alone, the same on every machine and run."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") / 2**64


def split_of(source: str, group: str, *, train: float = TRAIN_SHARE, validation: float = VALIDATION_SHARE) -> Split:
    """The split of a group (patient, case or image), by hash: adding data never moves what is already placed."""
    position = fraction_of(f"{source}/{group}")
    if position < train:
        return "train"
    return "validation" if position < train + validation else "test"


def slab_of(number: int) -> int | None:
    """Number of the slab that slice ``number`` lies in, counted along one volume from 0; None between two slabs.

    A slab is ``SLAB_SLICES`` neighbouring slices less the lowest, which is left out so that slabs do not touch.
    """
    slab, inside = divmod(number, SLAB_SLICES)
    return slab if inside else None


def split_of_slab(slab: int) -> Split:
    """Of ten neighbouring slabs two are for testing and one for validation.

    Placed by position and not by hash, so that all heights of a volume are tested.
    """
    if slab % 5 == 2:
        return "test"
    return "validation" if slab % 10 == 5 else "train"


def required_file(path: Path, source: str) -> Path:
    """The path if it is a file; ``DataError`` otherwise."""
    if not path.is_file():
        raise DataError(f"'{source}' lacks {path}", next_step="restore the data set as its README describes it")
    return path

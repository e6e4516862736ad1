"""Which split every group of records belongs to, once the images that link groups are known.

A unit is a patient, case or image of one source: what its records say may not be parted. Units that show the same
picture, exactly or nearly, are one component, whichever sources they are from.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from healthgpt.data.settings import SplitPolicy
from healthgpt.record import Split
from healthgpt.sources.base import TRAIN_SHARE, VALIDATION_SHARE

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
WITHHELD = 3
"""A training record of a component that has held-out records."""
UNPUBLISHED = -1


@dataclass(frozen=True)
class UnitSplits:
    """``units``: uint64, sorted. ``fresh``: the split of each unit's component, drawn anew. ``held_out``: the most held
    out that any published (or, without one, fresh) record of the component is: ``TRAIN``, ``VALIDATION`` or ``TEST``.
    """

    units: np.ndarray
    fresh: np.ndarray
    held_out: np.ndarray

    @classmethod
    def of(cls, units: np.ndarray, components: np.ndarray, leaders: np.ndarray, published: np.ndarray) -> "UnitSplits":
        """From one entry for each use of an image: its unit (uint64), component and published split (or -1).

        ``leaders``: for each component the unit whose hash decides its fresh split.
        """
        fresh = fresh_split(leaders)
        effective = np.where(published >= 0, published, fresh[components])
        held_out = np.zeros(len(leaders), np.int8)
        np.maximum.at(held_out, components, effective.astype(np.int8))
        kept, first = np.unique(units, return_index=True)
        own = components[first]
        return cls(kept, fresh[own], held_out[own])

    def with_held_out(self, units: np.ndarray, codes: np.ndarray) -> "UnitSplits":
        """With units that hold published held-out records besides (``codes``), whether or not images of them are known.

        A unit without images is a component of its own.
        """
        every, place = np.unique(np.concatenate([self.units, units]), return_inverse=True)
        held_out = np.zeros(len(every), np.int8)
        np.maximum.at(held_out, place, np.concatenate([self.held_out, codes]))
        return UnitSplits(every, self.fresh_of(every), held_out)

    def decide(self, units: np.ndarray, published: np.ndarray, policy: SplitPolicy) -> np.ndarray:
        """Code of the split of records by unit and published split; ``WITHHELD`` where a record may not be used."""
        fresh, held_out = self.fresh_of(units), np.zeros(len(units), np.int8)
        place = np.searchsorted(self.units, units)
        place[place == len(self.units)] = 0
        if len(self.units):
            known = self.units[place] == units
            held_out[known] = self.held_out[place[known]]
        if policy == "disjoint":
            return fresh
        wanted = np.where(published >= 0, published, fresh).astype(np.int8)
        if policy == "published":
            return wanted
        return np.where(wanted < held_out, WITHHELD, wanted).astype(np.int8)

    def fresh_of(self, units: np.ndarray) -> np.ndarray:
        """The fresh split of each unit: of its component, or of its own where no image is known of it."""
        fresh = fresh_split(units)
        if len(self.units):
            place = np.searchsorted(self.units, units)
            place[place == len(self.units)] = 0
            known = self.units[place] == units
            fresh[known] = self.fresh[place[known]]
        return fresh

    def save(self, path: Path) -> None:
        """Write the arrays, whole."""
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as stream:
            np.savez(stream, units=self.units, fresh=self.fresh, held_out=self.held_out)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> "UnitSplits":
        """Read what ``save`` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays["units"], arrays["fresh"], arrays["held_out"])


def fresh_split(numbers: np.ndarray) -> np.ndarray:
    """Split code of units by their number, as ``sources.base.split_of`` of their source and group; int8."""
    position = numbers / 2.0**64
    return ((position >= TRAIN_SHARE).astype(np.int8) + (position >= TRAIN_SHARE + VALIDATION_SHARE)).astype(np.int8)

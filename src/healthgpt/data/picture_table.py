"""A table of the uses of pictures, and what ties its rows together: bytes, fingerprints and groups."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from healthgpt.data.duplicates import clusters, distances, first_rows, near_duplicates
from healthgpt.errors import DataError
from healthgpt.imaging.fingerprint import NEAR_DISTANCE, WORDS, is_flat


@dataclass(frozen=True)
class Pictures:
    """A table of picture uses, one row each: a picture used in two splits has two rows.

    ``images``: unique within their source. ``splits``: ``train``, ``validation``, ``test``; others are in no set.
    ``groups``: patient or case, unique within their source. ``sha256``: of the file's bytes. ``fingerprints``:
    (N, 4) uint64 as ``imaging.fingerprint.fingerprints`` gives them; a picture with two of them has its row twice.
    ``DataError`` when the columns do not fit together.
    """

    sources: Sequence[str]
    images: Sequence[str]
    splits: Sequence[str]
    groups: Sequence[str]
    sha256: Sequence[str]
    fingerprints: np.ndarray

    def __post_init__(self) -> None:
        lengths = {len(column) for column in (self.sources, self.images, self.splits, self.groups, self.sha256)}
        prints = self.fingerprints
        if lengths != {len(prints)} or prints.dtype != np.uint64 or prints.shape[1:] != (WORDS,):
            raise DataError(
                "the columns of a table of pictures do not fit together",
                found=f"{sorted(lengths)} rows and fingerprints {prints.dtype} {prints.shape}",
                allowed=f"as many fingerprints as rows, uint64 of {WORDS} words",
            )

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Links:
    """What ties the rows of a table together. Numbers of values: equal numbers, equal values.

    ``content``, ``group``, ``print``: (N,) int64 numbers of bytes, group and fingerprint.
    ``near``: (M, 2) int64 pairs of numbers of fingerprints within ``NEAR_DISTANCE``; ``distance``: (M,) their bits.
    ``component``: (N,) int32, equal for rows tied by bytes, fingerprints or group, directly or through others.
    """

    content: np.ndarray
    group: np.ndarray
    print: np.ndarray
    near: np.ndarray
    distance: np.ndarray
    component: np.ndarray


def link(pictures: Pictures) -> Links:
    """Find what ties the rows together: sorting, and one search among the distinct fingerprints."""
    content = numbers(pictures.sha256)
    group = numbers(list(zip(pictures.sources, pictures.groups, strict=True)))
    first = first_rows(pictures.fingerprints)
    distinct, number = np.unique(first, return_inverse=True)
    prints = pictures.fingerprints[distinct]
    near = near_duplicates(prints, NEAR_DISTANCE)
    # A flat picture has the fingerprint 0. That is near nothing: not to another flat one, nor to one with few signs.
    flat = is_flat(prints)
    near = near[~flat[near].any(axis=1)]
    rows = len(pictures)
    tied = [np.stack([np.arange(rows), rows + content], axis=1)]
    tied.append(np.stack([np.arange(rows), 2 * rows + group], axis=1))
    clear = np.flatnonzero(~flat[number])
    tied.append(np.stack([clear, 3 * rows + number[clear]], axis=1))
    tied.append(3 * rows + near)
    component = clusters(np.concatenate(tied), 4 * rows)[:rows]
    return Links(content, group, number, near, distances(prints, near), component)


def numbers(values: Sequence[object]) -> np.ndarray:
    """(N,) int64: the number of each value, in order of appearance."""
    number: dict[object, int] = {}
    return np.array([number.setdefault(value, len(number)) for value in values], np.int64)

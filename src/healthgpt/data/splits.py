"""Splits without leaks: no component of pictures (tied by bytes, fingerprint or group) spans two sets.

Two policies. ``published_without_leaks`` keeps the published test set and withholds what leaks into it: figures stay
comparable with published ones, training shrinks. ``image_disjoint`` deals the components of chosen sources afresh, for
a published split that shares everything. Both hold for any mixture of sources: a component with a test picture of one
benchmark is out of training in all sources.
"""

from collections.abc import Collection

import numpy as np

from healthgpt.data.picture_table import Links, Pictures, link
from healthgpt.sources.base import split_of

HELD_OUT = ("test", "validation", "train")
"""From the one to protect most: a component stays in the first of these it has a row in."""
WITHHELD = "withheld"


def published_without_leaks(pictures: Pictures, links: Links | None = None) -> list[str]:
    """The split of each row: test stays test; rows tied to a more protected set become ``withheld``.

    A component with a test row keeps its test rows and loses its validation and training rows; one with a validation
    row and no test row loses its training rows. Rows of other splits stay as they are.
    """
    return _withheld(list(pictures.splits), links or link(pictures))


def image_disjoint(pictures: Pictures, sources: Collection[str], links: Links | None = None) -> list[str]:
    """The split of each row, fresh for ``sources`` and published for the others; then as ``published_without_leaks``.

    A component goes to 70 % training, 10 % validation, 20 % test by hash of its first ``source/group`` in order of the
    alphabet, so a picture tied to no other has the split of ``sources.base.split_of``. When data are added, a placed
    component moves only if a newcomer ties it to another or comes before its first name.
    """
    links = links or link(pictures)
    first: dict[int, tuple[str, str]] = {}
    fresh = [row for row, source in enumerate(pictures.sources) if source in sources]
    for row in fresh:
        component = int(links.component[row])
        name = (pictures.sources[row], pictures.groups[row])
        first[component] = min(first.get(component, name), name)
    splits = list(pictures.splits)
    for row in fresh:
        splits[row] = split_of(*first[int(links.component[row])])
    return _withheld(splits, links)


def _withheld(splits: list[str], links: Links) -> list[str]:
    rank = np.array([HELD_OUT.index(split) if split in HELD_OUT else len(HELD_OUT) for split in splits], np.int64)
    best = np.full(int(links.component.max(initial=-1)) + 1, len(HELD_OUT))
    np.minimum.at(best, links.component, rank)
    loses = (rank > best[links.component]) & (rank < len(HELD_OUT))
    return [WITHHELD if loses[row] else split for row, split in enumerate(splits)]

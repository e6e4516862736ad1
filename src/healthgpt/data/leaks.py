"""Which test pictures also occur in training, within a source and across sources.

A picture is in training exactly (the same bytes), nearly (a fingerprint within ``NEAR_DISTANCE``) or by its group
(another picture of the same patient or case). Beside what leaks stands what ``data/splits.py`` offers instead.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from healthgpt.data.picture_table import Links, Pictures, link, numbers
from healthgpt.data.splits import image_disjoint, published_without_leaks
from healthgpt.imaging.fingerprint import NEAR_DISTANCE, is_flat

EXAMPLES = 20
"""Named at most, of each kind in each place."""
How = Literal["exactly", "nearly", "by group"]
HOW: tuple[How, ...] = ("exactly", "nearly", "by group")
"""From the surest: a picture counts once, by the first that holds."""


class Example(BaseModel):
    """One pair: ``source/image`` of both, how they are tied, and the bits between them if nearly."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: str
    second: str
    how: How
    distance: int | None = None


class SourceLeaks(BaseModel):
    """The test pictures of one source against the training pictures of all sources."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    test_images: int
    training_images: int
    exactly: int
    nearly: int
    """Not exactly."""
    by_group: int
    """Neither exactly nor nearly."""
    examples: tuple[Example, ...]
    """Test picture and training picture, up to 20 of each kind."""
    without_leaks: dict[str, int]
    """Images of each split if what is tied to a test picture is withheld (``splits.published_without_leaks``)."""
    image_disjoint: dict[str, int]
    """Images of each split if this source is split afresh (``splits.image_disjoint``)."""

    @property
    def leaked(self) -> int:
        """Test pictures that are in training in any way."""
        return self.exactly + self.nearly + self.by_group


class SharedPictures(BaseModel):
    """Pictures that two sources have in common, whatever their splits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: str
    second: str
    exactly: int
    """Pictures of ``first`` whose bytes are in ``second``."""
    nearly: int
    """Pictures of ``first``, besides, with a near-duplicate in ``second``."""
    examples: tuple[Example, ...]


class LeakReport(BaseModel):
    """Leaks of every source, pictures shared by sources, and both in sentences."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: int
    near_distance: int
    flat_images: int
    """Without a fingerprint, too flat or not at hand: compared by bytes, where there are any, and group only."""
    largest_component: int
    """Images in the largest set tied by bytes, fingerprint or group, directly or through others."""
    sources: tuple[SourceLeaks, ...]
    shared: tuple[SharedPictures, ...]
    sentences: tuple[str, ...]
    files: dict[str, str] = Field(default_factory=dict)
    """Where a data set keeps the pictures that examples name, relative to its folder; filled by who stored them."""

    def named(self) -> frozenset[str]:
        """All pictures that examples name, as they name them."""
        found = [example for own in self.sources for example in own.examples]
        found += [example for shared in self.shared for example in shared.examples]
        return frozenset(name for example in found for name in (example.first, example.second))


def find_leaks(pictures: Pictures, links: Links | None = None) -> LeakReport:
    """The report on a table; ``links`` if they were already found."""
    links = links or link(pictures)
    names = list(zip(pictures.sources, pictures.images, strict=True))
    image = numbers(names)
    tied = np.unique(np.stack([image, links.component]), axis=1)[1]
    kept = published_without_leaks(pictures, links)
    sources = tuple(_source_leaks(pictures, links, source, kept) for source in sorted(set(pictures.sources)))
    shared = _shared(pictures, links)
    return LeakReport(
        images=len(set(names)),
        near_distance=NEAR_DISTANCE,
        flat_images=len(np.unique(image[is_flat(pictures.fingerprints)])),
        largest_component=int(np.bincount(tied, minlength=1).max()),
        sources=sources,
        shared=shared,
        sentences=(*map(_leak_sentence, sources), *map(_shared_sentence, shared)),
    )


def _source_leaks(pictures: Pictures, links: Links, source: str, kept: Sequence[str]) -> SourceLeaks:
    own = np.asarray(pictures.sources) == source
    splits = np.asarray(pictures.splits)
    ties = _ties_to(pictures, links, np.flatnonzero(own & (splits == "test")), np.flatnonzero(splits == "train"))
    counts, examples = _counted(ties)
    published = _images_by_split(pictures, pictures.splits, own)
    return SourceLeaks(
        source=source,
        test_images=published.get("test", 0),
        training_images=published.get("train", 0),
        exactly=counts["exactly"],
        nearly=counts["nearly"],
        by_group=counts["by group"],
        examples=examples,
        without_leaks=_images_by_split(pictures, kept, own),
        image_disjoint=_images_by_split(pictures, image_disjoint(pictures, (source,), links), own),
    )


def _images_by_split(pictures: Pictures, splits: Sequence[str], own: np.ndarray) -> dict[str, int]:
    used = {(splits[row], pictures.images[row]) for row in np.flatnonzero(own).tolist()}
    counts = Counter(split for split, _ in used)
    usual = [split for split in ("train", "validation", "test") if split in counts]
    return {split: counts[split] for split in [*usual, *sorted(counts.keys() - set(usual))]}


def _shared(pictures: Pictures, links: Links) -> tuple[SharedPictures, ...]:
    """One entry for each two sources with a picture in common."""
    number = numbers(pictures.sources)
    name = {int(each): source for each, source in zip(number, pictures.sources, strict=True)}
    # Sources with a picture in common meet in a component; the others need no comparison.
    meetings = np.unique(np.stack([links.component, number], axis=1), axis=0)
    sources_in = np.bincount(meetings[:, 0], minlength=1)
    spanning = sources_in[links.component] > 1
    met = sorted({name[each] for each in meetings[sources_in[meetings[:, 0]] > 1, 1].tolist()})
    rows = {source: np.flatnonzero(spanning & (np.asarray(pictures.sources) == source)) for source in met}
    found = []
    for first, second in combinations(met, 2):
        counts, examples = _counted(_ties_to(pictures, links, rows[first], rows[second]))
        if counts:
            exactly, nearly = counts["exactly"], counts["nearly"]
            found.append(SharedPictures(first=first, second=second, exactly=exactly, nearly=nearly, examples=examples))
    return tuple(found)


def _ties_to(pictures: Pictures, links: Links, rows: np.ndarray, others: np.ndarray) -> dict[str, Example]:
    """For each image of ``rows`` that is tied to one of ``others``: by its surest tie, to the first or the nearest."""
    same_bytes, same_group = _first_with(links.content, others), _first_with(links.group, others)
    near = _nearest(links, rows, _first_with(links.print, others))
    flat = is_flat(pictures.fingerprints)
    best: dict[str, tuple[int, int, Example]] = {}
    for row in rows.tolist():
        content, number, group = int(links.content[row]), int(links.print[row]), int(links.group[row])
        if content in same_bytes:
            kind, bits, other = 0, 0, same_bytes[content]
        elif number in near and not flat[row]:
            kind, (bits, other) = 1, near[number]
        elif group in same_group:
            kind, bits, other = 2, 0, same_group[group]
        else:
            continue
        name = f"{pictures.sources[row]}/{pictures.images[row]}"
        if name not in best or (kind, bits) < best[name][:2]:
            second = f"{pictures.sources[other]}/{pictures.images[other]}"
            distance = bits if kind == 1 else None
            best[name] = kind, bits, Example(first=name, second=second, how=HOW[kind], distance=distance)
    return {name: example for name, (_, _, example) in best.items()}


def _first_with(values: np.ndarray, rows: np.ndarray) -> dict[int, int]:
    """The first of ``rows`` with each value."""
    found, first = np.unique(values[rows], return_index=True)
    return dict(zip(found.tolist(), rows[first].tolist(), strict=True))


def _nearest(links: Links, rows: np.ndarray, others: dict[int, int]) -> dict[int, tuple[int, int]]:
    """For each fingerprint of ``rows``, by number, with one of ``others`` within reach: bits between them and its row.

    ``others``: a row for each number of a fingerprint.
    """
    nearest = {number: (0, others[number]) for number in np.unique(links.print[rows]).tolist() if number in others}
    wanted = np.zeros(int(links.print.max(initial=-1)) + 1, bool)
    wanted[links.print[rows]] = True
    some = np.flatnonzero(wanted[links.near].any(axis=1))
    for pair, bits in zip(links.near[some].tolist(), links.distance[some].tolist(), strict=True):
        for one, other in (pair, reversed(pair)):
            if other in others:
                nearest[one] = min(nearest.get(one, (bits, others[other])), (bits, others[other]))
    return nearest


def _counted(ties: dict[str, Example]) -> tuple[Counter[str], tuple[Example, ...]]:
    """How many images are tied in each way, and the first examples of each."""
    counts: Counter[str] = Counter()
    examples = []
    for _, example in sorted(ties.items()):
        if counts[example.how] < EXAMPLES:
            examples.append(example)
        counts[example.how] += 1
    return counts, tuple(examples)


def _leak_sentence(leaks: SourceLeaks) -> str:
    total = leaks.test_images
    if not total:
        return f"{leaks.source}: no test images"
    if not leaks.leaked:
        return f"{leaks.source}: none of {total} test images occurs in training, exactly, nearly or by group"
    offer = ", ".join(f"{count} {split}" for split, count in leaks.image_disjoint.items())
    offered = f"; an image-disjoint split has {offer} images"
    if leaks.exactly == total:
        return f"{leaks.source}: all {total} test images also occur in training{offered}"
    parts = [f"{count} {how}" for count, how in zip((leaks.exactly, leaks.nearly, leaks.by_group), HOW, strict=True)]
    return f"{leaks.source}: {leaks.leaked} of {total} test images also occur in training: {', '.join(parts)}{offered}"


def _shared_sentence(shared: SharedPictures) -> str:
    return f"{shared.first} and {shared.second} share {shared.exactly} images exactly and {shared.nearly} nearly"

"""One reading of a data set for its inspection page: distributions, and a few records of each source and task.

Memory does not grow with the data set: counts are of few different values, and samples are those of smallest hash
among the records of a source, task and question type, so they are the same in any order of reading.
"""

import hashlib
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from healthgpt.data.shards import records_with_pictures
from healthgpt.data.thumbnails import thumbnail
from healthgpt.record import Record
from healthgpt.tasks import TASKS

KINDS_COUNTED = 200
"""Question types told apart; the rest count together."""
KINDS_SAMPLED = 16
"""Question types of a source and task that are sampled."""
CANDIDATES = 4
OTHER = "other types"
WORD_BINS = (0, 1, 2, 3, 5, 9, 17, 33, 65, 129, 257)
"""Where the bins of lengths in words begin; the last is open."""
BIN_NAMES = tuple(
    str(first) if after == first + 1 else f"{first} to {after - 1}" if after else f"{first} or more"
    for first, after in zip(WORD_BINS, (*WORD_BINS[1:], 0), strict=True)
)

SplitCounts = dict[str, Counter[str]]
"""Records by value, then by split."""


@dataclass(frozen=True)
class Shown:
    """A record to be shown, with its small pictures as data URIs; None where one cannot be read."""

    record: Record
    rank: int
    pictures: dict[str, str | None]


@dataclass
class Survey:
    """What one reading gave. ``lengths``: by ``instruction`` and ``response``, then by bin (as text) and split.

    ``wanted``: files of pictures of the leak report, with the small picture once a record has it.
    """

    folder: Path
    wanted: dict[str, str | None]
    splits: Counter[str] = field(default_factory=Counter)
    tasks: SplitCounts = field(default_factory=dict)
    modalities: SplitCounts = field(default_factory=dict)
    sources: SplitCounts = field(default_factory=dict)
    kinds: SplitCounts = field(default_factory=dict)
    forms: SplitCounts = field(default_factory=dict)
    lengths: dict[str, SplitCounts] = field(default_factory=lambda: {"instruction": {}, "response": {}})
    licences: dict[str, str] = field(default_factory=dict)
    candidates: dict[tuple[str, str], dict[str, list[Shown]]] = field(default_factory=dict)

    def take(self, record: Record, embedded: dict[str, bytes]) -> None:
        """Count one record and keep it if it is among those to show."""
        split, source = record.split, record.provenance.source
        self.splits[split] += 1
        kind = record.kind or "none said"
        if kind not in self.kinds and len(self.kinds) >= KINDS_COUNTED:
            kind = OTHER
        for counts, value in (
            (self.tasks, record.task),
            (self.modalities, modality_of(record.task)),
            (self.sources, source),
            (self.kinds, kind),
            (self.forms, form_of(record)),
            (self.lengths["instruction"], words_bin(record.instruction)),
        ):
            counts.setdefault(value, Counter())[split] += 1
        if record.response:
            self.lengths["response"].setdefault(words_bin(record.response), Counter())[split] += 1
        self.licences.setdefault(source, record.provenance.licence)
        self._sample(record, kind, embedded)
        if self.wanted:
            self._show_wanted(record, embedded)

    def _sample(self, record: Record, kind: str, embedded: dict[str, bytes]) -> None:
        kinds = self.candidates.setdefault((record.provenance.source, record.task), {})
        if kind not in kinds and len(kinds) >= KINDS_SAMPLED:
            return
        kept = kinds.setdefault(kind, [])
        rank = _rank(record)
        if len(kept) == CANDIDATES and rank >= kept[-1].rank:
            return
        # An embedded picture is made small at once, not kept whole; one in a file waits until it is sure to be shown.
        pictures = {name: thumbnail(self.folder, name, content) for name, content in embedded.items()}
        kept.append(Shown(record, rank, pictures))
        kept.sort(key=lambda one: one.rank)
        del kept[CANDIDATES:]

    def _show_wanted(self, record: Record, embedded: dict[str, bytes]) -> None:
        for name in (record.image, record.target_image):
            if name in self.wanted and self.wanted[name] is None:
                self.wanted[name] = thumbnail(self.folder, name, embedded.get(name))

    def shown(self, most: int, each: int) -> dict[tuple[str, str], list[Shown]]:
        """Records to show by source and task: ``each`` of a pair and not many more than ``most`` in all.

        Question types take turns, and a picture is shown again only where there are no others.
        """
        pairs = sorted(self.candidates, key=lambda pair: (pair[0], list(TASKS).index(pair[1])))[:most]
        each = max(1, min(each, most // max(len(pairs), 1)))
        return {
            # A pair to draw is two pictures wide.
            pair: self._chosen(self.candidates[pair], each if TASKS[pair[1]].draws is None else (each + 1) // 2)
            for pair in pairs
        }

    def _chosen(self, kinds: dict[str, list[Shown]], count: int) -> list[Shown]:
        turns = [
            one for turn in range(CANDIDATES) for _, kept in sorted(kinds.items()) for one in kept[turn : turn + 1]
        ]
        chosen: list[Shown] = []
        seen: set[str | None] = set()
        for again in (False, True):
            for one in turns:
                if len(chosen) < count and one not in chosen and (again or one.record.image not in seen):
                    chosen.append(one)
                    seen.add(one.record.image)
        return [self._with_pictures(one) for one in chosen]

    def _with_pictures(self, one: Shown) -> Shown:
        names = [name for name in (one.record.image, one.record.target_image) if name is not None]
        pictures = {
            name: one.pictures[name] if name in one.pictures else thumbnail(self.folder, name) for name in names
        }
        return Shown(one.record, one.rank, pictures)


def _rank(record: Record) -> int:
    """By the hash of the id, 64 bits; records without any image come after all that have one."""
    number = int.from_bytes(hashlib.blake2b(record.id.encode("utf-8", "replace"), digest_size=8).digest(), "little")
    return number + ((1 << 64) if record.image is None and record.target_image is None else 0)


def survey(folder: Path, wanted: frozenset[str] = frozenset()) -> Survey:
    """Read all records of a data set; ``DataError`` at the first that is none."""
    found = Survey(folder, dict.fromkeys(sorted(wanted)))
    for record, embedded in records_with_pictures(folder):
        found.take(record, embedded)
    return found


def modality_of(task: str) -> str:
    """What a task's pictures are: the task itself for reading, what is drawn otherwise."""
    return TASKS[task].draws or task


def form_of(record: Record) -> str:
    """How a record asks."""
    if TASKS[record.task].family == "generation":
        return "to draw"
    if record.kind in ("caption", "report"):
        return "to describe"
    return "single choice" if record.options else "open question"


def words_bin(text: str) -> str:
    """The bin of a text's length, as words to show: ``3 to 4``."""
    return BIN_NAMES[bisect_right(WORD_BINS, len(text.split())) - 1]

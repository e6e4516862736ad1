"""What a check of a data set found: problems gathered by kind, each with how often and a few places."""

from collections import Counter

from pydantic import BaseModel, ConfigDict

EXAMPLES = 5
"""Places named at most of one kind of problem."""

KINDS: dict[str, str] = {
    "manifest": "the manifest is missing, damaged or does not describe what is there",
    "side file": "a file beside the records is missing or damaged",
    "shard missing": "shards that the manifest names are not there",
    "shard changed": "shards whose size or SHA-256 is not the manifest's",
    "shard unreadable": "shards that cannot be read to their end",
    "shard columns": "shards whose columns are not those of a data set",
    "shard rows": "shards that hold more or fewer rows than the manifest says",
    "shard unknown": "shards that the manifest does not name",
    "counts": "counts that are not the manifest's",
    "record": "rows that are not a valid record",
    "options": "options that lack the answer, repeat, or are not spelt out in the question",
    "images of a task": "records without an image that their task needs",
    "split": "records in another split than their shard or their origin says",
    "repeated id": "ids that several records have",
    "group in several splits": "patients, cases or images whose records stand in several splits",
    "picture in several splits": "pictures, by their bytes, that stand in several splits",
    "image outside": "images named outside the data set's folder",
    "image missing": "images that are not there",
    "image unreadable": "images that cannot be decoded",
    "image form": "images that are not 8-bit grey or RGB",
    "image changed": "images whose content is not the one they are named by",
    "image name": "images that are not named by their content",
    "image of no record": "image files that no record names",
    "codes": "target codes that are unfinished, damaged or not of their codec",
    "target without codes": "target images that an encoded data set has no codes of",
    "codes without target": "codes of images that no record draws, or that stand there twice",
}
"""Every kind of problem in the order of the report, in words that follow "there are"."""


class Problem(BaseModel):
    """One kind of problem: ``kind`` is a key of ``KINDS``, ``what`` its words, ``examples`` the first few places."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    what: str
    count: int
    examples: tuple[str, ...]


class CheckReport(BaseModel):
    """What was looked at and everything that is wrong with it.

    ``records``: valid ones. ``images``: distinct ones that records name or hold. ``shards``: files of records that
    were read. ``notes``: what is worth knowing and no fault.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str
    records: int
    images: int
    shards: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


class Findings:
    """Collects problems while a data set is read: a count and the first examples of each kind."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, kind: str, example: str, count: int = 1) -> None:
        """Note ``count`` problems of a kind with one example."""
        examples = self._examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(" ".join(example.split()))
        self._counts[kind] += count

    def problems(self) -> tuple[Problem, ...]:
        """All that was found, in the order of ``KINDS``."""
        return tuple(
            Problem(kind=kind, what=what, count=self._counts[kind], examples=tuple(self._examples[kind]))
            for kind, what in KINDS.items()
            if self._counts[kind]
        )

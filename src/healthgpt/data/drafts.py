"""From what a source yields to drafts of records: words cleaned, pictures stored, nothing yet decided that depends on
other rows (split, form, phrasing, mixture).

A draft is a row of a Parquet file with the columns of ``SCHEMA``; ``Drafts`` collects one chunk's.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from healthgpt.data.choices import AnswerPool, given_choice, question_type
from healthgpt.data.normalise import Cleaned, clean_text, normalise_answer, normalise_question
from healthgpt.data.pictures import Picture, PictureStore, safe_path
from healthgpt.data.reports import clean_report, prompt_of_report, report_of_sections
from healthgpt.data.scans import ScanSettings, low_resolution, slices_of_scan
from healthgpt.errors import DataError, ImageError
from healthgpt.record import Sample, Split
from healthgpt.sources.entry import BadRowError, Entry, Pair, Question, Report, Scan
from healthgpt.tasks import READING_TASKS, TASKS

SEVERAL_IMAGES = "several images"
CONVERSIONS = (("ct-to-mri", "ct", "mri"), ("mri-to-ct", "mri", "ct"))
CONTRASTS = {"T1": "T1-weighted", "T2": "T2-weighted", "PD": "proton-density-weighted", "FLAIR": "FLAIR"}
IMAGE_LEFT_OUT = "image left out"
DESCRIBING = ("caption", "report")
LONGEST_REPORT = 20_000
"""Characters; the longest of MIMIC-CXR have some 5,000. What is longer is no report."""

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("task", pa.string()),
        ("kind", pa.string()),
        ("instruction", pa.string()),
        ("response", pa.string()),
        ("options", pa.list_(pa.string())),
        ("image", pa.string()),
        ("target", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),
        ("original", pa.string()),
        ("licence", pa.string()),
        ("transforms", pa.list_(pa.string())),
        ("settled", pa.bool_()),
        ("number", pa.uint64()),
        ("unit", pa.uint64()),
    ]
)
"""``key``: unique within the source. ``instruction``: the question, the report to draw, or empty where a phrasing of
the task is all. ``settled``: form and phrasing are as they should be already. ``number``, ``unit``: hashes of the id
and of the group, by which the decisions about all rows are looked up."""

PICTURE_SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("file", pa.string()),
        ("sha256", pa.string()),
        ("fingerprint", pa.list_(pa.uint64())),
        ("group", pa.string()),
        ("unit", pa.uint64()),
        ("split", pa.string()),
    ]
)
"""One row for each use of a published image in a split: what the search for leaks needs."""


@dataclass(frozen=True)
class Refused:
    """A row that is left out: where it stands and why."""

    file: str
    line: int
    reason: str


@dataclass
class Drafts:
    """The drafts of one chunk, with everything that was noticed on the way.

    ``originals``: folder of the download. ``words_only``: images are named but not there, so records go without.
    """

    source: str
    folder: Path
    originals: Path
    words_only: bool = False
    reconstruct: bool = False
    seed: int = 0
    scans: ScanSettings = field(default_factory=ScanSettings)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    uses: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    oddities: Counter[str] = field(default_factory=Counter)
    pool: AnswerPool = field(default_factory=AnswerPool)

    def __post_init__(self) -> None:
        self.store = PictureStore(self.folder, self.source, self.originals)

    def add(self, entry: Entry, file: str, line: int) -> None:
        """Turn an entry into drafts, or note why that cannot be."""
        try:
            if isinstance(entry, Question | Report) and len(entry.images) > 1:
                self.dropped[SEVERAL_IMAGES] += 1
            elif isinstance(entry, Question | Report) and entry.task not in READING_TASKS:
                raise BadRowError(f"'{entry.task}' is not a reading task")
            elif isinstance(entry, Question):
                self._question(entry)
            elif isinstance(entry, Report):
                self._report(entry)
            elif isinstance(entry, Scan):
                self._scan(entry)
            else:
                self._pair(entry)
        except BadRowError as fault:
            self.refuse(file, line, str(fault))
        except (DataError, ImageError) as fault:
            self.refuse(file, line, fault.line())

    def refuse(self, file: str, line: int, reason: str) -> None:
        self.refused.append(Refused(file, line, reason))

    def sample(self, sample: Sample) -> None:
        """Take a pack's own sample: its record is final, its pixels are stored."""
        record = sample.record
        origin = record.provenance
        group = origin.group.removeprefix(f"{self.source}/")
        image = None if sample.image is None else self.store.keep(sample.image, ())
        target = None if sample.target is None else self.store.keep(sample.target, ())
        for name, picture in ((record.image, image), (record.target_image, target)):
            if name and picture:
                self._use(name, picture, group, record.split)
        self.rows.append(
            (
                record.id, record.task, record.kind, record.instruction, record.response, record.options,
                image and image.file, target and target.file, record.split, group, origin.original_id,
                origin.licence, origin.transforms, True, *self._numbers(record.id, group),
            )
        )  # fmt: skip

    def _numbers(self, key: str, group: str) -> tuple[int, int]:
        return stable_number(f"{self.source}/{key}"), unit_number(self.source, group)

    def _cleaned(self, value: object) -> str:
        cleaned: Cleaned = clean_text(value)
        for oddity in cleaned.oddities:
            self.oddities[oddity] += 1
        return cleaned.text

    def _picture(self, name: str, entry: Entry) -> Picture | None:
        """A published image, stored; None where only the words are wanted."""
        picture = None if self.words_only else self.store.take(name)
        self._use(name, picture, group_of(entry), entry.split)
        return picture

    def _the_picture(self, entry: Question | Report) -> Picture | None:
        """The one image of an entry; None where it has none or only the words are wanted."""
        return self._picture(entry.images[0], entry) if entry.images else None

    def _use(self, name: str, picture: Picture | None, group: str, split: Split | None) -> None:
        self.uses.setdefault(
            (name, split or ""),
            {
                "name": name, "file": picture.file if picture else "", "sha256": picture.sha256 if picture else "",
                "fingerprint": list(picture.fingerprint) if picture else [], "group": group,
                "unit": unit_number(self.source, group), "split": split or "",
            },
        )  # fmt: skip

    def _question(self, entry: Question) -> None:
        question = normalise_question(self._cleaned(entry.question))
        asked = entry.kind not in DESCRIBING
        if asked and not question:
            raise BadRowError("no question")
        answer = self._cleaned(entry.answer)
        if not answer:
            raise BadRowError("no answer")
        options: tuple[str, ...] = ()
        transforms = ["words normalised"]
        if entry.options:
            question, answer, options = given_choice(question, entry.options, entry.answer)
            transforms.append("options of the publisher")
        elif asked:
            answer = normalise_answer(answer)
            if not answer:  # a full stop alone
                raise BadRowError("no answer")
        picture = self._the_picture(entry)
        if entry.images and picture is None:
            transforms.append(IMAGE_LEFT_OUT)
        kind = entry.kind or question_type(question, answer)
        if asked and not options and entry.split != "test":
            self.pool.add(self.source, kind, answer)
        self._draft(entry, entry.original_id, entry.task, kind, question, answer, picture, None, transforms, options)
        if self.reconstruct and picture is not None:
            self._draft(
                entry, f"{entry.images[0]}/reconstruct", "reconstruct", "reconstruct", "", "", picture, picture, []
            )

    def _report(self, entry: Report) -> None:
        if len(entry.text) > LONGEST_REPORT:
            raise BadRowError(f"a report of {len(entry.text):,} characters")
        report = (
            clean_report(entry.text)
            if entry.text
            else report_of_sections({"findings": entry.findings, "impression": entry.impression})
        )
        words = prompt_of_report(report)
        told = " ".join(part for part in (report.findings, report.impression) if part)
        if not words or not told:
            self.dropped["report that says nothing about the picture"] += 1
            return
        picture = self._the_picture(entry)
        transforms = ["report cleaned"] + ([IMAGE_LEFT_OUT] if picture is None and entry.images else [])
        self._draft(
            entry, f"{entry.original_id}/report", entry.task, "report", "", told, picture, None, transforms
        )  # fmt: skip
        if picture is not None:
            task = "report-to-cxr"
            self._draft(entry, f"{entry.original_id}/{task}", task, task, words, "", None, picture, transforms)

    def _scan(self, entry: Scan) -> None:
        paths = {role: safe_path(self.originals, name) for role, name in entry.volumes.items()}
        for role, path in paths.items():
            if not path.exists():
                raise BadRowError(f"{role} volume missing")
        settings = self.scans
        scan = slices_of_scan(
            paths, region=entry.region, settings=settings, name=f"{self.source}/{entry.original_id}", seed=self.seed
        )
        for piece in scan.slices:
            name = f"{entry.original_id}/{settings.plane}-{piece.index}" + (f"-{piece.copy}" if piece.copy else "")
            pictures = {role: self.store.keep(pixels, piece.transforms) for role, pixels in piece.pixels.items()}
            for shown, picture in pictures.items():
                self._use(f"{name}/{shown}", picture, group_of(entry), entry.split)
                self._draft(
                    entry, f"{name}/{shown}/reconstruct", "reconstruct", "reconstruct", "", "", picture, picture, []
                )
                for kind, question, answer in _known_of(entry, shown):
                    self.pool.add(self.source, kind, answer)
                    self._draft(entry, f"{name}/{shown}/{kind}", shown, kind, question, answer, picture, None, [])
            if "mri" in pictures:
                coarse, method = low_resolution(piece.pixels["mri"], settings)
                given = self.store.keep(coarse, (*piece.transforms, method))
                task = "super-resolution"
                self._draft(entry, f"{name}/{task}", task, task, "", "", given, pictures["mri"], [])
            if len(pictures) == 2:
                for task, given_role, target_role in CONVERSIONS:
                    given, target = pictures[given_role], pictures[target_role]
                    self._draft(entry, f"{name}/{task}", task, task, "", "", given, target, [])

    def _pair(self, entry: Pair) -> None:
        if entry.task not in TASKS or TASKS[entry.task].family != "generation":
            raise BadRowError(f"'{entry.task}' is not a generation task")
        given, target = self._picture(entry.image, entry), self._picture(entry.target, entry)
        if given is None or target is None:
            raise BadRowError("a pair needs its images")
        self._draft(entry, entry.original_id, entry.task, entry.task, "", "", given, target, [])

    def _draft(
        self, entry: Entry, key: str, task: str, kind: str, instruction: str, response: str, image: Picture | None,
        target: Picture | None, transforms: list[str], options: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        for picture in (image, target):
            if picture is not None and picture.transforms:
                transforms = transforms + [one for one in picture.transforms if one not in transforms]
        group = group_of(entry)
        self.rows.append(
            (
                key, task, kind, instruction, response, options, image.file if image else None,
                target.file if target else None, entry.split or "", group, entry.original_id, entry.licence,
                transforms, bool(options), *self._numbers(key, group),
            )
        )  # fmt: skip

    def table(self) -> pa.Table:
        """The drafts as one table."""
        columns = zip(*self.rows, strict=True) if self.rows else [()] * len(SCHEMA)
        return pa.table(
            [pa.array(list(column), kind.type) for column, kind in zip(columns, SCHEMA, strict=True)], SCHEMA
        )

    def pictures(self) -> pa.Table:
        """The uses of images, in a fixed order."""
        return pa.Table.from_pylist([self.uses[key] for key in sorted(self.uses)], PICTURE_SCHEMA)


def group_of(entry: Entry) -> str:
    """Patient, case or image of an entry: what may not be parted by a split."""
    if entry.group:
        return entry.group
    if isinstance(entry, Pair):
        return entry.image
    return entry.images[0] if isinstance(entry, Question | Report) and entry.images else entry.original_id


def _known_of(entry: Scan, role: str) -> Iterator[tuple[str, str, str]]:
    """(kind, question, answer) of what is known for sure of a slice of a scan."""
    yield "modality", "Which imaging modality is this?", "MRI" if role == "mri" else "CT"
    if entry.region:
        yield "region", "Which part of the body is shown?", entry.region
    contrast = CONTRASTS.get(entry.facts.get("contrast", "").upper().removesuffix("W"))
    if role == "mri" and contrast:
        yield "contrast", "Which MRI contrast is this?", contrast


def stable_number(text: str) -> int:
    """64 bits that depend on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big")


@lru_cache(maxsize=1 << 12)
def unit_number(source: str, group: str) -> int:
    """The number of a unit; as a share of 2^64 it is the ``fraction_of`` that splits are drawn by."""
    return stable_number(f"{source}/{group}")

"""Check of a whole data set: everything that is wrong with it is found in one go and told with counts and examples.

    1 records   files of records against the manifest, every row against the model      check_records.py
    2 codes     the target codes of every codec                                         check_codes.py
    3 images    each picture once: there, decodable, named by its content; repeated
                ids, groups in several splits                                           check_images.py, here
    4 splits    no picture stands in two splits, by its bytes                           here

Nothing is held in memory that grows with the data set: what has to be known of all records is gathered on disk
(``scattered.py``), in the system's folder for temporary files, about 100 bytes for each record and image.
"""

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from healthgpt.data.check_codes import check_codes
from healthgpt.data.check_images import EmbeddedPictures, look_at_files, picture_readers
from healthgpt.data.check_records import RECORDS_FILE, RecordsSeen
from healthgpt.data.findings import EXAMPLES, CheckReport, Findings
from healthgpt.data.leaks import LeakReport
from healthgpt.data.scattered import ScatteredFacts
from healthgpt.data.shards import INDEX, MANIFEST, Manifest, load_manifest
from healthgpt.errors import DataError

Progress = Callable[[str, int, int], None]
"""Told the step, how many of its pieces are done and how many there are (0 where that is not known)."""
STEPS = ("reading records", "looking at images")
PARTED = ("clean", "disjoint")
"""Split policies under which no group and no picture may stand in two splits."""


@dataclass
class _Work:
    """What the steps of one check share."""

    folder: Path
    manifest: Manifest | None
    findings: Findings
    facts: ScatteredFacts
    contents: ScatteredFacts
    progress: Progress
    notes: list[str]
    images: int = 0

    @property
    def lines(self) -> bool:
        return (self.folder / RECORDS_FILE).is_file()

    @property
    def policy(self) -> str | None:
        return None if self.manifest is None else self.manifest.settings.get("splits")

    @property
    def parted(self) -> bool:
        # A group of a folder of lines never spans two splits (``record.Provenance.group``).
        return self.lines or self.policy in PARTED


def check_data(folder: Path, progress: Progress = lambda step, done, total: None) -> CheckReport:
    """Look at every file, record and image of a data set, in shards or in ``records.jsonl``.

    Problems are in the report, however many; ``DataError`` only where there is no data set to look at.
    """
    lines = (folder / RECORDS_FILE).is_file()
    if not lines and not (folder / MANIFEST).is_file() and not any(folder.glob("data/*.parquet")):
        load_manifest(folder)  # raises, and says whether a build is unfinished there
    findings = Findings()
    manifest = None
    if not lines:
        try:
            manifest = load_manifest(folder)
        except DataError as fault:
            findings.add("manifest", fault.line())
    with TemporaryDirectory(prefix="healthgpt-check-") as scratch:
        places = [Path(scratch) / name for name in ("facts", "contents")]
        for place in places:
            place.mkdir()
        facts, contents = (ScatteredFacts(place) for place in places)
        work = _Work(folder, manifest, findings, facts, contents, progress, [])
        seen = _read_records(work)
        codecs = check_codes(folder, findings, facts)
        files = _list_images(work)
        with picture_readers() as readers:
            orphans, some = _settle_facts(work, readers, codecs, files)
        _tell_orphans(work, files, orphans, some)
        _settle_contents(work)
        _compare_with_manifest(work, seen, files)
        return CheckReport(
            folder=str(folder), records=seen.records, images=work.images, shards=seen.files,
            problems=findings.problems(), notes=tuple(work.notes),
        )  # fmt: skip


def _read_records(work: _Work) -> RecordsSeen:
    embedded = EmbeddedPictures(work.findings, work.contents)
    seen = RecordsSeen(work.folder, work.findings, work.facts, embedded, policy=work.policy)
    total = sum(shard.rows for shard in work.manifest.shards) if work.manifest else 0

    def tell(rows: int) -> None:
        work.progress(STEPS[0], rows, total)

    tell(0)
    if work.lines:
        seen.read_lines(tell)
    else:
        seen.read_shards(work.manifest, tell)
    work.progress(STEPS[0], seen.rows, seen.rows)
    return seen


def _list_images(work: _Work) -> int:
    """Note every file below images/; returns how many there are."""
    count = 0
    for path in (work.folder / "images").rglob("*"):
        if path.is_file() or path.is_symlink():
            work.facts.add(f"image {path.relative_to(work.folder).as_posix()}", "file")
            count += 1
    return count


def _settle_facts(work: _Work, readers: Executor, codecs: list[str], files: int) -> tuple[int, list[str]]:
    """What all facts together say of ids, groups and images; returns how many image files no record names, and some."""
    orphans, some = 0, list[str]()
    done = 0
    work.progress(STEPS[1], 0, files)
    for part in work.facts.parts():
        named: dict[str, Counter[str]] = {}
        for key, facts in sorted(part.items()):
            what, _, name = key.partition(" ")
            if what == "id" and facts.total() > 1:
                work.findings.add("repeated id", f"{name} ({facts.total()} times)")
            elif what == "group" and work.parted and len(facts) > 1:
                work.findings.add("group in several splits", f"{name} ({_listed(facts)})")
            elif what == "image" and _settle_image(work, name, facts, codecs):
                named[name] = facts
            elif what == "image" and set(facts) == {"file"}:
                orphans += 1
                some += [name] if len(some) < EXAMPLES else []
        for looked in look_at_files(readers, work.folder, named, by_content=not work.lines):
            for kind, words in looked.faults:
                work.findings.add(kind, words)
            if looked.digest is not None:
                for fact in named[looked.name]:
                    if fact.startswith("split "):
                        work.contents.add(looked.digest, f"{fact.removeprefix('split ')} {looked.name}")
        done += len(named)
        work.progress(STEPS[1], done, max(files, done))
    work.progress(STEPS[1], done, done)  # files of no record were counted before it was known that they are
    return orphans, some


def _settle_image(work: _Work, name: str, facts: Counter[str], codecs: list[str]) -> bool:
    """What is known of one image name besides its file; whether that file is to be looked at."""
    for codec in codecs:
        times = facts[f"codes {codec}"]
        if "target" in facts and not times:
            work.findings.add("target without codes", f"{name} by the codec {codec[:12]}")
        elif times > 1 or (times and "target" not in facts):
            work.findings.add("codes without target", f"{name} by the codec {codec[:12]}")
    in_file = any(fact.startswith("split ") for fact in facts)
    work.images += in_file or "embedded" in facts
    return in_file


def _settle_contents(work: _Work) -> None:
    """Pictures that stand in several splits, whatever they are called."""
    if not work.parted:
        return
    for part in work.contents.parts():
        for facts in part.values():
            places: dict[str, str] = {}
            for fact in facts:
                split, _, name = fact.partition(" ")
                places.setdefault(split, name)
            if len(places) > 1:
                told = ", ".join(f"{split}: {name}" for split, name in sorted(places.items()))
                work.findings.add("picture in several splits", told)


def _tell_orphans(work: _Work, files: int, orphans: int, some: list[str]) -> None:
    """Images of no record: a fault, unless their number shows that the build stored them for rows it left out."""
    if orphans and work.manifest is not None and files <= work.manifest.images:
        work.notes.append(f"{orphans:,} image files are of records that the build left out or withheld")
        return
    for number, name in enumerate(some):
        work.findings.add("image of no record", name, 1 if number else orphans - len(some) + 1)


def _compare_with_manifest(work: _Work, seen: RecordsSeen, files: int) -> None:
    """The manifest's counts, and the files beside the records."""
    manifest = work.manifest
    if manifest is None:
        return
    if manifest.settings.get("images") == "files" and files != manifest.images:
        work.findings.add("counts", f"{files:,} image files instead of {manifest.images:,}")
    for split in sorted(manifest.counts.keys() | seen.counts.keys()):
        said, found = manifest.counts.get(split, {}), seen.counts.get(split, Counter())
        for key in sorted(said.keys() | found.keys()):
            if said.get(key, 0) != found[key]:
                words = f"{split} {key}: {found[key]:,} records instead of {said.get(key, 0):,}"
                work.findings.add("counts", words)
    drafts = sum(own.get("drafts", 0) for own in manifest.sources.values())
    accounted = sum(shard.rows for shard in manifest.shards) + sum(manifest.left_out.values())
    if drafts != accounted:
        work.findings.add("manifest", f"{drafts:,} rows became {accounted:,} records and rows left out")
    _check_side_files(work, manifest)


def _check_side_files(work: _Work, manifest: Manifest) -> None:
    folder, findings = work.folder, work.findings
    if not (folder / "README.md").is_file():
        findings.add("side file", "README.md, the data card, is missing")
    try:
        LeakReport.model_validate_json((folder / "leaks.json").read_bytes())
    except OSError:
        findings.add("side file", "leaks.json is missing")
    except ValidationError:
        findings.add("side file", "leaks.json is damaged")
    _check_index(folder, manifest, findings)
    quarantined = sum(own.get("quarantined", 0) for own in manifest.sources.values())
    for name, wanted in (("quarantine.jsonl", quarantined), ("withheld.jsonl", manifest.left_out.get("withheld", 0))):
        try:
            with (folder / name).open(encoding="utf-8") as lines:
                found = sum(1 for line in lines if isinstance(json.loads(line), dict))
        except OSError:
            findings.add("side file", f"{name} is missing")
        except ValueError:
            findings.add("side file", f"{name} is damaged")
        else:
            if found != wanted:
                findings.add("side file", f"{name}: {found:,} lines instead of {wanted:,}")


def _check_index(folder: Path, manifest: Manifest, findings: Findings) -> None:
    """The index has a row for every record of every shard."""
    told: Counter[str] = Counter()
    try:
        index = pq.ParquetFile(folder / INDEX)
        for number in range(index.num_row_groups):
            told.update(index.read_row_group(number, ["shard"])["shard"].to_pylist())
    except FileNotFoundError:
        findings.add("side file", f"{INDEX} is missing")
        return
    except (OSError, pa.ArrowException):
        findings.add("side file", f"{INDEX} is damaged")
        return
    for shard in manifest.shards:
        if told[shard.file] != shard.rows:
            findings.add("side file", f"{INDEX}: {told[shard.file]:,} rows of {shard.file} instead of {shard.rows:,}")


def _listed(splits: Counter[str]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in sorted(splits.items()))

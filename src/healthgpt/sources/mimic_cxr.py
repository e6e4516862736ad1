"""MIMIC-CXR: chest X-ray studies with their free-text reports, read from the PhysioNet releases.

Layout as described at https://physionet.org/content/mimic-cxr/2.1.0 and .../mimic-cxr-jpg/2.1.0: reports are
``files/p10/p10000032/s50414267.txt`` (mimic-cxr-reports.zip); images lie in a folder of that name, without ``.txt``,
as ``<dicom_id>.jpg``, or ``.dcm`` in the DICOM release. ``mimic-cxr-2.0.0-metadata.csv.gz`` (a row an image, with its
ViewPosition) and ``mimic-cxr-2.0.0-split.csv.gz`` belong to the JPG release and are needed with either; their names
did not change with 2.1.0. Only frontal views (PA, AP) are read, each with the report of its study.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from healthgpt.errors import DataError
from healthgpt.record import Split
from healthgpt.sources.base import Source
from healthgpt.sources.entry import BadRowError, Entry, Report
from healthgpt.sources.layout import Published, Row, Table
from healthgpt.sources.tables import opened, repaired

METADATA = "mimic-cxr-2.0.0-metadata.csv"
SPLIT = "mimic-cxr-2.0.0-split.csv"
COLUMNS = ("dicom_id", "subject_id", "study_id", "ViewPosition")
SPLITS: dict[str, Split] = {"train": "train", "validate": "validation", "test": "test"}
FRONTAL = frozenset(("PA", "AP"))
REPORT_FOLDERS = ("mimic-cxr-reports/files", "mimic-cxr-reports", "reports/files", "files")
"""Where mimic-cxr-reports.zip is customarily unpacked; beside the images last, where looking takes longest."""
IMAGE_ENDINGS = frozenset((".jpg", ".jpeg", ".png", ".dcm"))
LARGEST_REPORT = 1 << 20


@dataclass(frozen=True)
class Release:
    """What a row of the metadata does not say."""

    splits: dict[int, Split]
    """By subject, of whom there are 65,379: no subject has images in two."""
    metadata: str
    """The one metadata file to read, where both the packed and the unpacked one are there."""
    reports: Path
    ending: str


def read_release(folder: Path) -> Release:
    """The published split, and where and in which form the files lie."""
    chosen = one_of(folder, METADATA)
    return Release(read_splits(one_of(folder, SPLIT)), chosen.name, report_folder(folder), image_ending(folder))


def one_of(folder: Path, name: str) -> Path:
    """The table, unpacked or packed; ``DataError`` when it is not there."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(
        f"'{SOURCE.name}' lacks {folder / name}.gz",
        next_step="put it there from MIMIC-CXR-JPG; the DICOM release needs it too",
    )


def read_splits(path: Path) -> dict[int, Split]:
    """The published split of each subject."""
    splits: dict[int, Split] = {}
    try:
        with opened(path) as stream:
            lines = csv.reader(line.decode("ascii") for line in stream)
            header = next(lines, [])
            subject_at, split_at = header.index("subject_id"), header.index("split")
            for cells in lines:
                if cells:
                    splits[int(cells[subject_at])] = SPLITS[cells[split_at].strip()]
    except (KeyError, IndexError, ValueError, OSError, EOFError) as fault:
        raise DataError(
            f"{path} is not the published split", found=str(fault),
            allowed="columns subject_id and split, which is train, validate or test", next_step="get the file again",
        ) from fault  # fmt: skip
    return splits


def report_folder(folder: Path) -> Path:
    """The folder that holds ``p10/p10000032/s50414267.txt``."""
    for name in REPORT_FOLDERS:
        if next((folder / name).glob("p1*/p*/s*.txt"), None):
            return folder / name
    raise DataError(
        f"no reports below {folder}", found=f"none in {', '.join(REPORT_FOLDERS)}",
        next_step=f"unpack mimic-cxr-reports.zip of MIMIC-CXR into {folder / REPORT_FOLDERS[1]}",
    )  # fmt: skip


def image_ending(folder: Path) -> str:
    """``.dcm`` for the DICOM release, ``.jpg`` for the JPG release and where there are no images yet."""
    for path in (folder / "files").glob("p1*/p*/s*/*.*"):
        if path.suffix in IMAGE_ENDINGS:
            return path.suffix
    return ".jpg"


def published_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """A frontal image with the whole report of its study."""
    release: Release = row.context
    if row.file != release.metadata:
        oddities["in a second copy of the metadata"] += 1
        return
    value = row.value
    view, subject, study, image = value["ViewPosition"], value["subject_id"], value["study_id"], value["dicom_id"]
    if view not in FRONTAL:
        oddities["view not frontal" if view else "no ViewPosition"] += 1
        return
    if not (image and subject.isdecimal() and study.isdecimal()):
        raise BadRowError("no dicom_id, subject_id or study_id")
    split = release.splits.get(int(subject))
    if split is None:
        raise BadRowError("subject without a split")
    place = f"p{subject[:2]}/p{subject}/s{study}"
    yield Report(
        original_id=f"s{study}/{image}", images=(f"files/{place}/{image}{release.ending}",),
        text=report_text(release.reports / f"{place}.txt", oddities), split=split, group=f"p{subject}",
    )  # fmt: skip


def report_text(path: Path, oddities: Counter[str]) -> str:
    """A report as written, headings, blanks and "___" included."""
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_REPORT + 1)
    except OSError as fault:
        raise BadRowError("no report of the study") from fault
    if len(content) > LARGEST_REPORT:
        raise BadRowError("report of more than a megabyte")
    return repaired(content.decode("utf-8", "surrogateescape"), oddities)


PUBLISHED = Published(
    tables=(
        Table(METADATA, "csv", columns=COLUMNS, rows=377_110),
        Table(f"{METADATA}.gz", "csv", columns=COLUMNS, rows=377_110),
    ),
    entries=published_entries,
    expected=(
        (f"{METADATA}*", 0, "377,110 images (from MIMIC-CXR-JPG)"),
        (f"{SPLIT}*", 0, "the split of each image (from MIMIC-CXR-JPG)"),
        ("mimic-cxr-reports/files/p1*/p*/s*.txt", 0, "227,835 reports (mimic-cxr-reports.zip)"),
        ("files/p1*/p*/s*/*", 0, "377,110 images, .jpg or .dcm"),
    ),
    splits="train, validate and test by patient, as in mimic-cxr-2.0.0-split.csv",
    yields="reports of frontal chest X-rays, to read from the image or to draw it from",
    access=(
        "credentialed: make an account at https://physionet.org, finish the CITI course 'Data or Specimens Only"
        " Research', apply for credentialed access, then sign the data use agreements of mimic-cxr and mimic-cxr-jpg"
    ),
    prepare=read_release,
    citation="Johnson et al., Scientific Data 6, 317 (2019); Johnson et al., arXiv:1901.07042",
    notes=("the agreement forbids sharing the data, and sending it to services of third parties",),
)  # fmt: skip

SOURCE = Source(
    name="mimic_cxr",
    title="MIMIC-CXR: chest X-rays with free-text reports",
    licence="PhysioNet Credentialed Health Data License 1.5.0",
    obtain="https://physionet.org/content/mimic-cxr-jpg",
    folder="mimic_cxr",
    published_images=377_110,
    published_questions=0,
    published=PUBLISHED,
)

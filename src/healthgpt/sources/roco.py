"""ROCO: figures of PubMed Central articles, mostly radiology, with their captions; both versions and the CSV copy.

Version 1 (razorx89/roco-dataset, README and ``scripts/fetch.py``): ``data/<split>/radiology/captions.txt`` and, beside
it, ``non-radiology``; lines are an id, a tab and a caption that begins with a blank. Images are fetched to ``images/``
beside the captions and named ``PMCID_name``: ``licences.txt`` (ROCO_ID, PMC_ID, CC) tells name and licence of each,
``dlinks.txt`` (id, a wget command with the article's archive, name) the name alone. The copy on Kaggle has
``all_data/<split>/radiology/traindata.csv`` (id, name, caption) with the same names of images.

Version 2 (Rückert et al. 2024): ``train_captions.csv``, ``valid_captions.csv``, ``test_captions.csv`` (ID, Caption),
images ``<ID>.jpg`` in ``train/`` or ``train_images/``, and ``*_concepts_manual.csv`` (ID, CUIs), whose UMLS concepts
name the modality. Version 1 does not tell it: there it is the one that the caption names first, else ``other``.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from healthgpt.record import Split
from healthgpt.sources.base import Source
from healthgpt.sources.entry import BadRowError, Entry, Question
from healthgpt.sources.layout import Published, Row, Table
from healthgpt.sources.modality import first_modality

SPLITS: tuple[tuple[str, Split], ...] = (("train", "train"), ("validation", "validation"), ("test", "test"))
PARTS = ("radiology", "non-radiology")
CONCEPTS = {
    "C0040405": "ct",
    "C0024485": "mri",
    "C0041618": "ultrasound",
    "C1306645": "x-ray",
    "C0002978": "x-ray",  # angiogram
    "C0032743": "other",  # positron emission tomography
}
"""UMLS concepts of the modality in version 2."""


class Lookups(NamedTuple):
    """What the files beside the captions tell."""

    image_of: dict[str, str]
    """Version 1: id to image."""
    licence_of: dict[str, str]
    """Version 1: id to the figure's licence."""
    folder_of: dict[str, str]
    """Version 2: prefix of the table (train, valid, test) to the folder of its images."""
    task_of: dict[str, str]
    """Version 2: id to reading task."""


def read_lookups(folder: Path) -> Lookups:
    """Download lists, licences, folders of images and concepts, as far as they are there."""
    found = Lookups({}, {}, {}, {})
    for split, _ in SPLITS:
        for part in PARTS:
            _read_links(folder, f"data/{split}/{part}", found.image_of)
            _read_licences(folder, f"data/{split}/{part}", found)
    for prefix in ("train", "valid", "test"):
        names = (f"{prefix}_images/{prefix}", f"{prefix}_images", prefix)
        found.folder_of[prefix] = next((name for name in names if (folder / name).is_dir()), prefix)
        _read_concepts(folder / f"{prefix}_concepts_manual.csv", found.task_of)
    return found


def _read_links(folder: Path, place: str, image_of: dict[str, str]) -> None:
    path = folder / place / "dlinks.txt"
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            cells = line.rstrip("\r\n").split("\t")
            words = cells[1].split() if len(cells) > 2 else []
            archive = next((word for word in words if word.endswith(".tar.gz")), "")
            if archive:
                article = archive.rpartition("/")[2].removesuffix(".tar.gz")
                image_of[cells[0].strip()] = f"{place}/images/{article}_{cells[-1].strip()}"


def _read_licences(folder: Path, place: str, found: Lookups) -> None:
    path = folder / place / "licences.txt"
    if not path.is_file():
        return
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        for cells in csv.reader(stream):
            if len(cells) == 3 and cells[0] != "ROCO_ID":
                identity, name, licence = (cell.strip() for cell in cells)
                found.image_of[identity] = f"{place}/images/{name}"
                found.licence_of[identity] = licence


def _read_concepts(path: Path, task_of: dict[str, str]) -> None:
    if not path.is_file():
        return
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        for cells in csv.reader(stream):
            tasks = {CONCEPTS[concept] for concept in cells[-1].split(";") if concept in CONCEPTS} if cells else set()
            if tasks:
                task_of[cells[0]] = tasks.pop() if len(tasks) == 1 else "other"


def caption_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """The figure's caption, for an empty question."""
    place = PurePosixPath(row.file)
    lookups: Lookups = row.context
    if "Caption" in row.value:
        identity, caption = row.value["ID"], row.value["Caption"]
        image = f"{lookups.folder_of[place.name.partition('_')[0]]}/{identity}.jpg"
        task = lookups.task_of.get(identity)
    else:
        identity, caption = row.value["id"].strip(), row.value["caption"]
        name = row.value.get("name")
        image = f"{place.parent}/images/{name}" if name else lookups.image_of.get(identity, "")
        if not image and identity:
            raise BadRowError("its image is neither in licences.txt nor in dlinks.txt")
        task = "other" if place.parent.name == "non-radiology" else None
    if not identity:
        raise BadRowError("no id")
    if not caption.strip():
        raise BadRowError("no caption")
    if caption != caption.strip():
        oddities["caption padded with blanks"] += 1
    yield Question(
        original_id=identity, images=(image,), question="", answer=caption,
        task=task or first_modality(caption) or "other", kind="caption", split=row.split, group=image,
        licence=lookups.licence_of.get(identity, ""),
    )  # fmt: skip


SOURCE = Source(
    name="roco",
    title="ROCO and ROCOv2: radiology figures of PubMed Central with captions",
    licence="per figure: CC BY, CC BY-NC and other licences of PubMed Central's open-access subset",
    obtain="https://github.com/razorx89/roco-dataset and https://doi.org/10.1038/s41597-024-03496-6",
    folder="roco",
    published_images=79_789,
    published_questions=79_789,
    published=Published(
        tables=(
            *(
                Table(f"data/{name}/{part}/captions.txt", "tsv", split, header=("id", "caption"))
                for name, split in SPLITS
                for part in PARTS
            ),
            *(
                Table(f"all_data/{name}/{part}/{short}data.csv", "csv", split, columns=("id", "name", "caption"))
                for (name, split), short in zip(SPLITS, ("train", "val", "test"), strict=True)
                for part in PARTS
            ),
            Table("train_captions.csv", "csv", "train", columns=("ID", "Caption"), rows=59_958),
            Table("valid_captions.csv", "csv", "validation", columns=("ID", "Caption"), rows=9_904),
            Table("test_captions.csv", "csv", "test", columns=("ID", "Caption"), rows=9_927),
        ),
        entries=caption_entries,
        expected=(
            ("*_captions.csv", 0, "ROCOv2: 59,958 training, 9,904 validation and 9,927 test captions"),
            ("*_concepts_manual.csv", 0, "ROCOv2: modality of each figure"),
            ("{train,valid,test}*/*.jpg", 0, "ROCOv2: 79,789 figures"),
            ("data/*/*/captions.txt", 0, "ROCO: captions, with licences.txt and dlinks.txt beside them"),
            ("data/*/*/images/*.jpg", 0, "ROCO: figures, fetched by scripts/fetch.py"),
        ),
        splits="as published: training, validation, test",
        yields="one caption a figure",
        prepare=read_lookups,
        citation="Pelka et al., LABELS 2018; Rückert et al., Scientific Data 11, 688 (2024)",
        notes=(
            "version 2 holds figures of version 1: build one of them",
            "the splits are by figure: figures of one article may lie in several",
        ),
    ),
)

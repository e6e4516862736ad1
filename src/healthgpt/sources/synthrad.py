"""SynthRAD2023 task 1: MRI and planning CT of one radiotherapy patient, registered, of the brain and the pelvis.

Layout as in Thummerer et al., Medical Physics 50, 4664 (2023): ``Task1/{brain,pelvis}/<id>/{mr,ct,mask}.nii.gz``, where
``1BA001`` is task 1, brain, hospital A, number 1; ``Task1_val`` is the same without CT. The 2025 edition (head and
neck, chest, abdomen) is ``Task1/{HN,TH,AB}/<id>/{mr,ct,mask}.mha``. MRI and CT are aligned by the publisher.

A third party made PNG middle slices of the brain (``brain/<id>/middle_slices/mri_axial.png`` ...), scaled image by
image to 0-255: those are pairs of pictures, without Hounsfield units.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from healthgpt.sources.base import Source
from healthgpt.sources.entry import BadRowError, Entry, Pair, Role, Scan
from healthgpt.sources.layout import Download, Published, Row, Table

CASE = re.compile(r"1(B|P|AB|HN|TH)[A-Z]\d{3}")
REGIONS = {"B": "head", "P": "pelvis", "AB": "abdomen", "HN": "head", "TH": "chest"}
SLICES = re.compile(r"(?P<folder>.+/(?P<case>[^/]+)/middle_slices)/mri_(?P<plane>axial|coronal|sagittal)\.png")


@dataclass(frozen=True)
class Companions:
    """What lies beside the MRI files: a validation case has no CT."""

    ct: frozenset[str]
    """Folders, relative to the data set's, that hold a CT."""
    mask: frozenset[str]


def companions(folder: Path) -> Companions:
    """Which case folders have a CT and which a mask."""

    def holding(name: str) -> frozenset[str]:
        patterns = [f"{start}Task1*/*/*/{name}.{end}" for start in ("", "*/") for end in ("nii.gz", "mha")]
        found = (path for pattern in patterns for path in folder.glob(pattern))
        return frozenset(path.parent.relative_to(folder).as_posix() for path in found)

    return Companions(holding("ct"), holding("mask"))


def published_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """A patient's volumes; a slice made by the third party as one pair for each direction."""
    file = str(row.value)
    if file.endswith(".png"):
        yield from _slice_pairs(file)
        return
    case_folder, _, name = file.rpartition("/")
    case = case_folder.rpartition("/")[2]
    match = CASE.fullmatch(case)
    if match is None:
        raise BadRowError("the folder is not named after a case of task 1")
    end = name.removeprefix("mr")
    volumes: dict[Role, str] = {"mri": file}
    beside: tuple[tuple[Role, set[str]], ...] = (("ct", row.context.ct), ("mask", row.context.mask))
    for key, present in beside:
        if case_folder in present:
            volumes[key] = f"{case_folder}/{key}{end}"
        else:
            oddities[f"no {key} beside the MRI"] += 1
    yield Scan(original_id=case, volumes=volumes, region=REGIONS[match[1]], split=row.split, group=case)


def _slice_pairs(file: str) -> Iterator[Entry]:
    match = SLICES.fullmatch(file)
    if match is None or not CASE.fullmatch(match["case"]):
        raise BadRowError("not a middle slice of a case of task 1")
    ct = f"{match['folder']}/ct_{match['plane']}.png"
    name = f"{match['case']}/{match['plane']}"
    yield Pair(f"{name}/mri-to-ct", "mri-to-ct", image=file, target=ct, group=match["case"])
    yield Pair(f"{name}/ct-to-mri", "ct-to-mri", image=ct, target=file, group=match["case"])


PUBLISHED = Published(
    tables=(
        Table("Task1/*/*/mr.nii.gz", "files", rows=360),
        Table("Task1_val/*/*/mr.nii.gz", "files", "validation", rows=60),
        Table("Task1/*/*/mr.mha", "files"),
        Table("*/Task1/*/*/mr.mha", "files"),
        Table("brain/*/middle_slices/mri_*.png", "files"),
    ),
    entries=published_entries,
    expected=(
        ("Task1/brain/*/mr.nii.gz", 0, "180 patients, each with ct.nii.gz and mask.nii.gz"),
        ("Task1/pelvis/*/mr.nii.gz", 0, "180 patients, each with ct.nii.gz and mask.nii.gz"),
        ("Task1_val/*/*/mr.nii.gz", 0, "60 patients without CT"),
        ("brain/*/middle_slices/*.png", 0, "or: PNG slices made by a third party"),
    ),
    splits="360 training patients with CT, which are divided by hash; CTs of validation and test were not published",
    yields="registered MRI and CT volumes of brain and pelvis: conversions both ways; slices of them as pairs",
    downloads=(
        Download("https://zenodo.org/records/7260705/files/Task1.zip"),
        Download("https://zenodo.org/records/7868169/files/Task1_val.zip"),
    ),
    prepare=companions,
    citation="Thummerer et al., Medical Physics 50, 4664-4674 (2023)",
    notes=("the 2025 edition, Zenodo 15373853, is read from Task1/{AB,HN,TH}/<id>/{mr,ct,mask}.mha",),
)  # fmt: skip

SOURCE = Source(
    name="synthrad2023",
    title="SynthRAD2023 task 1: MRI and CT of brain and pelvis",
    licence="CC BY-NC 4.0",
    obtain="https://doi.org/10.5281/zenodo.7260705",
    folder="synthrad2023",
    published_images=720,
    published_questions=0,
    published=PUBLISHED,
)

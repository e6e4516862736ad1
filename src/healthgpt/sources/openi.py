"""Open-i, the Indiana University chest X-rays: 3,955 radiology reports with 7,470 images.

Three layouts are read. As published at https://openi.nlm.nih.gov/faq (Demner-Fushman et al., JAMIA 23, 304 (2016)):
``ecgen-radiology/<study>.xml`` with ``AbstractText`` by label and a ``parentImage`` each image, which is
``NLMCXR_png/<id>.png``. Re-packaged on Kaggle: ``indiana_reports.csv`` with ``indiana_projections.csv``, which tells
frontal from lateral. Re-packaged for R2Gen: ``annotation.json``, whose split is the customary one and is used for a
study in whichever layout it is read. De-identified words are "XXXX".

A study is read once: from the layout whose images are there, else in the order above. The projections decide which
images of a study are read, all frontal ones; without them it is the first, mostly the frontal one.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from healthgpt.record import Split
from healthgpt.sources.base import Source
from healthgpt.sources.entry import BadRowError, Entry, Report
from healthgpt.sources.layout import Download, Published, Row, Table
from healthgpt.sources.tables import Damaged, rows_of

XML_FOLDERS = ("ecgen-radiology", "NLMCXR_reports/ecgen-radiology")
REPORTS = Table("indiana_reports.csv", "csv", columns=("uid", "image", "findings", "impression"), rows=3_851)
PROJECTIONS = Table("indiana_projections.csv", "csv", columns=("uid", "filename", "projection"))
ANNOTATIONS = tuple(Table(f"{start}annotation.json", "sections") for start in ("", "iu_xray/"))
"""R2Gen's download unpacks into ``iu_xray``."""
SPLITS: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}
IMAGE_FOLDERS = {
    "xml": ("NLMCXR_png", "NLMCXR_png/NLMCXR_png"),
    "csv": ("images/images_normalized", "images_normalized"),
    "json": ("images", "iu_xray/images"),
}
"""Where a layout's images lie; the first is named when none is there."""
STUDY = re.compile(r"CXR(\d+)_")
FILM = re.compile(r"IM-\d+.*?(?=\.|$)")
LARGEST_XML = 4 << 20
LICENCE_URL = "creativecommons.org/licenses/by-nc-nd/4.0"
SECTIONS = frozenset(("FINDINGS", "IMPRESSION"))


@dataclass(frozen=True)
class Collection:
    """What is in the folder, all layouts together."""

    layout: dict[str, str]
    """Study to the layout it is read from: ``xml``, ``csv`` or ``json``."""
    images: dict[str, str]
    """Layout to the folder of its images."""
    frontal: dict[str, list[str]] = field(default_factory=dict)
    """Study to its frontal images' names in the projections."""
    splits: dict[str, Split] = field(default_factory=dict)


def read_collection(folder: Path) -> Collection:
    """Which study to read from which layout, its projections and its split."""
    annotated: dict[str, Split] = {}
    for table in ANNOTATIONS:
        for value in _values(folder, table):
            study = STUDY.match(str(value.get("id", "")))
            if study and value.get("split") in SPLITS:
                annotated[study[1]] = SPLITS[value["split"]]
    studies = {
        "xml": {path.stem for start in XML_FOLDERS for path in (folder / start).glob("*.xml")},
        "csv": {str(value.get("uid", "")) for value in _values(folder, REPORTS)},
        "json": set(annotated),
    }
    images, there = {}, {}
    for layout, folders in IMAGE_FOLDERS.items():
        found = next((name for name in folders if (folder / name).is_dir()), None)
        images[layout], there[layout] = found or folders[0], found is not None
    chosen: dict[str, str] = {}
    for layout in sorted(studies, key=lambda one: not there[one]):
        for study_name in studies[layout]:
            chosen.setdefault(study_name, layout)
    frontal = defaultdict(list)
    for value in _values(folder, PROJECTIONS):
        if str(value.get("projection", "")).strip().lower() == "frontal":
            frontal[value.get("uid", "")].append(value.get("filename", ""))
    return Collection(chosen, images, dict(frontal), annotated)


def _values(folder: Path, table: Table) -> Iterator[dict[str, Any]]:
    path = folder / table.pattern
    if path.is_file():
        for _, value in rows_of(path, table, Counter()):
            if not isinstance(value, Damaged) and isinstance(value, dict):
                yield value


def published_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """A study's report with each image that is read of it."""
    if row.section:
        yield from _from_annotation(row, oddities)
    elif isinstance(row.value, dict):
        yield from _from_table(row, oddities)
    else:
        yield from _from_xml(row, str(row.value), oddities)


def _from_xml(row: Row, file: str, oddities: Counter[str]) -> Iterator[Entry]:
    study = file.rpartition("/")[2].removesuffix(".xml")
    if _is_read_elsewhere(row, study, "xml", oddities):
        return
    document = parsed(row.folder / file)
    texts = {label: "" for label in SECTIONS}
    for element in document.iter("AbstractText"):
        label = element.get("Label", "")
        if label in texts:
            texts[label] = "".join(element.itertext())
    if LICENCE_URL not in (document.findtext("licenseURL") or ""):
        oddities["licence other than CC BY-NC-ND 4.0"] += 1
    names = [element.get("id", "") for element in document.iter("parentImage")]
    films = {film_of(name) for name in row.context.frontal.get(study, ())}
    if films:
        names = [name for name in names if film_of(name) in films]
    elif len(names) > 1:
        oddities["projection not told: first image taken"] += 1
        names = names[:1]
    yield from _reports(
        row, oddities, study, "xml", [f"{name}.png" for name in names],
        findings=texts["FINDINGS"], impression=texts["IMPRESSION"],
    )  # fmt: skip


def parsed(path: Path) -> ElementTree.Element:
    """The report's root; refuses documents that declare entities, which the published ones never do."""
    try:
        content = path.read_bytes() if path.stat().st_size <= LARGEST_XML else b""
    except OSError as fault:
        raise BadRowError("cannot be read") from fault
    if not content or b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise BadRowError("not a plain XML report")
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as fault:
        raise BadRowError("not XML") from fault


def film_of(name: str) -> str:
    """The part of an image's name that all layouts share: ``IM-0001-4001``."""
    match = FILM.search(name)
    return match[0] if match else name


def _from_table(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    value = row.value
    study = value["uid"].strip()
    if not study.isdecimal():
        raise BadRowError("no uid")
    if _is_read_elsewhere(row, study, "csv", oddities):
        return
    yield from _reports(
        row, oddities, study, "csv", row.context.frontal.get(study, []),
        findings=value["findings"], impression=value["impression"],
    )  # fmt: skip


def _from_annotation(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    value = row.value
    match = STUDY.match(str(value.get("id", ""))) if isinstance(value, dict) else None
    if match is None:
        raise BadRowError("no id of a study")
    if _is_read_elsewhere(row, match[1], "json", oddities):
        return
    images, text = value.get("image_path"), value.get("report")
    if not isinstance(images, list) or not all(isinstance(name, str) for name in images) or not isinstance(text, str):
        raise BadRowError("image_path or report of the wrong type")
    if len(images) > 1:
        oddities["projection not told: first image taken"] += 1
    yield from _reports(row, oddities, match[1], "json", images[:1], findings=text)


def _is_read_elsewhere(row: Row, study: str, layout: str, oddities: Counter[str]) -> bool:
    if row.context.layout.get(study, layout) == layout:
        return False
    oddities["study read from another layout"] += 1
    return True


def _reports(
    row: Row, oddities: Counter[str], study: str, layout: str, names: list[str], *, findings: str, impression: str = ""
) -> Iterator[Entry]:
    """One report an image; counts the studies that give none, and why."""
    if not findings.strip() and not impression.strip():
        oddities["no findings and no impression"] += 1
        return
    if not findings.strip() or (not impression.strip() and layout != "json"):
        oddities["no findings" if not findings.strip() else "no impression"] += 1
    if "XXXX" in findings or "XXXX" in impression:
        oddities["words replaced by XXXX"] += 1
    if not names:
        oddities["no image to read"] += 1
    for name in names:
        yield Report(
            original_id=f"CXR{study}/{name.split('.')[0]}", images=(f"{row.context.images[layout]}/{name}",),
            findings=findings, impression=impression,
            split=row.context.splits.get(study), group=f"CXR{study}",
        )  # fmt: skip


PUBLISHED = Published(
    tables=(
        *(Table(f"{start}/*.xml", "files", rows=3_955) for start in XML_FOLDERS),
        REPORTS,
        *ANNOTATIONS,
    ),
    entries=published_entries,
    expected=(
        ("ecgen-radiology/*.xml", 0, "3,955 reports (NLMCXR_reports.tgz)"),
        ("NLMCXR_png/*.png", 0, "7,470 images (NLMCXR_png.tgz)"),
        (REPORTS.pattern, 0, "or: the reports as a table"),
        (PROJECTIONS.pattern, 0, "frontal or lateral, by image"),
        ("annotation.json", 0, "or: R2Gen's reports, with the customary split"),
    ),
    splits="none by the publisher: studies are divided by hash; R2Gen's customary one where annotation.json is there",
    yields="findings and impressions of chest X-rays, to read from the image or to draw it from",
    downloads=(
        Download("https://openi.nlm.nih.gov/imgs/collections/NLMCXR_reports.tgz"),
        Download("https://openi.nlm.nih.gov/imgs/collections/NLMCXR_png.tgz", folder="NLMCXR_png"),
    ),
    prepare=read_collection,
    citation="Demner-Fushman et al., JAMIA 23(2), 304-310 (2016)",
    notes=("no derivatives: what is built from the reports must not be passed on",),
)  # fmt: skip

SOURCE = Source(
    name="openi",
    title="Open-i: Indiana University chest X-rays with reports",
    licence="CC BY-NC-ND 4.0",
    obtain="https://openi.nlm.nih.gov/faq",
    folder="openi",
    published_images=7_470,
    published_questions=0,
    published=PUBLISHED,
)

"""A BIDS data set: anatomical MRI of any study laid out by the Brain Imaging Data Structure.

Layout as in the specification (https://bids-specification.readthedocs.io, MRI files):
``sub-<label>/[ses-<label>/]anat/<entities>_<suffix>.nii[.gz]``; ``participants.tsv`` may tell age and sex,
``dataset_description.json`` tells name and licence.
Scans of a session need not lie over each other, so each file is a scan of its own. The participant is the group.
Derivatives are not read.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from healthgpt.errors import DataError
from healthgpt.sources.base import Source
from healthgpt.sources.entry import BadRowError, Entry, Scan
from healthgpt.sources.layout import Published, Row, Table
from healthgpt.sources.tables import Damaged, rows_of

CONTRASTS = {"T1w": "T1", "T2w": "T2", "PDw": "PD", "T2starw": "T2*", "FLAIR": "FLAIR"}
"""Contrast by suffix; other suffixes are maps, masks and composites."""
SEXES = {"f": "female", "female": "female", "m": "male", "male": "male"}
UNKNOWN = frozenset(("", "n/a", "nan", "none"))
PARTICIPANTS = Table("participants.tsv", "tsv")


@dataclass(frozen=True)
class Study:
    """What the files at the top of the folder say."""

    licence: str = ""
    facts: dict[str, dict[str, str]] = field(default_factory=dict)
    """By participant, e.g. ``{"sub-01": {"age": "21", "sex": "female"}}``."""


def read_study(folder: Path) -> Study:
    """Licence and participants; a study may have neither file."""
    description = folder / "dataset_description.json"
    licence = ""
    if description.is_file():
        try:
            content = json.loads(description.read_text(encoding="utf-8-sig"))
            licence = str(content.get("License") or "").strip()
        except (ValueError, AttributeError) as fault:
            raise DataError(
                f"{description} does not describe a BIDS data set", found=str(fault),
                next_step="repair the file; the BIDS validator names what is wrong",
            ) from fault  # fmt: skip
    table = folder / PARTICIPANTS.pattern
    return Study(licence, dict(participants(table)) if table.is_file() else {})


def participants(table: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """(participant, facts) of every row that names one; the prefix ``sub-`` is sometimes left out."""
    for _, value in rows_of(table, PARTICIPANTS, Counter()):
        if isinstance(value, Damaged):
            continue
        lowered = {name.lower(): text.strip() for name, text in value.items()}
        label = lowered.get("participant_id", "")
        if label:
            yield f"sub-{label.removeprefix('sub-')}", dict(_facts(lowered))


def _facts(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    age = value.get("age", "")
    if age.lower() not in UNKNOWN:
        yield "age", age
    sex = SEXES.get((value.get("sex") or value.get("gender") or "").lower())
    if sex:
        yield "sex", sex


def published_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """One anatomical volume with what is known of its participant."""
    file = str(row.value)
    parts = file.split("/")
    stem = parts[-1].removesuffix(".gz").removesuffix(".nii")
    *pairs, suffix = stem.split("_")
    entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    if len(entities) != len(pairs) or parts[0] != f"sub-{entities.get('sub')}":
        raise BadRowError("the name is not that of a BIDS file of its folder")
    if suffix not in CONTRASTS:
        oddities[f"not an anatomical image: {suffix}"] += 1
        return
    study: Study = row.context
    if not study.licence:
        oddities["no licence stated"] += 1
    if parts[0] not in study.facts:
        oddities["participant not in participants.tsv"] += 1
    yield Scan(
        original_id=stem, volumes={"mri": file}, region="" if "bp" in entities else "head", group=parts[0],
        facts={"contrast": CONTRASTS[suffix], **study.facts.get(parts[0], {})}, licence=study.licence,
    )  # fmt: skip


PUBLISHED = Published(
    tables=tuple(
        Table(f"{folders}/anat/sub-*.{end}", "files")
        for folders in ("sub-*", "sub-*/ses-*")
        for end in ("nii.gz", "nii")
    ),
    entries=published_entries,
    expected=(
        ("sub-*/anat/*.nii*", 0, "volumes: T1w, T2w, PDw, T2starw, FLAIR"),
        ("sub-*/ses-*/anat/*.nii*", 0, "or: volumes of several sessions"),
        ("participants.tsv", 0, "age and sex, where told"),
        ("dataset_description.json", 0, "name and licence"),
    ),
    splits="none published; participants are divided by hash",
    yields="anatomical MRI volumes for super-resolution and reconstruction, with contrast, age and sex",
    prepare=read_study,
    citation="Gorgolewski et al., Scientific Data 3, 160044 (2016)",
    notes=("the licence is the data set's own, from dataset_description.json",),
)  # fmt: skip

SOURCE = Source(
    name="bids",
    title="A study laid out by BIDS: anatomical MRI",
    licence="as stated in dataset_description.json",
    obtain="https://openneuro.org",
    folder="bids",
    published_images=0,
    published_questions=0,
    published=PUBLISHED,
)

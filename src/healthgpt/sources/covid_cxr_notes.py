"""covid-chestxray-dataset: chest X-rays from articles and case collections, with free-text clinical notes.

Layout as in SCHEMA.md of https://github.com/ieee8023/covid-chestxray-dataset: ``metadata.csv``, a row an image, which
is ``<folder>/<filename>``. Copies of the table spell some columns with a blank and some with an underscore. Only
frontal X-rays with notes are read. The licence is stated image by image; an image without one is left out.
"""

from collections import Counter
from collections.abc import Iterator

from healthgpt.sources.base import Source
from healthgpt.sources.entry import BadRowError, Entry, Report
from healthgpt.sources.layout import Published, Row, Table

FRONTAL = frozenset(("PA", "AP", "AP Supine", "APS", "AP Erect"))
LICENCE_PREFIX = "licence: "


def cell(value: dict[str, str], name: str) -> str:
    """A cell by its column's name, with blanks for underscores where the copy spells it so."""
    found = value.get(name)
    return value.get(name.replace("_", " "), "") if found is None else found


def published_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """The notes of a frontal X-ray as its report."""
    value = row.value
    name, notes, licence = value["filename"].strip(), cell(value, "clinical_notes"), cell(value, "license").strip()
    if not name:
        raise BadRowError("no filename")
    if value["modality"].strip().lower() != "x-ray":
        oddities["not an X-ray"] += 1
    elif not notes.strip():
        oddities["no clinical notes"] += 1
    elif value["view"].strip() not in FRONTAL:
        oddities["view not frontal"] += 1
    elif not licence:
        oddities["no licence stated: left out"] += 1
    else:
        oddities[LICENCE_PREFIX + licence] += 1
        yield Report(
            original_id=name, images=(f"{value['folder'].strip() or 'images'}/{name}",), text=notes,
            group=value["patientid"].strip(), licence=licence,
        )  # fmt: skip


PUBLISHED = Published(
    tables=(Table("metadata.csv", "csv", columns=("patientid", "view", "modality", "folder", "filename")),),
    entries=published_entries,
    expected=(("metadata.csv", 0, "one row an image"), ("images/*", 0, "X-rays")),
    splits="none published; patients are divided by hash",
    yields="clinical notes of frontal chest X-rays, to read from the image or to draw it from",
    citation="Cohen et al., MELBA (2020), arXiv:2006.11988",
    notes=("licences by image: mostly CC BY-NC-SA; each record carries its own",),
)  # fmt: skip

SOURCE = Source(
    name="covid_cxr_notes",
    title="COVID-19 image data collection: chest X-rays with clinical notes",
    licence="CC BY-NC-SA 4.0",
    obtain="https://github.com/ieee8023/covid-chestxray-dataset",
    folder="covid_cxr_notes",
    published_images=950,
    published_questions=0,
    published=PUBLISHED,
)

"""SLAKE 1.0: bilingual questions about CT, MRI and X-ray images, of which the English ones are read.

Layout (Liu et al., ISBI 2021; the release's folder): three JSON arrays beside ``imgs/xmlabN/source.jpg``. A record
has img_id, img_name, question, answer, q_lang (en, zh), location, modality, answer_type, base_type, content_type,
triple and qid; their order varies.

The published split parts the images of the English questions cleanly. Of the Chinese ones it does not: counted
together, most test images occur in training.

``text_pairs`` reads ``train.json`` only, so that the validation and test questions stay unseen.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from healthgpt.errors import DataError
from healthgpt.sources.base import Source, required_file
from healthgpt.sources.entry import BadRowError, Entry, Question
from healthgpt.sources.fields import fields_of, text_of
from healthgpt.sources.layout import Download, Published, Row, Table

FOLDER = "Slake1.0"
IMAGES = f"{FOLDER}/imgs"
TASKS_OF = {"CT": "ct", "MRI": "mri", "X-Ray": "x-ray"}
KINDS = {
    "Organ": "region",
    "Position": "position",
    "Abnormality": "abnormality",
    "KG": "knowledge",
    "Modality": "modality",
    "Size": "size",
    "Plane": "plane",
    "Quantity": "count",
    "Color": "colour",
    "Shape": "shape",
}
"""Kind by ``content_type``; KG questions need the knowledge graph that comes with the release."""


def text_pairs(root: Path) -> Iterator[tuple[str, str]]:
    """(question, lower-case answer) of the questions whose language is English."""
    path = required_file(SOURCE.folder_in(root) / "Slake1.0" / "train.json", SOURCE.name)
    try:
        for entry in json.loads(path.read_text(encoding="utf-8")):
            if entry["q_lang"] == "en":
                question, answer = " ".join(entry["question"].split()), " ".join(str(entry["answer"]).split()).lower()
                if question and answer:
                    yield question, answer
    except (json.JSONDecodeError, KeyError, TypeError) as fault:
        raise DataError(f"{path} is not a SLAKE question file", found=repr(fault)) from fault


def published_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """The record's question if it is in English."""
    question, answer, language = fields_of(row.value, "question", "answer", "q_lang")
    if language != "en":
        if language != "zh":
            raise BadRowError(f"q_lang is {language!r}")
        oddities["Chinese question, left out"] += 1
        return
    image = text_of(row.value, "img_name")
    modality, content, number = fields_of(row.value, "modality", "content_type", "qid")
    if modality not in TASKS_OF:
        oddities["unknown modality"] += 1
    if content not in KINDS:
        oddities["unknown content_type"] += 1
    yield Question(
        original_id=f"qid-{number}", images=(f"{IMAGES}/{image}",), question=question, answer=answer,
        task=TASKS_OF.get(modality, "other"), kind=KINDS.get(content, "other"), split=row.split, group=image,
    )  # fmt: skip


COLUMNS = ("img_name", "question", "answer", "q_lang", "modality", "content_type", "qid")
PUBLISHED = Published(
    tables=(
        Table(f"{FOLDER}/train.json", "json", "train", COLUMNS, rows=9_835),
        Table(f"{FOLDER}/validate.json", "json", "validation", COLUMNS, rows=2_099),
        Table(f"{FOLDER}/test.json", "json", "test", COLUMNS, rows=2_094),
    ),
    entries=published_entries,
    expected=(
        (f"{FOLDER}/train.json", 2_964_571, "9,835 questions, 4,919 of them in English"),
        (f"{FOLDER}/validate.json", 0, "2,099 questions"),
        (f"{FOLDER}/test.json", 0, "2,094 questions"),
        (f"{IMAGES}/xmlab*/source.jpg", 0, "642 images"),
    ),
    splits="9,835 training, 2,099 validation and 2,094 test questions, of both languages; by image for English",
    yields="open and closed questions in English about CT, MRI and X-ray images of head, neck, chest, abdomen, pelvis",
    downloads=tuple(
        Download(f"https://huggingface.co/datasets/BoKelvin/SLAKE/resolve/main/{name}", folder=FOLDER)
        for name in ("train.json", "validate.json", "test.json", "imgs.zip")
    ),
    citation="Liu et al., IEEE ISBI, 1650-1654 (2021)",
    notes=("the other half of the questions is in Chinese and left out",),
)

SOURCE = Source(
    name="slake",
    title="SLAKE 1.0: bilingual medical visual question answering",
    licence="CC BY 4.0",
    obtain="https://www.med-vqa.com/slake",
    folder="slake",
    published_images=642,
    published_questions=14_028,
    published=PUBLISHED,
    text_pairs=text_pairs,
)

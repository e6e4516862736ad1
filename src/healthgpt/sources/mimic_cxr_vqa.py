"""MIMIC-CXR-VQA: questions from 48 templates about chest X-rays of MIMIC-CXR-JPG.

Layout (the README and ``generate_answer.py`` of github.com/baeseongsu/mimic-cxr-vqa; Bae et al., EHRXQA, NeurIPS 2023):
``dataset/train.json``, ``valid.json`` and ``test.json`` are JSON arrays of split, idx, image_id, question, content_type
(anatomy, attribute, presence, abnormality, plane, gender, size), semantic_type (verify, choose, query), template,
template_program, template_arguments, and answer, subject_id, study_id, image_path. An answer is a list: ["yes"],
one or several findings in lower case, or nothing where no finding fits. image_path is below ``files`` of
MIMIC-CXR-JPG, which is linked or moved here under that name.

The repository's ``_train.json`` and so on lack the answers; its script adds them with the credentials of PhysioNet.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from healthgpt.sources.base import Source
from healthgpt.sources.entry import BadRowError, Entry, Question
from healthgpt.sources.fields import fields_of, text_of
from healthgpt.sources.layout import Published, Row, Table

FOLDER, IMAGES = "dataset", "files"
KINDS = {
    "anatomy": "region",
    "attribute": "attribute",
    "presence": "finding",
    "abnormality": "abnormality",
    "plane": "plane",
    "gender": "sex",
    "size": "size",
}
"""Kind by ``content_type``."""


def published_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """The record's question, its list of answers as one text."""
    number, question, answer, content, subject = fields_of(
        row.value, "idx", "question", "answer", "content_type", "subject_id"
    )
    image = text_of(row.value, "image_path").removeprefix(f"{IMAGES}/")
    if content not in KINDS:
        oddities["unknown content_type"] += 1
    yield Question(
        original_id=f"{row.split}/{number}", images=(f"{IMAGES}/{image}",), question=question,
        answer=_answer_text(answer, oddities), task="x-ray", kind=KINDS.get(content, "other"), split=row.split,
        group=f"p{subject}",
    )  # fmt: skip


def _answer_text(answer: Any, oddities: Counter[str]) -> str:
    """Findings parted by commas; empty where the list is."""
    if isinstance(answer, str):
        oddities["answer that is text and not a list"] += 1
        return answer
    if not isinstance(answer, list) or not all(isinstance(one, str) for one in answer):
        raise BadRowError("answer is not a list of texts")
    if not answer:
        oddities["empty list of answers"] += 1
    return ", ".join(answer)


COLUMNS = ("idx", "question", "answer", "content_type", "subject_id", "image_path")
PUBLISHED = Published(
    tables=(
        Table(f"{FOLDER}/train.json", "json", "train", COLUMNS, rows=290_031),
        Table(f"{FOLDER}/valid.json", "json", "validation", COLUMNS, rows=73_567),
        Table(f"{FOLDER}/test.json", "json", "test", COLUMNS, rows=13_793),
    ),
    entries=published_entries,
    expected=(
        (f"{FOLDER}/train.json", 0, "290,031 questions"),
        (f"{FOLDER}/valid.json", 0, "73,567 questions"),
        (f"{FOLDER}/test.json", 0, "13,793 questions"),
        (f"{IMAGES}/p1*/p*/s*/*.jpg", 0, "142,797 images of MIMIC-CXR-JPG"),
    ),
    splits="290,031 training, 73,567 validation and 13,793 test questions; no patient of the test part"
    " is in another part, but training and validation share 698 patients",
    yields="yes/no, choice and listing questions about findings, regions, view and sex in chest X-rays",
    access=(
        "credentialed: make an account at https://physionet.org, finish the CITI course 'Data or Specimens Only"
        " Research', apply for credentialed access, then sign the data use agreements of mimic-ext-mimic-cxr-vqa and"
        " mimic-cxr-jpg"
    ),
    citation="Bae et al., NeurIPS 36 (2023), EHRXQA",
    notes=(
        "'dataset' is the folder of that name in the PhysioNet release, or in mimiccxrvqa of the repository once its"
        " build_dataset.sh has added the answers",
        "'files' is the folder of that name in MIMIC-CXR-JPG",
        "an empty list of answers says that none of the findings asked about is there; such rows have no answer",
    ),
)

SOURCE = Source(
    name="mimic_cxr_vqa",
    title="MIMIC-CXR-VQA",
    licence="PhysioNet Credentialed Health Data License 1.5.0",
    obtain="https://physionet.org/content/mimic-ext-mimic-cxr-vqa",
    folder="mimic_cxr_vqa",
    published_images=142_797,
    published_questions=377_391,
    published=PUBLISHED,
)

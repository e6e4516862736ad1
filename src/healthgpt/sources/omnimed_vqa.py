"""OmniMedVQA, open-access part: single-choice questions made from the labels of 42 data sets, for testing only.

Layout (the cards of github.com/OpenGVLab/Multi-Modality-Arena and huggingface.co/datasets/foreverbeliever/OmniMedVQA;
Hu et al., CVPR 2024): one JSON array a data set under ``QA_information/Open-access``, records of dataset, question_id,
question_type, question, gt_answer, image_path ("Images/ACRIMA/Im002_ACRIMA.png"), option_A to option_D and
modality_type. "Chest CT Scan.json" calls the last one modality. gt_answer is the text of the right option, not its
letter; a question may have fewer than four options.

Images of the restricted-access part are not in the download, so that its questions are not read.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from healthgpt.sources.base import Source
from healthgpt.sources.entry import Entry, Question
from healthgpt.sources.fields import fields_of, text_of
from healthgpt.sources.layout import Download, Published, Row, Table

QUESTIONS = "QA_information/Open-access"
TASKS_OF = {
    "CT(Computed Tomography)": "ct",
    "MR (Mag-netic Resonance Imaging)": "mri",
    "X-Ray": "x-ray",
    "ultrasound": "ultrasound",
    "OCT (Optical Coherence Tomography": "oct",
    "Fundus Photography": "fundus",
    "Microscopy Images": "microscopy",
    "Dermoscopy": "other",
    "Endoscopy": "other",
    "Colposcopy": "other",
    "Digital Photography": "other",
    "Infrared Reflectance Imaging": "other",
}
"""Task by ``modality_type``, spelt as in the files (the hyphen and the bracket that is not closed are theirs)."""
KINDS = {
    "Modality Recognition": "modality",
    "Anatomy Identification": "region",
    "Disease Diagnosis": "diagnosis",
    "Lesion Grading": "grade",
    "Other Biological Attributes": "attribute",
}
OPTIONS = ("option_A", "option_B", "option_C", "option_D")


def published_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """The record's question with the options that it has."""
    number, image = text_of(row.value, "question_id"), text_of(row.value, "image_path")
    question, answer, kind = fields_of(row.value, "question", "gt_answer", "question_type")
    modality = row.value.get("modality_type")
    if modality is None and "modality" in row.value:
        oddities["modality for modality_type"] += 1
        modality = row.value["modality"]
    if modality not in TASKS_OF:
        oddities["unknown modality"] += 1
    if kind not in KINDS:
        oddities["unknown question_type"] += 1
    options = tuple(option for name in OPTIONS if _is_given(option := row.value.get(name)))
    if len(options) < len(OPTIONS):
        oddities["fewer than four options"] += 1
    if str(answer).strip() not in {str(option).strip() for option in options}:
        oddities["the right answer is not among the options: asked openly"] += 1
        options = ()
    place = row.file.removesuffix(row.file[row.file.index(QUESTIONS) :])
    yield Question(
        original_id=number, images=(f"{place}{image}",), question=question, answer=answer,
        task=TASKS_OF.get(modality, "other"), kind=KINDS.get(kind, "other"), options=options, split=row.split,
        group=image,
    )  # fmt: skip


def _is_given(option: Any) -> bool:
    return option is not None and str(option).strip() != ""


PUBLISHED = Published(
    tables=(
        Table(
            f"**/{QUESTIONS}/*.json", "json", "test",
            ("question_id", "question_type", "question", "gt_answer", "image_path"), rows=88_996,
        ),
    ),
    entries=published_entries,
    expected=(
        (f"**/{QUESTIONS}/*.json", 0, "42 files, 88,996 questions"),
        ("**/Images/*", 0, "a folder a data set, 82,059 images"),
    ),
    splits="none: a benchmark, all of it is for testing",
    yields="single-choice questions about modality, region, diagnosis, grade and attributes in 12 modalities",
    downloads=(
        Download("https://huggingface.co/datasets/foreverbeliever/OmniMedVQA/resolve/main/OmniMedVQA.zip"),
    ),
    citation="Hu et al., CVPR, 22170-22183 (2024), arXiv:2402.09181",
    notes=(
        "the archive is of 10.7 GB",
        "each of the data sets in it has a licence of its own",
        "of the 127,995 questions about 118,010 images in the paper, 88,996 about 82,059 images are open",
    ),
)  # fmt: skip

SOURCE = Source(
    name="omnimed_vqa",
    title="OmniMedVQA, open-access part",
    licence="that of each data set in it",
    obtain="https://huggingface.co/datasets/foreverbeliever/OmniMedVQA",
    folder="omnimed_vqa",
    published_images=82_059,
    published_questions=88_996,
    published=PUBLISHED,
)

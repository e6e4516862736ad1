"""ImageCLEF VQA-Med 2019: questions about modality, plane, organ system and abnormality of MedPix images.

Layout (the READMEs of github.com/abachaa/VQA-Med-2019; Ben Abacha et al., CLEF 2019): the training and validation
folders hold ``All_QA_Pairs_PART.txt``, lines of image|question|answer, the same questions again by category in
``QAPairsByCategory/C1_Modality_PART.txt`` and so on, and ``Train_images`` or ``Val_images``. The test folder holds
lines of image|category|question|answer and ``VQAMed2019_Test_Images``. Nothing has a header.

The files by category tell the kind of a question and are read where all four are there, else the whole file is.
A test answer may list several, parted by ``#``; the first is taken.

``text_pairs`` reads the test questions and skips images that are also in VQA-RAD: their answers may belong to its
held-out images.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from healthgpt.errors import DataError
from healthgpt.sources.base import Source, required_file
from healthgpt.sources.entry import Entry, Question
from healthgpt.sources.fields import fields_of, text_of
from healthgpt.sources.imageclef import NAMES, techniques
from healthgpt.sources.layout import Download, Published, Row, Table

ALSO_IN_VQA_RAD = frozenset(("synpic39301", "synpic47964"))


def text_pairs(root: Path) -> Iterator[tuple[str, str]]:
    """(question, lower-case answer)."""
    folder = SOURCE.folder_in(root) / "VQAMed2019Test"
    path = required_file(folder / "VQAMed2019_Test_Questions_w_Ref_Answers.txt", SOURCE.name)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        parts = line.split("|")
        if len(parts) != 4:
            raise DataError(f"{path} line {number}", found=f"{len(parts)} fields", allowed="4, parted by '|'")
        image, _, question, answer = (part.strip() for part in parts)
        answer = answer.split("#")[0].strip().lower()
        if question and answer and image not in ALSO_IN_VQA_RAD:
            yield question, answer


TRAINING, VALIDATION, TEST = "ImageClef-2019-VQA-Med-Training", "ImageClef-2019-VQA-Med-Validation", "VQAMed2019Test"
IMAGES = {
    TRAINING: f"{TRAINING}/Train_images",
    VALIDATION: f"{VALIDATION}/Val_images",
    TEST: f"{TEST}/VQAMed2019_Test_Images",
}
CATEGORIES = {
    "modality": "modality",
    "plane": "plane",
    "organ": "region",
    "abnormality": "abnormality",
}
"""Kind by the publisher's category, as the test file and the names of the files by category have it."""
TABLES = (
    Table(f"{TRAINING}/QAPairsByCategory/C?_*_train.txt", "pipe", "train", NAMES, NAMES, rows=12_792),
    Table(f"{VALIDATION}/QAPairsByCategory/C?_*_val.txt", "pipe", "validation", NAMES, NAMES, rows=2_000),
    Table(f"{TRAINING}/All_QA_Pairs_train.txt", "pipe", "train", NAMES, NAMES),
    Table(f"{VALIDATION}/All_QA_Pairs_val.txt", "pipe", "validation", NAMES, NAMES),
    Table(
        f"{TEST}/VQAMed2019_Test_Questions_w_Ref_Answers.txt", "pipe", "test",
        ("image", "category", "question", "answer"), ("image", "category", "question", "answer"), rows=500,
    ),
)  # fmt: skip


class Context(NamedTuple):
    """What single lines do not tell: the technique of images, and which files say again what others say."""

    tasks: dict[str, str]
    repeating: frozenset[str]


def release_context(folder: Path) -> Context:
    """The whole file of a part repeats the four by category; with fewer than four, those repeat the whole file."""
    repeating: list[Path] = []
    for by_category, whole in ((TABLES[0], TABLES[2]), (TABLES[1], TABLES[3])):
        parts, wholes = sorted(folder.glob(by_category.pattern)), sorted(folder.glob(whole.pattern))
        repeating += wholes if len(parts) >= len(CATEGORIES) else parts if wholes else []
    names = frozenset(path.relative_to(folder).as_posix() for path in repeating)
    return Context(techniques(folder, TABLES), names)


def kind_of_question(question: str) -> str:
    """Category of a question, from its words, where no file tells it."""
    asked = question.lower()
    if "plane" in asked:
        return "plane"
    if "organ" in asked or "part of the body" in asked:
        return "region"
    if any(word in asked for word in ("normal", "wrong", "alarming", "problem", "diagnos", "seen in the image")):
        return "abnormality"
    return "modality"


def published_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """The line's question, unless another file has it too."""
    if row.file in row.context.repeating:
        oddities["line left out: other files hold the same question"] += 1
        return
    image, (question, answer) = text_of(row.value, "image").strip(), fields_of(row.value, "question", "answer")
    part, name = row.file.split("/")[0], row.file.split("/")[-1]
    category = row.value.get("category") or (name.split("_")[1].lower() if name[:1] == "C" else "")
    if "#" in answer:
        oddities["several accepted answers, the first taken"] += 1
        answer = answer.split("#")[0]
    yield Question(
        original_id=f"{Path(name).stem}/{row.line}", images=(f"{IMAGES[part]}/{image}.jpg",), question=question,
        answer=answer, task=row.context.tasks.get(image, "other"),
        kind=CATEGORIES.get(category) or kind_of_question(question), split=row.split, group=image,
    )  # fmt: skip


REPOSITORY = "https://github.com/abachaa/VQA-Med-2019/raw/master"
PUBLISHED = Published(
    tables=TABLES,
    entries=published_entries,
    expected=(
        (f"{TRAINING}/All_QA_Pairs_train.txt", 0, "12,792 questions"),
        (f"{TRAINING}/QAPairsByCategory/C?_*_train.txt", 0, "the same questions in four files"),
        (f"{IMAGES[TRAINING]}/*.jpg", 0, "3,200 images"),
        (f"{VALIDATION}/All_QA_Pairs_val.txt", 0, "2,000 questions"),
        (f"{VALIDATION}/QAPairsByCategory/C?_*_val.txt", 0, "the same questions in four files"),
        (f"{IMAGES[VALIDATION]}/*.jpg", 0, "500 images"),
        (f"{TEST}/VQAMed2019_Test_Questions_w_Ref_Answers.txt", 36_698, "500 questions"),
        (f"{IMAGES[TEST]}/*.jpg", 0, "500 images"),
    ),
    splits="12,792 training, 2,000 validation and 500 test questions, divided by image",
    yields="questions about modality, plane, organ system and abnormality of radiology images",
    downloads=(
        Download(
            f"{REPOSITORY}/{TRAINING}.zip", 138_150_496,
            "194f0a4aa9fc67a4d07132c097d257bb188094e4a257f35f245129eadf34554e",
        ),
        Download(
            f"{REPOSITORY}/{VALIDATION}.zip", 21_911_616,
            "1151d93c3d39723a3ec13a8f18da4d9863015878b86fe85f214de0945d6fa0f9",
        ),
        Download(f"{REPOSITORY}/{TEST}/VQAMed2019_Test_Questions_w_Ref_Answers.txt", 36_698, folder=TEST),
    ),
    prepare=release_context,
    citation="Ben Abacha et al., CLEF 2019 Working Notes, CEUR 2380, paper 272",
    notes=(
        "the technique of an image is known only where one of its questions tells it",
        "images are from MedPix like those of VQA-RAD: four test images are in both",
        "VQAMed2019_Test_Images.zip lies in the repository beside the test questions",
    ),
)  # fmt: skip

SOURCE = Source(
    name="vqa_med_2019",
    title="ImageCLEF VQA-Med 2019",
    licence="CC BY 4.0",
    obtain="https://github.com/abachaa/VQA-Med-2019",
    folder="vqa_med_2019",
    published_images=4_200,
    published_questions=15_292,
    published=PUBLISHED,
    text_pairs=text_pairs,
)

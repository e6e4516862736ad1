"""PathVQA: questions about pictures of pathology, from the release or from the authors' LXMERT baseline.

Layout (He et al., arXiv:2003.10286, and its repository): ``qas/SPLIT/SPLIT_qa.pkl`` is a pickled list of objects
with image ("train_0422", in ``images/train/train_0422.jpg``), question and answer. ``lxmert/pvqa_SPLIT.json`` says
the same by image: img_id, sentf.pvqa (the questions) and labelf.pvqa (an object {answer: 1} each), paired by
position; many lists are empty. A split that has its pickle is read from the pickle alone.

A pickle can run code: it is read without anything that would have to be run, and ``text_pairs`` never opens it.
The release does not tell tissue sections from photographs of organs or from the few X-rays among its pictures.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from healthgpt.errors import DataError
from healthgpt.record import Split
from healthgpt.sources.base import Source, required_file
from healthgpt.sources.entry import BadRowError, Entry, Question
from healthgpt.sources.fields import fields_of, text_of
from healthgpt.sources.layout import Published, Row, Table

IMAGES = "images"
SPLITS: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}
"""Split by the name that files and images begin with."""
ROWS = {"train": 19_755, "val": 6_279, "test": 6_761}
KINDS = {"what": "what", "where": "position", "when": "when", "whose": "whose", "how": "how", "why": "why"}
"""Kind of an open question by its first word; "how many" and "how much" count, the others are yes or no."""
CLOSED = frozenset(("is", "are", "was", "were", "do", "does", "did", "can", "could", "has", "have", "had", "will"))


def text_pairs(root: Path) -> Iterator[tuple[str, str]]:
    """(question, lower-case answer); questions and answers are paired by position."""
    path = required_file(SOURCE.folder_in(root) / "lxmert" / "pvqa_train.json", SOURCE.name)
    try:
        for entry in json.loads(path.read_text(encoding="utf-8")):
            for question, answers in zip(entry["sentf"]["pvqa"], entry["labelf"]["pvqa"], strict=True):
                answer = " ".join(str(next(iter(answers))).split()).lower()
                if question.strip() and answer:
                    yield " ".join(question.split()), answer
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, StopIteration) as fault:
        raise DataError(f"{path} is not a PathVQA question file", found=repr(fault)) from fault


def kind_of(question: str) -> str:
    """Type of a question by its first words, as the paper counts them; empty text is ``other``."""
    first, *rest = question.lower().split()[:2] or [""]
    if first == "how" and rest and rest[0] in ("many", "much"):
        return "count"
    return "presence" if first in CLOSED else KINDS.get(first, "other")


def pickled_splits(folder: Path) -> frozenset[str]:
    """Names of the splits whose pickle is at hand."""
    return frozenset(name for name in SPLITS if (folder / "qas" / name / f"{name}_qa.pkl").is_file())


def published_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """The pickle's one question, or all questions of an image of the LXMERT form."""
    if row.file.endswith(".pkl"):
        yield _question(row, text_of(row.value, "image"), row.line, *fields_of(row.value, "question", "answer"))
        return
    image = text_of(row.value, "img_id")
    if image.split("_")[0] in row.context:
        oddities["image of the LXMERT form, left out: its split has the pickle"] += 1
        return
    questions, labels = (_listed(half, name) for half, name in zip(
        fields_of(row.value, "sentf", "labelf"), ("sentf", "labelf"), strict=True
    ))  # fmt: skip
    if len(questions) != len(labels):
        raise BadRowError(f"{len(questions)} questions and {len(labels)} answers")
    if not all(isinstance(label, dict) and label for label in labels):
        raise BadRowError("an answer is not an object with the answer as its name")
    if not questions:
        oddities["image without questions"] += 1
    for number, (question, label) in enumerate(zip(questions, labels, strict=True), start=1):
        yield _question(row, image, number, question, next(iter(label)))


def _listed(half: Any, name: str) -> list[Any]:
    (inside,) = fields_of(half, "pvqa")
    if not isinstance(inside, list):
        raise BadRowError(f"{name}.pvqa is not a list")
    return inside


def _question(row: Row, image: str, number: int, question: Any, answer: Any) -> Question:
    return Question(
        original_id=f"{image}/{number}", images=(f"{IMAGES}/{image.split('_')[0]}/{image}.jpg",), question=question,
        answer=answer, task="microscopy", kind=kind_of(str(question)), split=row.split, group=image,
    )  # fmt: skip


PUBLISHED = Published(
    tables=(
        *(
            Table(f"qas/{name}/{name}_qa.pkl", "pickle", split, ("image", "question", "answer"), rows=ROWS[name])
            for name, split in SPLITS.items()
        ),
        *(
            Table(f"lxmert/pvqa_{name}.json", "json", split, ("img_id", "sentf", "labelf"))
            for name, split in SPLITS.items()
        ),
    ),
    entries=published_entries,
    expected=(
        *((f"qas/{name}/{name}_qa.pkl", 0, f"{ROWS[name]:,} questions") for name in SPLITS),
        *((f"{IMAGES}/{name}/{name}_*.jpg", 0, "images") for name in SPLITS),
    ),
    splits="19,755 training, 6,279 validation and 6,761 test questions, divided by image",
    yields="open and yes/no questions about pictures of pathology",
    prepare=pickled_splits,
    citation="He et al., arXiv:2003.10286 (2020)",
    notes=(
        "the pictures are from textbooks and a library whose owners keep the copyright; only the questions are MIT",
        "questions were made from captions by machine; some are asked twice",
        "the download is a folder of Google Drive, linked from the repository",
    ),
)

SOURCE = Source(
    name="path_vqa",
    title="PathVQA: pathology visual question answering",
    licence="MIT (questions)",
    obtain="https://github.com/UCSD-AI4H/PathVQA",
    folder="path_vqa",
    published_images=4_998,
    published_questions=32_799,
    published=PUBLISHED,
    text_pairs=text_pairs,
)

"""What the editions of ImageCLEF VQA-Med share: lines parted by ``|`` and MedPix images named synpicN.

The data sets do not say by which technique an image was made; their questions and answers often do ("in what plane
is this ct scan?"). ``techniques`` gathers that over all questions of an image, so that a question about the plane
of an image is filed under CT because another one names it. An image that no question tells about is ``other``.

``edition_entries`` reads the editions of 2020 and 2021, which ask about abnormality only and part the test questions
from their answers.

Layouts: the READMEs of github.com/abachaa/VQA-Med-2019, VQA-Med-2020 and VQA-Med-2021.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from healthgpt.sources.entry import BadRowError, Entry, Question
from healthgpt.sources.fields import fields_of, text_of
from healthgpt.sources.layout import Row, Table
from healthgpt.sources.tables import opened, repaired, rows_of

NAMES = ("image", "question", "answer")
"""Columns of a line with its answer; ``image`` is the file's name without .jpg."""

TECHNIQUES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("mri", re.compile(r"\b(?:mri?|mra|t1w?|t2w?|flair|stir|dwi|adc)\b|magnetic resonance")),
    ("ct", re.compile(r"\bcta?\b|tomography")),
    ("ultrasound", re.compile(r"ultraso|\bus\b|\bus-d\b|doppler|sonogra")),
    ("x-ray", re.compile(r"x-?ray|\bxr\b|plain film|radiograph|mammo|\bugi\b|upper gi\b|\bsbft\b|barium|"
                         r"gastrointestinal image")),
)  # fmt: skip
"""Techniques by the words for them. Mammography and barium studies are X-ray; angiograms may be X-ray, CT or MRI and
nuclear medicine is none of the seven, so that both stay ``other``."""

ASKS_TECHNIQUE = re.compile(r"modality|imaging|\btaken\b|kind of scan|weight|flair|contrast|plane|\bor\b")
"""Questions whose answers may name a technique. In a diagnosis "T2" is as likely a vertebra."""

TAKEN_FOR_GRANTED = re.compile(
    r"\b(?:the|this|normal|abnormal|noncontrast|or noncontrast)\s+"
    r"(?:mri|ct|ultrasound|x-?ray|mammo\w*|gastrointestinal image)\b"
)
"""A question that names its technique in passing says it whatever the answer; "is this a ct scan?" does not."""


def technique_of(question: str, answer: str) -> str | None:
    """The reading task that a question and its answer tell, or None."""
    question, answer = question.lower(), answer.lower().strip()
    if ASKS_TECHNIQUE.search(question):
        told = _named(answer)
        if len(told) == 1:
            return told[0]
    told = _named(question)
    if len(told) != 1 or (answer == "no" and not TAKEN_FOR_GRANTED.search(question)):
        return None
    return told[0]


def _named(text: str) -> list[str]:
    return [task for task, words in TECHNIQUES if words.search(text)]


def techniques(folder: Path, tables: Iterable[Table]) -> dict[str, str]:
    """Reading task of each image that some question tells, the first telling first; bad rows tell nothing."""
    found: dict[str, str] = {}
    for table in tables:
        for path in sorted(folder.glob(table.pattern)):
            for _, row in rows_of(path, table, Counter()):
                if isinstance(row, dict) and row["image"] not in found:
                    task = technique_of(row["question"], row.get("answer", ""))
                    if task is not None:
                        found[row["image"]] = task
    return found


def reference_answers(paths: Iterable[Path]) -> dict[str, list[str]]:
    """Accepted answers by image, from files whose lines are image|answer|other answer|..."""
    answers: dict[str, list[str]] = {}
    for path in paths:
        with opened(path) as stream:
            for raw in stream:
                image, *accepted = repaired(raw.decode("utf-8", "surrogateescape"), Counter()).rstrip("\r\n").split("|")
                kept = [answer for answer in accepted if answer.strip()]
                if kept:
                    answers[image.strip().removeprefix("\ufeff")] = kept
    return answers


class Edition(NamedTuple):
    """What single lines do not tell: technique and test answers by image, and each question file's image folder."""

    tasks: dict[str, str]
    answers: dict[str, list[str]]
    image_folders: dict[str, str]


def edition_of(
    folder: Path, tables: Iterable[Table], answers: str, image_folders: Mapping[str, tuple[str, ...]]
) -> Edition:
    """The parts of a release, found wherever they lie below ``folder``.

    ``answers``: pattern of the files of test answers. ``image_folders``: by name of the question file, where its
    images may lie beside it; the first that is there counts, and the first named where none is.
    """
    tables = tuple(tables)
    found: dict[str, str] = {}
    for table in tables:
        for path in folder.glob(table.pattern):
            names = image_folders[path.name]
            name = next((name for name in names if (path.parent / name).is_dir()), names[0])
            found[path.relative_to(folder).as_posix()] = (path.parent / name).relative_to(folder).as_posix()
    return Edition(techniques(folder, tables), reference_answers(sorted(folder.glob(answers))), found)


def edition_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """The line's question about abnormality, with the first of the accepted answers."""
    context: Edition = row.context
    image = text_of(row.value, "image").strip()
    (question,) = fields_of(row.value, "question")
    accepted = [row.value["answer"]] if "answer" in row.value else context.answers.get(image, [])
    if not accepted:
        raise BadRowError("no reference answer")
    if len(accepted) > 1:
        oddities["several accepted answers, the first taken"] += 1
    yield Question(
        original_id=f"{PurePosixPath(row.file).stem}/{row.line}",
        images=(f"{context.image_folders[row.file]}/{image}.jpg",), question=question, answer=accepted[0],
        task=context.tasks.get(image, "other"), kind="abnormality", split=row.split, group=image,
    )  # fmt: skip

"""PathVQA: the training questions as text, from the JSON form of the authors' LXMERT baseline.

The published pickle is never opened: a pickle can run code. Many images have empty lists of questions.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from healthgpt.errors import DataError
from healthgpt.sources.base import Source, required_file


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


SOURCE = Source(
    name="path_vqa",
    title="PathVQA: pathology VQA, questions only",
    licence="MIT (questions)",
    obtain="https://github.com/UCSD-AI4H/PathVQA",
    folder="path_vqa",
    published_images=4_998,
    published_questions=32_799,
    text_pairs=text_pairs,
)

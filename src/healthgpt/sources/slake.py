"""SLAKE 1.0: the English training questions, as text. The images are not part of the pack.

Only ``train.json`` is read, so that the validation and test questions stay unseen.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from healthgpt.errors import DataError
from healthgpt.sources.base import Source, required_file


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


SOURCE = Source(
    name="slake",
    title="SLAKE 1.0: bilingual medical VQA, questions only",
    licence="CC BY 4.0",
    obtain="https://www.med-vqa.com/slake",
    folder="slake",
    published_images=642,
    published_questions=14_028,
    text_pairs=text_pairs,
)

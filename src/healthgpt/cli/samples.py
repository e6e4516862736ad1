"""The sample images that come with a model: made from VL-Phantom's test cases, read by the demo.

A samples folder holds ``samples.json`` beside its PNG files:
``{"images": [{file, modality, questions: [{question, answer}]}],
"drawings": [{task, input (file or null), text (or null), reference (file)}]}``.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from healthgpt.data.sample_folder import CASE_MAKERS, to_bytes
from healthgpt.errors import DataError
from healthgpt.imaging.write import write_png
from healthgpt.phantoms.case import SEED_RANGES, Case
from healthgpt.phantoms.pairs import make_pair
from healthgpt.tasks import GENERATION_TASKS

FIRST_SEED = SEED_RANGES["test"].start
INDEX = "samples.json"
QUESTION_KINDS = ("modality", "presence", "side", "count", "size", "comparison", "region")
"""The order of an image's questions: the most telling first."""


@dataclass(frozen=True)
class SampleQuestion:
    """A question with the phantom's exact answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class SampleImage:
    """One image to read; ``file`` is relative to the samples folder."""

    file: str
    modality: str
    questions: tuple[SampleQuestion, ...]


@dataclass(frozen=True)
class SampleDrawing:
    """One drawing task: its input (an image file or a report) and the image it should come close to."""

    task: str
    input: str | None
    text: str | None
    reference: str


def make_samples(folder: Path, seed: int = FIRST_SEED) -> int:
    """Write one image a modality and one pair a drawing task into an existing folder; returns how many images.

    Cases come from VL-Phantom's test seeds (``seed`` onwards), which no training run sees.
    Raises ``OutputError`` if a file cannot be written.
    """
    images, drawings = [], []
    for number, (modality, make_case) in enumerate(CASE_MAKERS.items()):
        case = make_case(seed + number)  # one seed would show CT and MRI of one body
        file = f"{modality}.png"
        _write(folder / file, case.image)
        images.append(SampleImage(file, modality, _one_question_a_kind(case)))
    for number, task in enumerate(GENERATION_TASKS):
        pair = make_pair(task, seed + number)
        source = None
        if pair.input is not None:
            source = f"{task}-input.png"
            _write(folder / source, pair.input)
        reference = f"{task}-reference.png"
        _write(folder / reference, pair.target)
        drawings.append(SampleDrawing(task, source, None if source else pair.text, reference))
    index = {"images": [asdict(one) for one in images], "drawings": [asdict(one) for one in drawings]}
    (folder / INDEX).write_text(json.dumps(index, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return len(images) + sum(1 + (one.input is not None) for one in drawings)


def read_samples(folder: Path) -> tuple[list[SampleImage], list[SampleDrawing]]:
    """The samples of a folder; ``DataError`` if there are none or the index does not fit."""
    path = folder / INDEX
    if not path.is_file():
        raise DataError(f"no sample images at {folder}", next_step=f"make them with 'healthgpt data samples {folder}'")
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        images = [
            SampleImage(one["file"], one["modality"], tuple(SampleQuestion(**line) for line in one["questions"]))
            for one in index["images"]
        ]
        drawings = [SampleDrawing(**one) for one in index["drawings"]]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as fault:
        raise DataError(
            f"{path} is no samples index",
            found=str(fault),
            next_step=f"make it again with 'healthgpt data samples {folder}'",
        ) from fault
    return images, drawings


def _one_question_a_kind(case: Case) -> tuple[SampleQuestion, ...]:
    chosen = []
    for kind in QUESTION_KINDS:
        asked = sorted((one for one in case.questions if one.kind == kind), key=lambda one: len(one.options))
        if asked:  # the open form first, where there is one
            chosen.append(SampleQuestion(asked[0].instruction, asked[0].answer))
    return tuple(chosen)


def _write(path: Path, pixels: np.ndarray) -> None:
    write_png(path, to_bytes(pixels), {"Source": "VL-Phantom"}, synthetic=True)

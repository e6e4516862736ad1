"""The contract every phantom modality fulfils: one case, its questions, and the seed ranges of the splits."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from healthgpt.record import Split, choice_text

QuestionKind = Literal["modality", "region", "presence", "side", "count", "size", "comparison"]

SEED_RANGES: dict[Split, range] = {
    "train": range(0, 10_000_000),
    "validation": range(10_000_000, 11_000_000),
    "test": range(11_000_000, 12_000_000),
}
"""Disjoint seeds: a case belongs to exactly one split, whatever its modality."""


@dataclass(frozen=True)
class Question:
    """A question with one exact answer; ``options`` is empty for the open form."""

    text: str
    answer: str
    kind: QuestionKind
    options: tuple[str, ...] = ()

    @property
    def instruction(self) -> str:
        """What the model reads: the question, with its options spelt out if it has any."""
        return choice_text(self.text, self.options) if self.options else self.text


@dataclass(frozen=True)
class Case:
    """One simulated examination.

    ``image``: as acquired, with noise; float32 in [0, 1], (size, size) grey or (size, size, 3) RGB.
    ``clean``: the same without noise. ``truth``: machine-readable findings (JSON types only).
    ``companions``: other noise-free images of the same anatomy on the same grid, in [0, 1].
    Left and right are the patient's: the patient's left is on the right of the image
    (radiological convention) wherever the modality has sides.
    """

    modality: str
    seed: int
    region: str
    image: np.ndarray
    clean: np.ndarray
    truth: dict[str, Any]
    questions: tuple[Question, ...]
    report: str
    pixel_spacing_mm: float
    companions: dict[str, np.ndarray] = field(default_factory=dict)

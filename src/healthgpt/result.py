"""What a request gives back: an answer in words or a drawing, each with its confidence and where it came from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from healthgpt.imaging.write import write_png


@dataclass(frozen=True)
class Answer:
    """An answer in words.

    ``confidence``: in [0, 1], see ``inference.confidence``. ``token_ids``: the text tokens the model said, in order.
    ``seconds``: wall-clock time of the request. ``task``: ``ask`` or a modality. ``model``: name of the model.
    """

    text: str
    confidence: float
    token_ids: list[int]
    seconds: float
    task: str
    model: str

    def as_json(self) -> dict[str, Any]:
        """The object ``healthgpt ask --json`` prints; JSON types only."""
        return {
            "task": self.task,
            "model": self.model,
            "answer": self.text,
            "confidence": float(self.confidence),
            "token_ids": [int(token) for token in self.token_ids],
            "seconds": float(self.seconds),
        }


@dataclass(frozen=True, eq=False)
class Drawing:
    """An image the model drew; synthetic, and marked so wherever it is written.

    ``pixels``: uint8, (height, width, 3) RGB or (height, width) grey. ``codes``: the VQ indices row by row
    (16 rows of 16 for nano). ``confidence``: in [0, 1]. ``seconds``: wall-clock time of the request.
    ``fitted``: whether the picture was fitted to what the input measured (super-resolution), and so is not what the
    codes alone show.
    """

    pixels: np.ndarray
    codes: list[list[int]]
    confidence: float
    seconds: float
    task: str
    model: str
    fitted: bool = False

    def as_json(self, output: str | Path) -> dict[str, Any]:
        """The object ``healthgpt generate --json`` prints; ``output`` is where the image was written."""
        return {
            "task": self.task,
            "model": self.model,
            "output": str(output),
            "codes": [[int(code) for code in row] for row in self.codes],
            "confidence": float(self.confidence),
            "seconds": float(self.seconds),
            "fitted": self.fitted,
        }

    def save(self, path: str | Path) -> Path:
        """Write a PNG whose text chunks say that it is synthetic; ``OutputError`` if it cannot be written."""
        notes = {"Task": self.task, "Model": self.model}
        if self.fitted:
            notes["Fitted"] = "low frequencies agree with the input's"
        return write_png(path, self.pixels, notes, synthetic=True)

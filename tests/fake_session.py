"""A stand-in for ``inference.session.Session``: same face, canned replies, no weights, no torch."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from healthgpt.errors import ModelError
from healthgpt.request import Request
from healthgpt.result import Answer, Drawing

REPLY = "a ct of the head"
GRID = 16


class FakeSession:
    """Answers every question with ``REPLY`` and draws a grey ramp; ``calls`` records what was asked of it."""

    loads: ClassVar[list[str]] = []
    calls: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str = "nano", device: str = "auto", dtype: str = "auto", quantize: str | None = None
    ) -> "FakeSession":
        """Like the real one: a folder without its weights is a ``ModelError``."""
        cls.loads.append(name_or_folder)
        folder = Path(name_or_folder)
        if folder.is_dir() and not (folder / "model.safetensors").is_file():
            raise ModelError(f"model folder {folder} has no model.safetensors", next_step="copy the whole folder")
        return cls(name_or_folder)

    def ask(self, image: Any, question: str, **settings: Any) -> Answer:
        """The canned answer."""
        self.calls.append({"image": image, "question": question, **settings})
        return Answer(REPLY, 0.875, [5, 6, 7], 0.25, "ask", self.name)

    def stream(self, image: Any, question: str, **settings: Any) -> Iterator[str]:
        """The canned answer, word by word."""
        history = list(settings.pop("history", ()))
        self.calls.append({"image": image, "question": question, "history": history, **settings})
        for word in REPLY.split():
            yield word + " "

    def generate(self, task: str, image: Any = None, **settings: Any) -> Drawing:
        """A ramp from black to white."""
        self.calls.append({"task": task, "image": image, **settings})
        ramp = np.tile(np.linspace(0, 255, 128).astype(np.uint8)[None, :, None], (128, 1, 3))
        codes = [[row * GRID + column for column in range(GRID)] for row in range(GRID)]
        return Drawing(ramp, codes, 0.5, 1.5, task, self.name)

    def run(self, requests: Sequence[Request]) -> list[Answer | Drawing]:
        """Each request by its own method, in order."""
        return [
            self.ask(one.image, one.text or "") if one.family == "comprehension" else self.generate(one.task, one.image)
            for one in requests
        ]

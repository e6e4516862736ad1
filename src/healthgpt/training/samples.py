"""What a model in training says and draws on a few validation rows, written down so that progress can be looked at.

RUN/samples/step-000100.jsonl            one line per sample
RUN/samples/step-000100/3-drawn.png      input, target and drawing of one, marked as synthetic where drawn
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PillowImage

from healthgpt.backbone.prompts import PromptBuilder
from healthgpt.data.shards import picture_of
from healthgpt.evaluation.answers import normalised
from healthgpt.evaluation.pictures import ssim
from healthgpt.inference.decode import Ask, decode
from healthgpt.inference.grammar import Utterance
from healthgpt.inference.sampling import Sampling
from healthgpt.model.checkpoint import ModelConfig
from healthgpt.model.healthgpt import HealthGPTModel
from healthgpt.result import Drawing
from healthgpt.training.rows import Row, RowTable
from healthgpt.vq.codec import to_uint8
from healthgpt.vq.store import AnyCodec

LONGEST_ANSWER = 64
"""Tokens of a sampled answer."""
SHOWN = 4
"""Samples per task that are written down; figures are over all."""
TOGETHER = {"reads": 32, "draws": 8}
"""Rows decoded at once."""


@dataclass(frozen=True)
class Sample:
    """One row's outcome: the answer in words with whether it matches, or the pixels drawn with their SSIM, percent.

    ``shown``: the input image as the tower sees it, uint8 (S, S, 3).
    """

    row: Row
    shown: np.ndarray | None
    answer: str = ""
    right: bool | None = None
    drawn: np.ndarray | None = None
    target: np.ndarray | None = None
    ssim: float | None = None


def asked_one_by_one(rows: Sequence[Row], most: int) -> list[Row]:
    """At most ``most`` rows of each task, every question of a conversation a row of its own: first all first ones."""
    single, counts = [], Counter[str]()
    for turn in range(max((len(row.instructions) for row in rows), default=0)):
        for row in rows:
            if turn < len(row.instructions) and counts[row.task] < most:
                counts[row.task] += 1
                own = slice(turn, turn + 1)
                parts = {name: getattr(row, name)[own] for name in ("records", "instructions", "responses")}
                single.append(replace(row, **parts))
    return single


class Sampler:
    """Asks and draws, greedily, with a model whose dropout is off."""

    def __init__(
        self,
        model: HealthGPTModel,
        config: ModelConfig,
        builder: PromptBuilder,
        codec: AnyCodec | None,
    ) -> None:
        self.model = model
        self.config = config
        self.builder = builder
        self.codec = codec
        self.stop_ids = frozenset(config.stop_ids or [builder.tokenizer.eos_token_id])

    def take(self, rows: Sequence[Row], table: RowTable) -> list[Sample]:
        """The only question of each reading row answered, each drawing row drawn."""
        found: dict[int, Sample] = {}
        for kind in TOGETHER:
            numbers = [n for n, row in enumerate(rows) if (row.codes is not None) == (kind == "draws")]
            for first in range(0, len(numbers), TOGETHER[kind]):
                some = numbers[first : first + TOGETHER[kind]]
                shown = [self._square(rows[n], table) for n in some]
                asks = [self._ask(rows[n], square) for n, square in zip(some, shown, strict=True)]
                for n, square, said in zip(some, shown, decode(self.model, asks, self.stop_ids), strict=True):
                    found[n] = self._sample(rows[n], square, said, table)
        return [found[number] for number in range(len(rows))]

    def _ask(self, row: Row, square: np.ndarray | None) -> Ask:
        pixels = None if square is None else self.config.preprocessing.normalise(square[None])[0]
        if row.codes is None:
            prompt = self.builder.reading([(row.instructions[0], None)], has_image=pixels is not None)
            return Ask(prompt, row.task, pixels, Sampling(), LONGEST_ANSWER)
        prompt = self.builder.drawing(row.instructions[0], has_image=pixels is not None)
        return Ask(prompt, row.task, pixels, Sampling(), self.config.grid**2)

    def _square(self, row: Row, table: RowTable) -> np.ndarray | None:
        if row.image is None:
            return None
        return self.config.preprocessing.square(picture_of(*table.shown_image(row)))

    def _sample(self, row: Row, shown: np.ndarray | None, said: Utterance, table: RowTable) -> Sample:
        if row.codes is None:
            answer = str(self.builder.tokenizer.decode(said.ids, skip_special_tokens=True)).strip()
            return Sample(row, shown, answer, normalised(answer) == normalised(row.responses[0]))
        assert self.codec is not None
        assert row.target is not None
        square = self.config.codec_preprocessing.square(picture_of(table.pictures.of(row.part, row.target), row.target))
        grid = torch.tensor(said.codes(self.config.layout)).reshape(1, self.config.grid, self.config.grid)
        with torch.inference_mode():
            drawn = to_uint8(self.codec.decode(grid.to(self.model.device)))[0].cpu().numpy()
        return Sample(row, shown, drawn=drawn, target=square, ssim=ssim(drawn, square))

    def write(self, folder: Path, step: int, samples: Sequence[Sample]) -> None:
        """The first few of each task as a line each, with their pictures."""
        name, lines = f"step-{step:06d}", []
        folder.mkdir(parents=True, exist_ok=True)
        written: dict[str, int] = {}
        for number, sample in enumerate(samples):
            task = sample.row.task
            written[task] = written.get(task, 0) + 1
            if written[task] <= SHOWN:
                lines.append(self._line(folder, f"{name}/{number}", step, sample))
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def _line(self, folder: Path, place: str, step: int, sample: Sample) -> dict[str, Any]:
        row = sample.row
        pictures: dict[str, str | None] = {"image": None, "target": None, "drawn": None}
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        if sample.shown is not None:
            pictures["image"] = f"{place}-input.png"
            PillowImage.fromarray(sample.shown).save(folder / f"{place}-input.png")
        if sample.drawn is not None and sample.target is not None:
            pictures |= {"target": f"{place}-target.png", "drawn": f"{place}-drawn.png"}
            PillowImage.fromarray(sample.target).save(folder / f"{place}-target.png")
            Drawing(
                pixels=sample.drawn, codes=[], confidence=0.0, seconds=0.0, task=row.task, model=f"{self.config.name} "
                f"in training, step {step}",
            ).save(folder / f"{place}-drawn.png")  # fmt: skip
        return {
            "task": row.task, "record": row.records[0], "instruction": row.instructions[0],
            "reference": row.responses[0] if row.responses else "", "answer": sample.answer, "right": sample.right,
            "ssim": sample.ssim, **pictures,
        }  # fmt: skip

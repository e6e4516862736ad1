"""Examples to batches: prompts built, images preprocessed, rows padded on the right."""

from collections.abc import Sequence

import numpy as np
import torch

from healthgpt.backbone.prompts import Prompt, PromptBuilder
from healthgpt.batch import Batch
from healthgpt.data.dataset import Drawing, Examples, Reading
from healthgpt.tokens import IGNORED
from healthgpt.vision.preprocess import Preprocessing


def reading_prompt(reading: Reading, builder: PromptBuilder, rng: np.random.Generator, turns: int) -> Prompt:
    """A conversation of up to ``turns`` questions about one image, drawn and ordered by ``rng``."""
    chosen = rng.permutation(len(reading.records))[:turns]
    pairs = [(reading.records[i].instruction, reading.records[i].response) for i in chosen]
    return builder.reading(pairs, has_image=True)


def drawing_prompt(drawing: Drawing, builder: PromptBuilder, codes: np.ndarray) -> Prompt:
    """Instruction, input image if any, and the target's codes to learn."""
    return builder.drawing(drawing.record.instruction, has_image=drawing.image is not None, codes=codes.tolist())


def right_padded(
    prompts: Sequence[Prompt], tasks: Sequence[str], images: Sequence[np.ndarray | None], preprocessing: Preprocessing
) -> Batch:
    """Prompts with labels as one batch; ``images`` are uint8 (S, S, 3) squares or None per row."""
    length = max(len(prompt) for prompt in prompts)
    ids = torch.zeros(len(prompts), length, dtype=torch.long)
    labels = torch.full((len(prompts), length), IGNORED, dtype=torch.long)
    mask = torch.zeros(len(prompts), length, dtype=torch.bool)
    instruction = torch.zeros(len(prompts), length, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.tensor(prompt.ids)
        labels[row, : len(prompt)] = torch.tensor(prompt.labels)
        instruction[row, : len(prompt)] = torch.tensor(prompt.instruction)
        mask[row, : len(prompt)] = True
    rows = [row for row, image in enumerate(images) if image is not None]
    present = [image for image in images if image is not None]
    return Batch(
        input_ids_BT=ids,
        mask_BT=mask,
        instruction_BT=instruction,
        tasks=tuple(tasks),
        image_rows=tuple(rows),
        pixels_N3SS=preprocessing.normalise(np.stack(present)) if present else None,
        labels_BT=labels,
    )


def reading_batch(
    readings: Sequence[Reading],
    examples: Examples,
    builder: PromptBuilder,
    preprocessing: Preprocessing,
    rng: np.random.Generator,
    turns: int,
) -> Batch:
    """Conversations about one image each."""
    prompts = [reading_prompt(reading, builder, rng, turns) for reading in readings]
    images = [examples.square(reading.image) for reading in readings]
    return right_padded(prompts, [reading.task for reading in readings], images, preprocessing)


def drawing_batch(
    drawings: Sequence[Drawing],
    examples: Examples,
    codes: dict[int, np.ndarray],
    builder: PromptBuilder,
    preprocessing: Preprocessing,
) -> Batch:
    """Pictures to draw; ``codes``: target image index -> (h*w,) VQ indices."""
    prompts = [drawing_prompt(drawing, builder, codes[drawing.target]) for drawing in drawings]
    images = [None if drawing.image is None else examples.square(drawing.image) for drawing in drawings]
    return right_padded(prompts, [drawing.task for drawing in drawings], images, preprocessing)

"""Stage 1, alignment: visual tokens get meaning (HealthGPT, table 7).

comprehension: only the abstract adapter learns, on images and their reports.
generation: the concrete adapter, the generation H-LoRA and the new rows of table and head learn, on
image -> VQ reconstruction.
"""

import numpy as np
import torch

from healthgpt.data.dataset import Reading
from healthgpt.training.nano.pretrain_codec import trained_codec
from healthgpt.training.nano.stage_data import Pool
from healthgpt.training.nano.stage_run import optimise, prepare
from healthgpt.training.nano.workspace import Workspace

COMPREHENSION = ("abstract adapter",)
GENERATION = ("concrete adapter", "generation plugin", "image rows")


def captions(readings: list[Reading]) -> list[Reading]:
    """Readings reduced to their reports; those without one are left out."""
    kept = []
    for reading in readings:
        reports = tuple(record for record in reading.records if record.kind == "report")
        if reports:
            kept.append(Reading(reading.task, reading.image, reports))
    return kept


def comprehension_part(workspace: Workspace) -> None:
    """Image -> report, adapter only."""
    recipe = workspace.recipe
    run = prepare(workspace, (), codes=False)
    pool = Pool(captions(run.examples.readings), recipe.data.real_share)

    def compute(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([recipe.seed, 11, step])
        return run.loss(run.readings(recipe.stage1_comprehension.batch, pool, rng, 1)), {}

    optimise(run, "stage1-comprehension", recipe.stage1_comprehension, COMPREHENSION, compute)


def generation_part(workspace: Workspace) -> None:
    """Image -> its own codes."""
    recipe = workspace.recipe
    run = prepare(workspace, (), codes=True)
    run.model.fusion.place_codes(trained_codec(workspace).codebook.vectors)
    pool = Pool([d for d in run.examples.drawings if d.task == "reconstruct"], recipe.data.real_share)

    def compute(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([recipe.seed, 12, step])
        return run.loss(run.drawings(pool.draw(recipe.stage1_generation.batch, rng))), {}

    optimise(run, "stage1-generation", recipe.stage1_generation, GENERATION, compute)

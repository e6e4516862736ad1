"""Stage 3, instruction tuning: each family's plugin and adapter learn their tasks, table and head frozen (table 7).

comprehension: H-LoRA and abstract adapter, on questions and reports.
generation: H-LoRA and concrete adapter, on conversion, super-resolution, report -> X-ray and reconstruction.
"""

import numpy as np
import torch

from healthgpt.training.stage_data import Pool
from healthgpt.training.stage_run import optimise, prepare
from healthgpt.training.workspace import Workspace

COMPREHENSION = ("comprehension plugin", "abstract adapter")
GENERATION = ("generation plugin", "concrete adapter")
AFTER = ("stage1-comprehension", "stage1-generation", "stage2")


def comprehension_part(workspace: Workspace) -> None:
    """Several questions about one image per row, each answer counting as much as the report."""
    recipe = workspace.recipe
    run = prepare(workspace, AFTER, codes=False)
    pool = Pool(run.examples.readings, recipe.data.real_share)

    def compute(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([recipe.seed, 31, step])
        batch = run.readings(recipe.stage3_comprehension.batch, pool, rng, recipe.turns)
        return run.loss(batch, responses_alike=True), {}

    optimise(run, "stage3-comprehension", recipe.stage3_comprehension, COMPREHENSION, compute)


def generation_part(workspace: Workspace) -> None:
    """Batches hold tasks with an image or tasks without one, in turn: rows of one length waste no padding.

    Half of the steps draw from words alone: which finding a report names is a small part of a picture's loss, and
    what takes longest to learn.
    """
    recipe = workspace.recipe
    run = prepare(workspace, AFTER, codes=True)
    share = recipe.data.real_share
    with_image = Pool([d for d in run.examples.drawings if d.image is not None], share)
    from_words = Pool([d for d in run.examples.drawings if d.image is None], share)

    def compute(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([recipe.seed, 32, step])
        seen = step % 2 == 0
        drawn = (with_image if seen else from_words).draw(recipe.stage3_generation.batch, rng)
        loss = run.loss(run.drawings(drawn))
        return loss, {"with image" if seen else "from words": float(loss.detach())}

    optimise(run, "stage3-generation", recipe.stage3_generation, GENERATION, compute)

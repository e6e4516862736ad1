"""Stage 2, fusion: with all plugins frozen, only the embedding table and the head learn (HealthGPT, table 7).

Batches mix both families, drawn from all of stage 1's data, so that one table serves both.
"""

import numpy as np
import torch

from healthgpt.training.nano.stage1_align import captions
from healthgpt.training.nano.stage_data import Pool
from healthgpt.training.nano.stage_run import optimise, prepare
from healthgpt.training.nano.workspace import Workspace

TRAINED = ("fusion",)
AFTER = ("stage1-comprehension", "stage1-generation")


def fusion_part(workspace: Workspace) -> None:
    """Half of every batch reads, half draws; the two halves' losses count alike."""
    recipe = workspace.recipe
    run = prepare(workspace, AFTER, codes=True)
    reading = Pool(captions(run.examples.readings), recipe.data.real_share)
    drawing = Pool([d for d in run.examples.drawings if d.task == "reconstruct"], recipe.data.real_share)
    half = max(1, recipe.stage2.batch // 2)

    def compute(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([recipe.seed, 21, step])
        read = run.loss(run.readings(half, reading, rng, 1))
        drawn = run.loss(run.drawings(drawing.draw(half, rng)))
        return (read + drawn) / 2, {"reading": float(read.detach()), "drawing": float(drawn.detach())}

    optimise(run, "stage2", recipe.stage2, TRAINED, compute)

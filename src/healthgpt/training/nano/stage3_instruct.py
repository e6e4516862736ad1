"""Stage 3, instruction tuning: each family's plugin and adapter learn their tasks, table and head frozen (table 7).

comprehension: H-LoRA and abstract adapter, on questions and reports.
generation: H-LoRA and concrete adapter, on conversion, super-resolution, report -> X-ray and reconstruction.
words: the same again, mostly on report -> X-ray. Which finding a report names is a small part of a picture's loss
and takes longest to learn.
"""

import numpy as np
import torch

from healthgpt.data.dataset import Drawing
from healthgpt.training.nano.recipe import Steps
from healthgpt.training.nano.stage_data import Pool
from healthgpt.training.nano.stage_run import StageRun, optimise, prepare
from healthgpt.training.nano.workspace import Workspace

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
    """Drawing with an image and from words in turn."""
    _draw(workspace, "stage3-generation", AFTER, workspace.recipe.stage3_generation, seed=32, with_image_every=2)


def words_part(workspace: Workspace) -> None:
    """Drawing from words, now and then with an image lest that be forgotten."""
    after = (*AFTER, "stage3-generation")
    _draw(workspace, "stage3-words", after, workspace.recipe.stage3_words, seed=33, with_image_every=6)


def _draw(
    workspace: Workspace, name: str, after: tuple[str, ...], plan: Steps, *, seed: int, with_image_every: int
) -> None:
    """Batches hold tasks with an image or tasks without one: rows of one length waste no padding."""
    run = prepare(workspace, after, codes=True)
    with_image, from_words = pools(run)

    def compute(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([workspace.recipe.seed, seed, step])
        seen = step % with_image_every == 0
        loss = run.loss(run.drawings((with_image if seen else from_words).draw(plan.batch, rng)))
        return loss, {"with image" if seen else "from words": float(loss.detach())}

    optimise(run, name, plan, GENERATION, compute)


def pools(run: StageRun) -> tuple[Pool[Drawing], Pool[Drawing]]:
    """What is drawn with an image, and what from words alone."""
    share = run.workspace.recipe.data.real_share
    with_image = [drawing for drawing in run.examples.drawings if drawing.image is not None]
    from_words = [drawing for drawing in run.examples.drawings if drawing.image is None]
    return Pool(with_image, share), Pool(from_words, share)

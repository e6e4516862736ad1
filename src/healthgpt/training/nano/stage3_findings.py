"""Stage 3's last part: the generation plugin learns to draw what a report names.

Which findings a film shows is a few of the hundreds of nats that tell it from another patient's, so on varied films
alone the plugin learns to draw chests long before it reads reports. On textbook films (one patient, any
findings) the report is all there is to learn. Then films of all patients are mixed back in. Nothing but the
plugin and the concrete adapter learns, as in all of stage 3 (HealthGPT, table 7).
"""

import json
from dataclasses import replace

import numpy as np
import torch

from healthgpt.data.collate import right_padded
from healthgpt.data.dataset import Drawing
from healthgpt.data.sample_folder import to_bytes
from healthgpt.phantoms.case import SEED_RANGES
from healthgpt.phantoms.textbook_film import make_textbook_film
from healthgpt.tasks import TASKS
from healthgpt.training.nano.pretrain_codec import CODEC, check_codec, trained_codec
from healthgpt.training.nano.stage3_instruct import AFTER, GENERATION, pools
from healthgpt.training.nano.stage_data import preprocessing_of
from healthgpt.training.nano.stage_run import optimise, prepare
from healthgpt.training.nano.workspace import Workspace
from healthgpt.variants import variant_named
from healthgpt.vq.codec import from_uint8

TASK = "report-to-cxr"
FILMS = "textbook-films"

LEARNING = ("with image", *["textbook"] * 3, "any words", *["textbook"] * 3)
SETTLING = ("with image", "textbook", "any words", "any words", "textbook", "any words")
"""What the batches of consecutive steps hold, over and over."""


def films_part(workspace: Workspace) -> None:
    """Textbook films as codes, int16 (films, rows * columns), and their reports."""
    codec = trained_codec(workspace)
    preprocessing = preprocessing_of(variant_named(workspace.recipe.variant))
    count, first = workspace.recipe.stage3_findings.films, SEED_RANGES["train"].start
    reports: list[str] = []
    codes: list[torch.Tensor] = []
    for start in range(0, count, 64):
        films = [make_textbook_film(first + number) for number in range(start, min(start + 64, count))]
        squares = np.stack([preprocessing.square(to_bytes(film)) for film, _ in films])
        with torch.inference_mode():
            batch = from_uint8(torch.from_numpy(squares)).to(workspace.device)
            codes.append(codec.encode(batch).cpu().flatten(1).to(torch.int16))
        reports += [report for _, report in films]
    workspace.keep(FILMS, {"codes": torch.cat(codes)})
    (workspace.part(FILMS) / "reports.json").write_text(json.dumps(reports), encoding="utf-8")
    workspace.finish(FILMS, films=count, codec=workspace.digest(CODEC))


def without_words(drawing: Drawing) -> Drawing:
    """The same drawing asked for by the task's phrasing alone."""
    record = drawing.record
    phrasing = record.instruction[: len(record.instruction) - len(record.words)].strip()
    return replace(drawing, record=record.model_copy(update={"instruction": phrasing}))


def findings_part(workspace: Workspace) -> None:
    """Textbook films, an eighth of the batches with an image and an eighth from any words; at last more of both."""
    plan, phrasings = workspace.recipe.stage3_findings, TASKS[TASK].instructions
    run = prepare(workspace, (*AFTER, "stage3-generation", "stage3-words"), codes=True)
    with_image, from_words = pools(run)
    check_codec(workspace, FILMS)
    codes = workspace.trained(FILMS)["codes"]
    reports: list[str] = json.loads((workspace.part(FILMS) / "reports.json").read_text(encoding="utf-8"))

    def textbook(rng: np.random.Generator) -> torch.Tensor:
        prompts = []
        for film in rng.integers(len(reports), size=plan.batch):
            words = "" if rng.random() < plan.wordless else reports[film]
            instruction = f"{phrasings[int(rng.integers(len(phrasings)))]} {words}".strip()
            prompts.append(run.builder.drawing(instruction, has_image=False, codes=codes[film].tolist()))
        return run.loss(right_padded(prompts, [TASK] * plan.batch, [None] * plan.batch, run.preprocessing))

    def any_words(rng: np.random.Generator) -> torch.Tensor:
        drawings = from_words.draw(plan.batch, rng)
        return run.loss(run.drawings([without_words(d) if rng.random() < plan.wordless else d for d in drawings]))

    def compute(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([workspace.recipe.seed, 34, step])
        turns = SETTLING if step >= plan.steps - plan.settle else LEARNING
        turn = turns[step % len(turns)]
        if turn == "with image":
            loss = run.loss(run.drawings(with_image.draw(plan.batch, rng)))
        else:
            loss = textbook(rng) if turn == "textbook" else any_words(rng)
        return loss, {turn: float(loss.detach())}

    optimise(run, "stage3-findings", plan, GENERATION, compute)

"""The whole of nano from nothing: data, parts, three stages, one model folder; unattended and resumable.

Parts that do not need each other run side by side, each in a process of its own: two single-threaded
trainings get more out of two cores than one with two threads.
"""

import os
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context

import torch

from healthgpt.data.sample_folder import build, plan_jobs
from healthgpt.record import Split
from healthgpt.sources.catalog import present
from healthgpt.training.nano import (
    pretrain_codec,
    pretrain_language,
    pretrain_teacher,
    pretrain_tower,
    stage1_align,
    stage2_fuse,
    stage3_findings,
    stage3_instruct,
)
from healthgpt.training.nano.package import package_part
from healthgpt.training.nano.workspace import Workspace


@dataclass(frozen=True)
class Part:
    """One part of the run: what must be finished before it, and the function that does it."""

    needs: tuple[str, ...]
    run: Callable[[Workspace], None]


PARTS: dict[str, Part] = {
    "tokenizer": Part((), pretrain_language.tokenizer_part),
    "codec": Part((), pretrain_codec.codec_part),
    "tower": Part(("tokenizer",), pretrain_tower.tower_part),
    "language": Part(("tokenizer",), pretrain_language.language_part),
    "codec-colour": Part(("codec",), pretrain_codec.colour_part),
    "codes": Part(("codec-colour",), pretrain_codec.codes_part),
    "textbook-films": Part(("codec-colour",), stage3_findings.films_part),
    "teacher": Part(("tokenizer",), pretrain_teacher.teacher_part),
    "tower-deep": Part(("teacher", "tower"), pretrain_tower.deep_part),
    "stage1-generation": Part(("codes", "language", "tower"), stage1_align.generation_part),
    "stage1-comprehension": Part(("language", "tower-deep"), stage1_align.comprehension_part),
    "stage2": Part(("stage1-comprehension", "stage1-generation"), stage2_fuse.fusion_part),
    "stage3-generation": Part(("stage2",), stage3_instruct.generation_part),
    "stage3-comprehension": Part(("stage2",), stage3_instruct.comprehension_part),
    "stage3-words": Part(("stage3-generation",), stage3_instruct.words_part),
    "stage3-findings": Part(("stage3-words", "textbook-films"), stage3_findings.findings_part),
    "package": Part(("stage3-comprehension", "stage3-findings"), package_part),
}
"""In the order they are started when several are ready."""


def usable_packs(workspace: Workspace) -> list[str]:
    """The recipe's real packs that are on this disk."""
    if workspace.packs is None:
        return []
    here = present(workspace.packs)
    return [name for name in workspace.recipe.data.packs if name in here]  # text-only packs are not jobs


def build_data(workspace: Workspace, workers: int, progress: Callable[[int, int], None]) -> int:
    """The data folder of the run: simulated train and validation cases, and the real packs' own splits."""
    plan = workspace.recipe.data
    jobs = plan_jobs(plan.cases, plan.pairs, "train", usable_packs(workspace))
    few = plan.validation_cases
    validation: Split = "validation"
    jobs += plan_jobs(dict.fromkeys(plan.cases, few), dict.fromkeys(plan.pairs, few), validation)
    return build(workspace.data, jobs, packs=workspace.packs, workers=workers, progress=progress)


def run_part(name: str, workspace: Workspace) -> str:
    """Do one part in this process (a fresh one)."""
    torch.set_num_threads(workspace.threads)
    PARTS[name].run(workspace)
    return name


def train(
    workspace: Workspace,
    *,
    workers: int,
    on_data: Callable[[int, int], None] = lambda done, total: None,
    on_wait: Callable[[set[str]], None] = lambda running: None,
) -> None:
    """Everything that is not done yet. ``on_wait`` is called about every second with the running parts."""
    workspace.settle_recipe()
    if not workspace.is_done("data"):
        count = build_data(workspace, workers, on_data)
        workspace.finish("data", records=count, packs=usable_packs(workspace))
    os.environ["OMP_NUM_THREADS"] = str(workspace.threads)  # read by the spawned processes
    done = {name for name in PARTS if workspace.is_done(name)}
    running: dict[Future[str], str] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        while len(done) < len(PARTS):
            for name, part in PARTS.items():
                ready = done.issuperset(part.needs) and name not in done and name not in running.values()
                if ready and len(running) < workers:
                    running[pool.submit(run_part, name, workspace)] = name
            finished, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
            for future in finished:
                done.add(running.pop(future))
                future.result()
            on_wait(set(running.values()))

"""The measurement of nano: held-out VL-Phantom and held-out real items, every figure beside its trivial baseline."""

import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PillowImage

from healthgpt.data.sample_folder import PHANTOM, build, plan_jobs
from healthgpt.evaluation.answers import Majority, rates
from healthgpt.evaluation.findings import agreement_with_others, finding_agreement, measured
from healthgpt.evaluation.pictures import bicubic, mean_scores
from healthgpt.evaluation.predict import predict_answers, predict_drawings
from healthgpt.inference.session import Session
from healthgpt.record import Record, read_records
from healthgpt.sources.catalog import SOURCES, present
from healthgpt.tasks import GENERATION_TASKS, MODALITIES, TASKS

Say = Callable[[str], None]
QUESTIONS_PER_CASE = 8
MAJORITY_CASES = 60
REAL_PICTURES = 100
"""At most so many real images a task, drawn by a fixed seed."""
REAL_QUESTIONS = 120
"""At most so many real questions a data set, drawn by a fixed seed."""


def build_test_data(work: Path, questions: int, pictures: int, packs: Path | None, workers: int) -> None:
    """Held-out cases and pairs, a few training cases for the majority baseline, and the packs with their splits."""
    per_modality = -(-questions // (len(MODALITIES) * QUESTIONS_PER_CASE)) + 4
    jobs = plan_jobs(dict.fromkeys(MODALITIES, per_modality), dict.fromkeys(GENERATION_TASKS, pictures), "test")
    jobs += plan_jobs(dict.fromkeys(MODALITIES, MAJORITY_CASES), {}, "train")
    if packs is not None:
        jobs += plan_jobs({}, {}, "test", [name for name in present(packs) if SOURCES[name].samples is not None])
    build(work / "data", jobs, packs=packs, workers=workers)


def chosen_questions(records: Sequence[Record], count: int) -> list[Record]:
    """``count`` questions spread evenly over the modalities, drawn by a fixed seed."""
    rng = np.random.default_rng(0)
    chosen: list[Record] = []
    for number, modality in enumerate(MODALITIES):
        own = [record for record in records if record.task == modality and record.kind != "report"]
        wanted = count // len(MODALITIES) + (number < count % len(MODALITIES))
        chosen += [own[i] for i in rng.permutation(len(own))[:wanted]]
    return chosen


def chosen_real_questions(records: Sequence[Record]) -> list[Record]:
    """At most ``REAL_QUESTIONS`` of each data set, so that the largest does not speak for all."""
    rng = np.random.default_rng(0)
    chosen: list[Record] = []
    for source in sorted({record.provenance.source for record in records}):
        own = [record for record in records if record.provenance.source == source]
        chosen += [own[i] for i in rng.permutation(len(own))[:REAL_QUESTIONS]]
    return chosen


def score_reading(
    session: Session, records: list[Record], training: list[Record], work: Path, name: str
) -> dict[str, Any]:
    """Sighted and blind answers beside the majority's, in all and by modality and kind."""
    data = work / "data"
    sighted = predict_answers(session, records, data, work / f"{name}-sighted.jsonl", sighted=True)
    blind = predict_answers(session, records, data, work / f"{name}-blind.jsonl", sighted=False)
    guesser = Majority(training)
    guessed = [guesser.answer(record) for record in records]
    ways = {"model": sighted, "blind": blind, "majority": guessed}

    def part(rows: Sequence[int]) -> dict[str, Any]:
        return {way: rates([records[i] for i in rows], [answers[i] for i in rows]) for way, answers in ways.items()}

    def grouped(key: Callable[[Record], str]) -> dict[str, Any]:
        names = [key(record) for record in records]
        return {name: part([i for i, own in enumerate(names) if own == name]) for name in sorted(set(names))}

    return {
        "all": part(range(len(records))),
        "by_modality": grouped(lambda record: record.task),
        "by_source": grouped(lambda record: record.provenance.source),
        "by_kind": grouped(lambda record: record.kind),
    }


def _load(folder: Path, name: str | None, session: Session) -> np.ndarray | None:
    if name is None:
        return None
    with PillowImage.open(folder / name) as picture:
        return session.config.preprocessing.square(np.asarray(picture))


def codec_ceiling(session: Session, truths: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What the codec alone makes of the truth: no picture that shows only codes can be closer."""
    images = []
    for start in range(0, len(truths), 32):
        images += list(session.paint(session.encode(np.stack(truths[start : start + 32]))))
    return images


def score_drawing(session: Session, task: str, records: list[Record], work: Path, name: str) -> dict[str, Any]:
    """Drawn images beside the baselines of the task and the codec's own ceiling."""
    data = work / "data"
    drawn = predict_drawings(session, records, data, work / f"{name}-{task}")
    truths = [_load(data, record.target_image, session) for record in records]
    inputs = [_load(data, record.image, session) for record in records]
    known = [truth for truth in truths if truth is not None]
    turned = known[1:] + known[:1]
    scores: dict[str, Any] = {
        "images": len(records),
        "model": mean_scores(drawn, known),
        "codec_ceiling": mean_scores(codec_ceiling(session, known), known),
        "another_image": mean_scores(turned, known),
    }
    if TASKS[task].takes_image:
        given = [image for image in inputs if image is not None]
        scores["copying_the_input"] = mean_scores(given, known)
        if task == "super-resolution":
            scores["bicubic"] = mean_scores([bicubic(image) for image in given], known)
    elif name == PHANTOM:
        reports = [record.words for record in records]
        seen = [measured(image) for image in drawn]
        scores["findings"] = {
            "model": finding_agreement(seen, reports),
            "shuffled_reports": agreement_with_others(seen, reports),
            "reader_on_truth": finding_agreement([measured(image) for image in known], reports),
        }
    return scores


def evaluate_nano(
    session: Session,
    work: Path,
    *,
    questions: int = 1000,
    pictures: int = 200,
    packs: Path | None = None,
    workers: int = 2,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """All figures of the model card. ``work`` keeps data and predictions; ``packs``: folder of real data packs."""
    say("building held-out data")
    build_test_data(work, questions, pictures, packs, workers)
    records = list(read_records(work / "data" / "records.jsonl"))
    simulated = [record for record in records if record.provenance.source == PHANTOM]
    real = [record for record in records if record.provenance.source != PHANTOM]
    figures: dict[str, Any] = {
        "model": session.name,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {session.model.device}",
        "torch": torch.__version__,
        "phantom": {},
        "real": {},
    }
    for name, group in ((PHANTOM, simulated), ("real", real)):
        part = figures["phantom" if name == PHANTOM else "real"]
        held_out = [record for record in group if record.split == "test"]
        reading = [r for r in held_out if TASKS[r.task].family == "comprehension" and r.kind != "report"]
        training = [r for r in group if r.split == "train" and r.kind != "report" and r.response]
        if not held_out:
            part["skipped"] = "no real data packs on this machine"
            continue
        asked = chosen_questions(reading, questions) if name == PHANTOM else chosen_real_questions(reading)
        say(f"{name}: {len(asked)} questions")
        part["reading"] = score_reading(session, asked, training, work, name)
        part["drawing"] = {}
        for task in GENERATION_TASKS:
            chosen = [record for record in held_out if record.task == task]
            limit = pictures if name == PHANTOM else REAL_PICTURES
            chosen = [chosen[i] for i in sorted(np.random.default_rng(1).permutation(len(chosen))[:limit])]
            if chosen:
                say(f"{name}: {task}, {len(chosen)} images")
                part["drawing"][task] = score_drawing(session, task, chosen, work, name)
    return figures

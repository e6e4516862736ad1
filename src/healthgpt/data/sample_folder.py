"""Write a data folder: VL-Phantom cases, generation pairs and real packs as PNG files and records.

    FOLDER/images/*.png      input and target images, 8-bit
    FOLDER/records.jsonl     one record a line, written last: a folder without it is unfinished

Work is cut into jobs of some cases; a finished job leaves ``jobs/NAME.jsonl`` and is not done again, so a
killed build goes on where it stopped and ends with the same bytes.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from healthgpt.errors import DataError
from healthgpt.phantoms import chest_xray, ct, fundus, microscopy, mri, oct, ultrasound
from healthgpt.phantoms.case import SEED_RANGES, Case
from healthgpt.phantoms.pairs import make_pair
from healthgpt.record import Provenance, Record, Sample, Split, read_records, write_records
from healthgpt.sources.catalog import SOURCES
from healthgpt.tasks import TASKS

CASE_MAKERS: dict[str, Callable[..., Case]] = {
    "x-ray": chest_xray.make_case,
    "ct": ct.make_case,
    "mri": mri.make_case,
    "microscopy": microscopy.make_case,
    "oct": oct.make_case,
    "ultrasound": ultrasound.make_case,
    "fundus": fundus.make_case,
}
"""How a case of each modality is simulated."""

PHANTOM = "vl-phantom"
LICENCE = "Apache-2.0"
CASES_PER_JOB = 50


@dataclass(frozen=True)
class Job:
    """Some phantom cases of a modality, some pairs of a generation task, or one real pack."""

    kind: str
    name: str
    split: Split
    first: int = 0
    count: int = 0

    @property
    def label(self) -> str:
        return f"{self.kind}-{self.name}-{self.split}-{self.first:07d}"


def to_bytes(pixels: np.ndarray) -> np.ndarray:
    """[0, 1] floats to uint8, rounded."""
    return np.clip(np.rint(pixels * 255), 0, 255).astype(np.uint8)


def case_samples(modality: str, seed: int, split: Split, size: int) -> Iterator[Sample]:
    """Every question and the report of one case; the picture is carried by each."""
    case = CASE_MAKERS[modality](seed, size)
    image = to_bytes(case.image)
    provenance = Provenance(
        source=PHANTOM, licence=LICENCE, original_id=f"{modality}/{seed}", group=f"{modality}/{seed}"
    )
    for number, question in enumerate(case.questions):
        record = Record(
            id=f"{PHANTOM}-{modality}-{seed}-{number}", task=modality, instruction=question.instruction,
            response=question.answer, options=question.options, kind=question.kind,
            image=f"images/{modality}-{seed}.png", split=split, provenance=provenance,
        )  # fmt: skip
        yield Sample(record, image, None)
    phrasings = TASKS[modality].instructions
    record = Record(
        id=f"{PHANTOM}-{modality}-{seed}-report", task=modality, instruction=phrasings[seed % len(phrasings)],
        response=case.report, kind="report", image=f"images/{modality}-{seed}.png", split=split, provenance=provenance,
    )  # fmt: skip
    yield Sample(record, image, None)


def pair_sample(task: str, seed: int, split: Split, size: int) -> Sample:
    """One generation example: instruction (with the report, if that is the input), input and target image."""
    pair = make_pair(task, seed, size)
    phrasings = TASKS[task].instructions
    instruction = f"{phrasings[seed % len(phrasings)]} {pair.text}".strip()
    image = None if pair.input is None else to_bytes(pair.input)
    record = Record(
        id=f"{PHANTOM}-{task}-{seed}", task=task, instruction=instruction,
        image=None if image is None else f"images/{task}-{seed}-input.png",
        target_image=f"images/{task}-{seed}-target.png", split=split,
        provenance=Provenance(source=PHANTOM, licence=LICENCE, original_id=f"{task}/{seed}", group=f"{task}/{seed}"),
    )  # fmt: skip
    return Sample(record, image, to_bytes(pair.target))


def job_samples(job: Job, size: int, packs: Path | None) -> Iterator[Sample]:
    """The samples of one job."""
    if job.kind == "pack":
        if packs is None:
            raise ValueError("a pack job needs the packs' folder")
        samples = SOURCES[job.name].samples
        if samples is None:
            raise DataError(f"pack '{job.name}' has no images", next_step="name it under data.text_packs")
        yield from samples(packs)
        return
    start = SEED_RANGES[job.split].start + job.first
    for seed in range(start, start + job.count):
        if job.kind == "case":
            yield from case_samples(job.name, seed, job.split, size)
        else:
            yield pair_sample(job.name, seed, job.split, size)


def run_job(job: Job, folder: Path, size: int, packs: Path | None) -> int:
    """Write one job's images and records; returns how many records."""
    done = folder / "jobs" / f"{job.label}.jsonl"
    if done.is_file():
        return sum(1 for _ in read_records(done))
    written: set[str] = set()
    records = []
    for record, image, target in job_samples(job, size, packs):
        for name, pixels in ((record.image, image), (record.target_image, target)):
            if name is not None and pixels is not None and name not in written:
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                PillowImage.fromarray(pixels).save(path, compress_level=1)
                written.add(name)
        records.append(record)
    return write_records(done, records)


def plan_jobs(cases: dict[str, int], pairs: dict[str, int], split: Split, packs: Iterable[str] = ()) -> list[Job]:
    """Jobs for so many cases per modality and pairs per generation task, and whole packs."""
    jobs = [
        Job(kind, name, split, first, min(CASES_PER_JOB, count - first))
        for kind, counts in (("case", cases), ("pair", pairs))
        for name, count in counts.items()
        for first in range(0, count, CASES_PER_JOB)
    ]
    return jobs + [Job("pack", name, split) for name in packs]


def build(
    folder: Path,
    jobs: list[Job],
    *,
    size: int = 128,
    packs: Path | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Run all jobs on ``workers`` processes and join their records; returns how many records there are."""
    (folder / "jobs").mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(run_job, job, folder, size, packs) for job in jobs]
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            progress(done, len(jobs))
    return write_records(
        folder / "records.jsonl",
        (record for job in jobs for record in read_records(folder / "jobs" / f"{job.label}.jsonl")),
    )

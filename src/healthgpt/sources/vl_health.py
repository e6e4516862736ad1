"""VL-Health as its authors released it (lintw/VL-Health on the hub), for whoever has it already.

From the data set's cards (README.md and Alignment/README.md) and file list: ``Alignment/comprehension/train_data.json``
is LLaVA-558k with the single-image part of PubMedVision, told apart by ``id``; rows of comprehension are
{image, conversations}, of one human and one gpt turn; paths of images are whatever they were where the file was made,
so ``image`` must be made relative to this folder before the pictures are found. Images are not part of the release.

Not verified, since the files could not be had: names and depth of the instruction-tuning folders (every JSON
below a folder ``comprehension`` or ``generation`` is read), whether ids recur there (a fingerprint tells rows apart),
and how generation rows name their target. A row with a target image is read; one whose target is a list of VQ
indices is refused, for the picture cannot be drawn from them here: build those tasks from IXI, SynthRAD2023 and
MIMIC-CXR. A row of reconstruction is its own target. The hub's Parquet parts are not read.
"""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

from healthgpt.sources.base import Source
from healthgpt.sources.conversation import exchanges, image_names, told_apart
from healthgpt.sources.entry import BadRowError, Entry, Pair, Question, Report
from healthgpt.sources.layout import Download, Published, Row, Table
from healthgpt.sources.modality import generation_task, task_of_modality

OBTAIN = "https://huggingface.co/datasets/lintw/VL-Health"
TARGETS = ("target_image", "output_image", "target")


def published_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """Questions of a comprehension file, pairs and reports of a generation file."""
    if not isinstance(row.value, dict):
        raise BadRowError("not an object")
    if "generation" in PurePosixPath(row.file).parts:
        yield from _drawing(row)
    else:
        yield from _reading(row, oddities)


def _reading(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    value = row.value
    talk, images = exchanges(value.get("conversations")), image_names(value.get("image"))
    if not images:
        oddities["conversation without an image"] += 1
    modality = value.get("modality")
    task = (task_of_modality(modality) if isinstance(modality, str) else None) or _task_of_file(row.file)
    name = value.get("id")
    if name is None:
        oddities["no id"] += 1
        name = images[0] if images else ""
    identity = told_apart(str(name), talk)
    kind = "caption" if row.file.lower().startswith("alignment/") else "conversation"
    for number, (question, answer) in enumerate(talk):
        yield Question(
            original_id=f"{identity}#{number}", images=images, question=question, answer=answer, task=task, kind=kind,
            split=row.split, group=images[0] if images else identity,
        )  # fmt: skip


@lru_cache(maxsize=256)
def _task_of_file(file: str) -> str:
    """Reading task by the file's or a folder's name, the nearest first."""
    parts = PurePosixPath(file).with_suffix("").parts
    return next((task for part in reversed(parts) if (task := task_of_modality(part))), "other")


def _drawing(row: Row) -> Iterator[Entry]:
    value = row.value
    words = _first_words(value.get("conversations"))
    images = image_names(value.get("image"))
    target = next((value[key] for key in TARGETS if isinstance(value.get(key), str) and value[key]), "")
    named = value.get("task")
    task = (
        (generation_task(named) if isinstance(named, str) else None)
        or generation_task(words)
        or generation_task(PurePosixPath(row.file).stem)
    )
    if task is None:
        raise BadRowError("the generation task is not told")
    if not target and task == "reconstruct" and images:
        target = images[0]
    if not target:
        raise BadRowError("the target is not an image (VQ indices?)")
    name = value.get("id")
    identity = told_apart(str(name if name is not None else target), [(words, target)])
    if task == "report-to-cxr":
        yield Report(original_id=identity, images=(target,), text=words, split=row.split, group=target)
    elif len(images) == 1:
        yield Pair(
            original_id=identity, task=task, image=images[0], target=target, split=row.split, group=images[0]
        )  # fmt: skip
    else:
        raise BadRowError("several input images" if images else "no image")


def _first_words(turns: Any) -> str:
    """What the human says first; answers of generation rows need not be text."""
    first = turns[0] if isinstance(turns, list) and turns else None
    words = first.get("value") if isinstance(first, dict) and first.get("from") == "human" else None
    if not isinstance(words, str):
        raise BadRowError("the conversation does not begin with a human's words")
    return words


SOURCE = Source(
    name="vl_health",
    title="VL-Health as released: instruction data of HealthGPT",
    licence="MIT (annotations; each original's terms hold for its part)",
    obtain=OBTAIN,
    folder="vl_health",
    published_images=0,
    published_questions=765_802,
    published=Published(
        tables=(
            Table("**/comprehension/**/*.json", "json", "train", columns=("image", "conversations")),
            Table("**/generation/**/*.json", "json", "train", columns=("conversations",)),
        ),
        entries=published_entries,
        expected=(
            ("Alignment/comprehension/train_data.json", 0, "LLaVA-558k and PubMedVision, images not included"),
            ("**/comprehension/**/*.json", 0, "instruction tuning: questions by modality"),
            ("**/generation/**/*.json", 0, "instruction tuning: conversion, super-resolution, report to X-ray"),
        ),
        splits="training only",
        yields="questions as the authors rewrote them; pairs where the target is an image",
        downloads=(
            Download(
                f"{OBTAIN}/resolve/main/Alignment/comprehension/train_data.json", folder="Alignment/comprehension"
            ),
        ),
        citation="Lin et al., HealthGPT, ICML 2025 (arXiv:2502.09838)",
        notes=(
            "images come from the originals; 'image' must name them relative to this folder",
            "it repeats LLaVA, PubMedVision, LLaVA-Med, VQA-RAD, SLAKE, PathVQA: build it alone or build those",
        ),
    ),
)

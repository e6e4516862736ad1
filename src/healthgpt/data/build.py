"""Original downloads to a VL-Health data set, in five steps read top-down in ``build``.

    1 plan     every published file cut into chunks                        plan.py
    2 draft    each chunk: rows to clean words and stored pictures         draft_chunk.py   (any worker)
    3 settle   what depends on all rows: leaks, splits, repeats, mixture   settle.py, leaks.py
    4 seal     drafts to validated records in Parquet shards               seal.py          (any worker)
    5 finish   index, leak report, quarantine, data card, manifest         finish.py

Every step leaves its result in FOLDER/work, whole, so a killed build goes on where it stopped; what it writes does
not depend on how many workers there were or in which order they finished.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any, Protocol, TypeVar

from healthgpt.data.draft_chunk import PLACES, draft_chunk
from healthgpt.data.finish import finish, join_lines, told
from healthgpt.data.picture_links import link_pictures
from healthgpt.data.plan import Plan, load_plan, make_plan, save_plan
from healthgpt.data.seal import SealJob, plan_sealing, seal
from healthgpt.data.settings import BuildSettings
from healthgpt.data.settle import held_out_units, settle, source_totals
from healthgpt.data.shards import MANIFEST, Manifest, load_manifest
from healthgpt.errors import DataError, OutputError

Item = TypeVar("Item")
Progress = Callable[[str, int, int], None]
"""Told the step, how many of its pieces are done and how many there are."""
Done = Iterator[tuple[int, dict[str, Any]]]
STEPS = ("reading", "looking for leaks", "writing")
REASONS_SHOWN = 5


class Workers(Protocol):
    """Where the pieces of a step are done: processes here, or machines of a cluster."""

    def each(self, work: Callable[[Item], dict[str, Any]], items: Sequence[Item]) -> Done:
        """Do ``work`` for every item; yields (number of the item, result) as they get done, in any order."""
        ...


@dataclass(frozen=True)
class LocalWorkers:
    """Processes of this machine."""

    count: int = 1

    def each(self, work: Callable[[Item], dict[str, Any]], items: Sequence[Item]) -> Done:
        if self.count == 1:
            yield from ((number, work(item)) for number, item in enumerate(items))
            return
        with ProcessPoolExecutor(self.count, get_context("spawn"), _end_with_parent) as pool:
            futures = {pool.submit(work, item): number for number, item in enumerate(items)}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _end_with_parent() -> None:
    """A worker of a killed build must not go on beside those of the next."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=watch, daemon=True).start()


def build(
    folder: Path, settings: BuildSettings, workers: Workers, progress: Progress = lambda step, done, total: None
) -> Manifest:
    """Build a data set in ``folder``, or go on with one that was begun there with the same settings.

    Raises ``DataError`` for sources that are not as published and when too many rows are malformed, ``OutputError``
    when the folder holds something else.
    """
    folder = folder.absolute()  # workers may stand elsewhere
    work = folder / "work"
    if (folder / MANIFEST).is_file() and work.is_dir():  # killed when all was done but tidying up
        manifest = load_manifest(folder)
        _tidy(folder, manifest)
        if manifest.settings == told(settings):
            return manifest
    plan = _begun(folder, settings)
    summaries = _draft_all(plan, folder, workers, progress)
    check_quarantine(summaries, settings, folder)
    progress(STEPS[1], 0, 1)
    splits, report = link_pictures(
        [work / "pictures" / f"{chunk.label}.parquet" for chunk in plan.chunks],
        [chunk.source for chunk in plan.chunks],
    )
    drafts = [work / "drafts" / f"{chunk.label}.parquet" for chunk in plan.chunks]
    splits = splits.with_held_out(*held_out_units(drafts))
    splits.save(work / "unit_splits.npz")
    settled = settle(summaries, settings, work, splits)
    (work / "settled.json").write_text(settled.model_dump_json(), encoding="utf-8")
    progress(STEPS[1], 1, 1)
    sealed = _seal_all(plan_sealing(summaries), settings, folder, workers, progress)
    manifest = finish(folder, settings, summaries, sealed, settled, report)
    _tidy(folder, manifest)
    return manifest


def _tidy(folder: Path, manifest: Manifest) -> None:
    if manifest.settings["images"] == "embed":
        shutil.rmtree(folder / "images", ignore_errors=True)
    shutil.rmtree(folder / "work", ignore_errors=True)


def _begun(folder: Path, settings: BuildSettings) -> Plan:
    """The plan to work by: the one found in the folder, when it is of the same settings and the same files."""
    path = folder / "work" / "plan.json"
    if (folder / MANIFEST).is_file():
        raise OutputError(f"{folder} holds a finished data set", next_step="choose another folder, or remove it first")
    # A build killed at its very beginning leaves folders, and maybe half a plan.
    if not path.is_file() and any(one.is_file() and one.parent != path.parent for one in folder.rglob("*")):
        raise OutputError(f"{folder} is not empty", next_step="choose another folder, or remove it first")
    plan = make_plan(settings)
    if path.is_file():
        begun = load_plan(path)
        if begun.settings != settings:
            raise OutputError(
                f"{folder} holds a build with other settings",
                next_step="build with the same options, or choose another folder",
            )
        if begun != plan:
            raise OutputError(
                f"the originals have changed since the build in {folder} was begun",
                next_step="remove that folder and build again",
            )
        return begun
    try:
        for name in (*(f"work/{place}" for place in (*PLACES, "sealed", "withheld")), "data"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OutputError(
            f"cannot make the folder {folder}", found=str(fault.strerror), next_step="choose another folder"
        ) from fault
    save_plan(plan, path)
    return plan


def _draft_all(plan: Plan, folder: Path, workers: Workers, progress: Progress) -> list[dict[str, Any]]:
    """All chunks' summaries, in order; stops as soon as a source has more malformed rows than is allowed."""
    settings, total = plan.settings, len(plan.chunks)
    planned: Counter[str] = Counter()
    for chunk in plan.chunks:
        planned[chunk.source] += chunk.rows
    summaries: dict[int, dict[str, Any]] = {}
    refused: Counter[str] = Counter()
    job = partial(draft_chunk, settings=settings, folder=folder)
    progress(STEPS[0], 0, total)
    for number, summary in workers.each(job, plan.chunks):
        summaries[number] = summary
        source = summary["source"]
        refused[source] += summary["refused"]
        if planned[source] and refused[source] > settings.max_quarantined * planned[source]:
            _stop_for_quarantine(source, refused[source], planned[source], settings, folder)
        progress(STEPS[0], len(summaries), total)
    return [summaries[number] for number in range(total)]


def check_quarantine(summaries: list[dict[str, Any]], settings: BuildSettings, folder: Path) -> None:
    """``DataError`` when a source's share of malformed rows is beyond ``max_quarantined``."""
    for source, totals in source_totals(summaries).items():
        if totals["quarantined"] > settings.max_quarantined * max(totals["rows"], 1):
            _stop_for_quarantine(source, totals["quarantined"], totals["rows"], settings, folder)


def _stop_for_quarantine(source: str, refused: int, rows: int, settings: BuildSettings, folder: Path) -> None:
    """Write the quarantine so that it can be looked at, and stop."""
    join_lines(folder / "work" / "refused", folder / "work" / "quarantine.jsonl")
    reasons: Counter[str] = Counter()
    with (folder / "work" / "quarantine.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["source"] == source:
                reasons[row["reason"]] += 1
    common = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(REASONS_SHOWN))
    missing = reasons["image missing"] > refused / 2
    raise DataError(
        f"too many rows of '{source}' cannot be used: {refused} of {rows}",
        found=common,
        allowed=f"{settings.max_quarantined:.2%}",
        next_step=f"see {folder / 'work' / 'quarantine.jsonl'}; then "
        + (
            f"put the images there, or build its words alone with --words-only {source}"
            if missing
            else "mend the files"
        )
        + ", or allow more with --max-quarantined",
    )


def _seal_all(
    jobs: list[SealJob], settings: BuildSettings, folder: Path, workers: Workers, progress: Progress
) -> list[dict[str, Any]]:
    sealed: dict[int, dict[str, Any]] = {}
    progress(STEPS[2], 0, len(jobs))
    for number, result in workers.each(partial(seal, settings=settings, folder=folder), jobs):
        sealed[number] = result
        progress(STEPS[2], len(sealed), len(jobs))
    return [sealed[number] for number in range(len(jobs))]

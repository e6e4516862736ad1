"""The peer of ``text_records.py``: the same functions called from ``datasets.map``, one process.

It does less than a build: nothing about repeated ids, leaks and splits; its pool of wrong options is ready before the
clock starts; rows that cannot be read are skipped. It reads what the datasets library can load as published: of
VQA-RAD (numbers among texts in a column), PathVQA's LXMERT form (answers as keys) it cannot make a table.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets

from healthgpt.data.choices import AnswerPool, forms_of, question_type, single_choice
from healthgpt.data.normalise import clean_text, normalise_answer, normalise_question
from healthgpt.data.seal import record_id
from healthgpt.data.templates import phrasing
from healthgpt.record import Provenance, Record
from healthgpt.sources.base import split_of
from healthgpt.sources.catalog import SOURCES
from healthgpt.sources.entry import BadRowError, Question
from healthgpt.sources.layout import Row

LOADED = {
    "llava_med_alignment": "data/alignment/*.json",
    "llava_med_instruct": "data/instruct/*.json",
    "pubmedvision_alignment": "*.json",
    "slake": "Slake1.0/train.json",
}
POOL_ROWS = 1_000
BATCH = 1_000
"""Rows of a batch of ``datasets.map``."""


def mapped(sources: dict[str, Path], folder: Path) -> dict[str, Any]:
    """Records of the loadable sources as Parquet files in ``folder``; seconds (wall and CPU) and how many."""
    datasets.disable_progress_bars()
    pools = {name: _pool(name, sources[name], folder / "first") for name in LOADED}
    started, spent = time.perf_counter(), time.process_time()
    records = 0
    for name in LOADED:
        table = _loaded(name, sources[name], folder / "cache")
        result = table.map(
            _records, batched=True, with_indices=True, remove_columns=table.column_names,
            fn_kwargs={"name": name, "folder": sources[name], "pool": pools[name]}, load_from_cache_file=False,
        )  # fmt: skip
        result.to_parquet(str(folder / f"{name}.parquet"))
        records += len(result)
    seconds = time.perf_counter() - started
    return {
        "sources": list(LOADED), "seconds": round(seconds, 1), "cpu_seconds": round(time.process_time() - spent, 1),
        "records": records, "records_a_second": round(records / seconds),
    }  # fmt: skip


def functions_alone(sources: dict[str, Path], folder: Path) -> dict[str, Any]:
    """The same functions on the same rows, after ``mapped``, without the datasets library: CPU seconds of parsing and
    of the functions."""
    parsing = calling = 0.0
    records = 0
    for name, pattern in LOADED.items():
        pool = _pool(name, sources[name], folder / "first")
        for path in sorted(sources[name].glob(pattern)):
            started = time.process_time()
            rows = json.loads(path.read_text(encoding="utf-8"))
            parsing += time.process_time() - started
            started = time.process_time()
            for first in range(0, len(rows), BATCH):
                batch = rows[first : first + BATCH]
                columns = {column: [row[column] for row in batch] for column in batch[0]}
                made = _records(columns, list(range(first, first + len(batch))), name, sources[name], pool)
                records += len(made["id"])
            calling += time.process_time() - started
    return {"records": records, "parsing_cpu_seconds": round(parsing, 2), "functions_cpu_seconds": round(calling, 2)}


def _loaded(name: str, folder: Path, cache: Path) -> datasets.Dataset:
    files = [str(path) for path in sorted(folder.glob(LOADED[name]))]
    return datasets.load_dataset("json", data_files=files, split="train", cache_dir=str(cache))


def _pool(name: str, folder: Path, cache: Path) -> AnswerPool:
    pool = AnswerPool()
    table = _loaded(name, folder, cache)
    for place, row in enumerate(table.select(range(min(POOL_ROWS, len(table))))):
        for entry in _entries(name, folder, row, place):
            answer = normalise_answer(clean_text(entry.answer).text)
            pool.add(name, entry.kind or question_type(str(entry.question), answer), answer)
    return pool


def _entries(name: str, folder: Path, value: dict[str, Any], place: int) -> Iterator[Question]:
    published = SOURCES[name].published
    assert published is not None
    try:
        for entry in published.entries(Row(value, folder, LOADED[name], place + 1, "train"), Counter()):
            assert isinstance(entry, Question)
            yield entry
    except BadRowError:
        return


def _records(
    columns: dict[str, list[Any]], places: list[int], name: str, folder: Path, pool: AnswerPool
) -> dict[str, list[Any]]:
    """A batch of rows to the columns of their records."""
    records = []
    for number, place in enumerate(places):
        value = {column: values[number] for column, values in columns.items()}
        for entry in _entries(name, folder, value, place):
            record = _record(entry, name, pool)
            if record is not None:
                records.append(record.model_dump(exclude={"provenance"}) | record.provenance.model_dump())
    fields = [*(field for field in Record.model_fields if field != "provenance"), *Provenance.model_fields]
    return {field: [record[field] for record in records] for field in fields}


def _record(entry: Question, name: str, pool: AnswerPool) -> Record | None:
    question, answer = normalise_question(clean_text(entry.question).text), clean_text(entry.answer).text
    if not answer:
        return None
    identity, options = record_id(name, entry.original_id), ()
    asked = entry.kind != "caption"
    kind = entry.kind or question_type(question, answer)
    if asked:
        answer = normalise_answer(answer)
        if "choice" in forms_of(identity, 0.5, 0):
            posed = single_choice(identity, question, answer, pool, 0, source=name, kind=kind)
            question, answer, options = posed or (question, answer, ())
    group = entry.group or entry.images[0]
    return Record(
        id=identity, task=entry.task, instruction=question or phrasing(entry.task, identity, 0), response=answer,
        image=None, options=options, kind=kind, split=entry.split or "train",
        provenance=Provenance(
            source=name, licence=SOURCES[name].licence, original_id=entry.original_id, group=f"{name}/{group}",
            published_split=entry.split, disjoint_split=split_of(name, group),
            transforms=("words normalised", "image left out"),
        ),
    )  # fmt: skip

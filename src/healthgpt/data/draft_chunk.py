"""One chunk of a build: rows of a published file to drafts on disk, for any worker to do, again if need be.

WORK/drafts/N.parquet  pictures/N.parquet  refused/N.jsonl  summary/N.json (last: a chunk with it is done)
"""

import json
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from healthgpt.data.drafts import Drafts
from healthgpt.data.plan import SAMPLES, Chunk, published_of
from healthgpt.data.settings import BuildSettings
from healthgpt.data.shards import write_lines
from healthgpt.data.whole_file import whole_file
from healthgpt.errors import DataError
from healthgpt.sources.catalog import SOURCES
from healthgpt.sources.entry import BadRowError
from healthgpt.sources.layout import Row
from healthgpt.sources.tables import Damaged, Mark, rows_of

PLACES = ("drafts", "pictures", "refused", "summary")


def draft_chunk(chunk: Chunk, settings: BuildSettings, folder: Path) -> dict[str, Any]:
    """Do one chunk, unless it is done; returns its summary."""
    work = folder / "work"
    done = work / "summary" / f"{chunk.label}.json"
    if done.is_file():
        summary: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return summary
    originals = settings.sources[chunk.source]
    mixture = settings.mixture
    drafts = Drafts(
        chunk.source,
        folder,
        originals,
        words_only=chunk.source in settings.words_only,
        reconstruct=mixture is not None and chunk.source in mixture.reconstruct,
        seed=settings.seed,
        scans=settings.scans,
    )
    rows = _pack_samples(chunk, originals, drafts) if chunk.table == SAMPLES else _table_rows(chunk, originals, drafts)
    _write_table(work / "drafts" / f"{chunk.label}.parquet", drafts.table())
    _write_table(work / "pictures" / f"{chunk.label}.parquet", drafts.pictures())
    write_lines(
        work / "refused" / f"{chunk.label}.jsonl",
        ({"source": chunk.source, "file": one.file, "line": one.line, "reason": one.reason} for one in drafts.refused),
    )
    summary = {
        "source": chunk.source,
        "rows": rows,
        "drafts": len(drafts.rows),
        "refused": len(drafts.refused),
        "dropped": dict(sorted(drafts.dropped.items())),
        "oddities": dict(sorted(drafts.oddities.items())),
        "pool": drafts.pool.to_json(),
    }
    with whole_file(done) as partial:
        partial.write_text(json.dumps(summary), encoding="utf-8")
    return summary


def _table_rows(chunk: Chunk, originals: Path, drafts: Drafts) -> int:
    """The chunk's rows as entries, each to its drafts; returns how many rows there were."""
    published = published_of(chunk.source)
    table = published.tables[chunk.table]
    context = _context(chunk.source, originals, (drafts.folder / "work" / "plan.json").stat().st_mtime_ns)
    count = 0
    for file, mark, value in _values(chunk, originals, drafts.oddities):
        count += 1
        if isinstance(value, Damaged):
            drafts.refuse(file, mark.line, value.reason)
            continue
        row = Row(value, originals, file, mark.line, table.split, mark.section, context)
        try:
            for entry in list(published.entries(row, drafts.oddities)):  # all of a row's, or none
                drafts.add(entry, file, mark.line)
        except BadRowError as fault:
            drafts.refuse(file, mark.line, str(fault))
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            # A row of another shape than published fails somewhere in its source; it is one row, not the build.
            drafts.refuse(file, mark.line, f"not of the published shape ({type(fault).__name__}: {fault})")
    return count


def _values(chunk: Chunk, originals: Path, oddities: Counter[str]) -> Iterator[tuple[str, Mark, Any]]:
    if chunk.items:
        for number, item in enumerate(chunk.items, start=1):
            yield item, Mark(number, number), item
        return
    table = published_of(chunk.source).tables[chunk.table]
    path = originals / chunk.file
    # Oddities of the file as a whole (its header, its shape) are met at its very beginning, by the first chunk.
    start = None if chunk.first else Mark(chunk.offset, chunk.line, chunk.section)
    for mark, value in islice(rows_of(path, table, oddities, start), chunk.rows):
        yield chunk.file, mark, value


def _pack_samples(chunk: Chunk, originals: Path, drafts: Drafts) -> int:
    """All samples of a pack that has no published tables."""
    source = SOURCES[chunk.source]
    if originals.name != source.folder:
        raise DataError(
            f"'{source.name}' has to lie in a folder named {source.folder}", found=str(originals),
            next_step="rename the folder as the source publishes it",
        )  # fmt: skip
    if source.samples is None:
        raise DataError(f"'{source.name}' has neither tables nor images to build from")
    count = 0
    for sample in source.samples(originals.parent):
        drafts.sample(sample)
        count += 1
    return count


@lru_cache(maxsize=2)
def _context(source: str, originals: Path, planned: int) -> Any:
    """What a source's ``prepare`` makes of its folder, once a worker and build; chunks of a source stand together."""
    prepare = published_of(source).prepare
    return prepare(originals) if prepare else None


def _write_table(path: Path, table: pa.Table) -> None:
    with whole_file(path) as partial:
        pq.write_table(table, partial, compression="zstd")

"""Checks of the target codes beside a data set: every codec's files are whole and their indices fit the codec."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from healthgpt.data.codes import SCHEMA, EncodedWith
from healthgpt.data.findings import Findings
from healthgpt.data.scattered import ScatteredFacts

_SHARD = re.compile(r"codes-(\d{5})\.parquet")


def check_codes(folder: Path, findings: Findings, facts: ScatteredFacts) -> list[str]:
    """Check all of FOLDER/codes; notes ``codes CODEC`` of every encoded image and returns the finished codecs."""
    finished = []
    for place in sorted(path for path in (folder / "codes").glob("*") if path.is_dir()):
        made = _description(place, findings)
        if made is not None and _check_shards(place, made, findings, facts):
            finished.append(made.codec)
    return finished


def _description(place: Path, findings: Findings) -> EncodedWith | None:
    name = f"codes/{place.name}"
    try:
        made = EncodedWith.model_validate_json((place / "codec.json").read_bytes())
    except FileNotFoundError:
        findings.add("codes", f"{name}: unfinished, encode again to go on")
        return None
    except (OSError, ValidationError):
        findings.add("codes", f"{name}/codec.json is damaged")
        return None
    if made.codec != place.name:
        findings.add("codes", f"{name}: codec.json is that of {made.codec}")
        return None
    return made


def _check_shards(place: Path, made: EncodedWith, findings: Findings, facts: ScatteredFacts) -> bool:
    """Whether all files could be read, so that what is missing in them is missing indeed."""
    there = {path.name for path in place.glob("*.parquet")}
    wanted = {f"codes-{number:05d}.parquet" for number in range(made.shards)}
    whole = True
    for name in sorted(wanted - there):
        findings.add("codes", f"codes/{place.name}/{name} is missing")
        whole = False
    for name in sorted(there - wanted):
        findings.add("codes", f"codes/{place.name}/{name} is not one of its {made.shards}")
    images = 0
    for name in sorted(wanted & there):
        try:
            for names, faults in _batches(place / name, made):
                images += len(names)
                for fault, count in faults:
                    findings.add("codes", f"codes/{place.name}/{name}: {fault}", count)
                for one in names:
                    facts.add(f"image {one}", f"codes {made.codec}")
        except (OSError, ValueError, pa.ArrowException) as fault:
            findings.add("codes", f"codes/{place.name}/{name} cannot be read: {fault}"[:300])
            whole = False
    if whole and images != made.images:
        findings.add("codes", f"codes/{place.name}: {images:,} images instead of {made.images:,}")
    return whole


def _batches(path: Path, made: EncodedWith) -> Iterator[tuple[list[str], list[tuple[str, int]]]]:
    """Image names and faults (words, how many rows) of a file, a batch of rows at a time."""
    file = pq.ParquetFile(path)
    if file.schema_arrow != SCHEMA:
        raise ValueError(f"its columns are {', '.join(file.schema_arrow.names)}")
    length = made.grid[0] * made.grid[1]
    for batch in file.iter_batches(1_024):
        codes = batch.column("codes")
        offsets = codes.offsets.to_numpy()
        indices = codes.flatten().to_numpy() if not codes.null_count else np.zeros(0, np.uint16)
        lengths = np.diff(offsets)
        faults = []
        if (lengths != length).any():
            faults.append((f"rows of {int(lengths[lengths != length][0])} codes, not {length}",
                           int((lengths != length).sum())))  # fmt: skip
        elif len(indices) and int(indices.max()) >= made.code_count:
            beyond = (indices.reshape(-1, length) >= made.code_count).any(axis=1)
            faults.append((f"index {int(indices.max())} of {made.code_count} codes", int(beyond.sum())))
        yield [str(name) for name in batch.column("image").to_pylist()], faults

"""1.5 million text records from published layouts to a finished data set, beside the same work through datasets.map.

.venv/bin/python benchmarks/text_records.py            writes benchmarks/results/text_records.json (some ten minutes)
.venv/bin/python benchmarks/text_records.py --quick    a few thousand records; writes nothing

Ours is the command ``healthgpt data build --words-only --workers 2``: planning, drafting, repeated ids and leaks,
sealing, checksums, data card. Its memory is the largest sum of the resident sizes of its processes. The peer
(``text_peer.py``) does a part of it, in one process, on a smaller volume; what is compared is time a record.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from text_peer import functions_alone, mapped
from text_volume import Volume
from timing import RESULTS, machine

from healthgpt.data.shards import load_manifest

PACKS = Path(__file__).resolve().parents[2] / "shared" / "data"
RECORDS, PEER_RECORDS, QUICK = 1_500_000, 100_000, 5_000
WORKERS = 2
WHY = (
    "Both call the same functions for every record (a row's fields, clean words, forms, validation). Two workers that "
    "did nothing else would be most_times_faster_with_these_functions; ours also cuts files into chunks, writes drafts "
    "between its two passes, finds repeated ids and leaks, and checks sums."
)
TARGETS = {"seconds": 360, "peak_gb": 2.0, "times_faster": 5.0}


def built(sources: dict[str, Path], folder: Path) -> dict[str, Any]:
    """Build with the command line; seconds, CPU seconds and peak memory of all its processes, and what it made."""
    command = [sys.executable, "-m", "healthgpt.cli.main", "data", "build", str(folder), "--workers", str(WORKERS)]
    for name, place in sources.items():
        command += ["--source", f"{name}={place}", "--words-only", name]
    started = time.perf_counter()
    building = psutil.Popen(command, stdout=subprocess.DEVNULL)
    peak, spent = 0, {}
    while building.poll() is None:
        resident = 0
        for process in _family(building):
            try:
                resident += process.memory_info().rss
                used = process.cpu_times()
            except psutil.Error:
                continue
            spent[process.pid] = used.user + used.system
        peak = max(peak, resident)
        time.sleep(0.1)
    seconds = time.perf_counter() - started
    if building.returncode:
        raise SystemExit(f"the build ended with {building.returncode}")
    manifest = load_manifest(folder)
    drafts = sum(own["drafts"] for own in manifest.sources.values())
    return {
        "rows": sum(own["rows"] for own in manifest.sources.values()),
        "questions": drafts,
        "records": sum(shard.rows for shard in manifest.shards),
        "left_out": manifest.left_out,
        "quarantined": sum(own["quarantined"] for own in manifest.sources.values()),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(sum(spent.values()), 1),
        "questions_a_second": round(drafts / seconds),
        "peak_gb": round(peak / 1e9, 2),
        "gb_read": round(sum(_size(place) for place in set(sources.values())) / 1e9, 3),
        "gb_written": round(_size(folder) / 1e9, 3),
    }


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure(packs: Path, folder: Path, records: int, peer_records: int) -> dict[str, Any]:
    """Both, each on a volume of its own size."""
    large, small = Volume(packs, folder / "large").write(records), Volume(packs, folder / "small").write(peer_records)
    ours = built(large, folder / "set")
    (folder / "peer").mkdir()
    peer = mapped(small, folder / "peer")
    each, theirs = ours["seconds"] / ours["questions"], peer["seconds"] / peer["records"]
    alone = functions_alone(small, folder / "peer")
    least = (alone["parsing_cpu_seconds"] + alone["functions_cpu_seconds"]) / alone["records"]
    busy, theirs_busy = ours["cpu_seconds"] / ours["questions"], peer["cpu_seconds"] / peer["records"]
    return {
        "ours": ours,
        "datasets_map": peer,
        "microseconds_a_record": {"ours": round(1e6 * each, 1), "datasets_map": round(1e6 * theirs, 1)},
        "times_faster": round(theirs / each, 2),
        "cpu_microseconds_a_record": {
            "ours": round(1e6 * busy, 1),
            "datasets_map": round(1e6 * theirs_busy, 1),
            "functions_alone": round(1e6 * least, 1),
        },
        "most_times_faster_with_these_functions": round(theirs * WORKERS / least, 2),
        "why_not_faster": WHY,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} records; writes nothing")
    parser.add_argument("--packs", type=Path, default=PACKS, help="folder of the real samples")
    options = parser.parse_args()
    records, peer_records = (QUICK, QUICK) if options.quick else (RECORDS, PEER_RECORDS)
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(options.packs, Path(folder), records, peer_records)
    figures = {"machine": machine(), "load_before": load, "workers": WORKERS, "targets": TARGETS} | figures
    text = json.dumps(figures, indent=1)
    print(text)
    if not options.quick:
        (RESULTS / "text_records.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

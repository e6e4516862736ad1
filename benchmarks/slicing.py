"""How many scans a second are read, normalised and cut into slices: NIfTI of 256 x 256 x 150 voxels, two processes.

.venv/bin/python benchmarks/slicing.py        writes benchmarks/results/slicing.json

Heads with noise, each file its own, gzip-compressed as they are published and plain; every slice is kept. Writing
pictures is not counted.
"""

import json
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import nibabel
import numpy as np
from timing import RESULTS, machine

from healthgpt.data.scans import ScanSettings, slices_of_scan

SHAPE, SPACING = (256, 256, 150), (0.94, 0.94, 1.2)
WORKERS, FILES, ROUNDS = 2, 8, 5
TARGET = 2.0
EVERY_SLICE = ScanSettings(stride_mm=SPACING[2], min_foreground=0.0, smallest_side=16)


def write_head(path: Path, seed: int, shape: tuple[int, int, int]) -> None:
    """An ellipsoid of two tissues under a bright rim, with the noise of a magnitude image."""
    draw = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1.2, 1.2, length, dtype=np.float32) for length in shape), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    tissue = 400 + 200 * np.sin(9 * axes[0]) * np.sin(7 * axes[1])
    signal = np.where(radius < 0.9, tissue, np.where(radius < 1.0, 900, 0))
    noise = draw.standard_normal((2, *shape), dtype=np.float32) * 15
    values = np.hypot(signal + noise[0], noise[1]).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([*SPACING, 1.0])), path)


def slice_one(path: Path) -> tuple[int, float]:
    """How many slices a scan gave, and the CPU seconds it took."""
    started = time.process_time()
    cut = slices_of_scan({"mri": path}, region="brain", settings=EVERY_SLICE, name=path.name, seed=0)
    return len(cut.slices), time.process_time() - started


def one_round(pool: ProcessPoolExecutor, paths: list[Path], slices: int) -> tuple[float, float]:
    """Scans a second of wall time and CPU seconds a scan; every slice of every scan must be there."""
    started = time.perf_counter()
    results = list(pool.map(slice_one, paths))
    seconds = time.perf_counter() - started
    if {count for count, _ in results} != {slices}:
        raise RuntimeError(f"{[count for count, _ in results]} slices instead of {slices} each")
    return len(paths) / seconds, statistics.mean(cpu for _, cpu in results)


def measure(folder: Path, shape: tuple[int, int, int], files: int, rounds: int) -> dict[str, dict[str, float]]:
    """Median, slowest and fastest round for both kinds of file; the first round warms up."""
    kinds = {"gzip": "nii.gz", "plain": "nii"}
    paths = {kind: [folder / f"head-{number}.{suffix}" for number in range(files)] for kind, suffix in kinds.items()}
    for number in range(files):
        for kind in kinds:
            write_head(paths[kind][number], number, shape)
    rates: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        for counted in [False] + [True] * rounds:
            for kind in kinds:
                figures = one_round(pool, paths[kind], shape[2])
                if counted:
                    rates[kind].append(figures)
    return {
        kind: {
            "scans_a_second": round(statistics.median(rate for rate, _ in seen), 2),
            "slowest_round": round(min(seen)[0], 2),
            "fastest_round": round(max(seen)[0], 2),
            "cpu_seconds_a_scan": round(statistics.median(cpu for _, cpu in seen), 3),
        }
        for kind, seen in rates.items()
    }


def main() -> None:
    quick = "--quick" in sys.argv
    with tempfile.TemporaryDirectory() as place:
        measured = measure(Path(place), (64, 64, 20) if quick else SHAPE, 2 if quick else FILES, 1 if quick else ROUNDS)
    figures = {"machine": machine(), "voxels": SHAPE, "processes": WORKERS, "target_scans_a_second": TARGET, **measured}
    text = json.dumps(figures, indent=1)
    if not quick:
        (RESULTS / "slicing.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

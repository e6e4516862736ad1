"""How the speed benchmarks measure: works that take turns, medians, and what the machine is and can read.

Peers run one after the other in every round, so that a busy moment of the machine meets all of them, and the ratio
reported is the median of the rounds' own ratios.
"""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import transformers

RESULTS = Path(__file__).parent / "results"
LARGE = (16_384, 4096)
"""A float32 matrix of 268 MB, larger than any cache."""


def in_turn(works: Mapping[str, Callable[[], object]], rounds: int, *, warm_up: bool = True) -> dict[str, list[float]]:
    """Seconds of every work in every round; ``warm_up``: after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for counted in [False] * warm_up + [True] * rounds:
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if counted:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def compared(peer: list[float], ours: list[float], target: float | None = None) -> dict[str, float]:
    """Median seconds of both and how many times faster ours is, round by round; beside what was asked for."""
    ratios = [theirs / our for theirs, our in zip(peer, ours, strict=True)]
    figures = {
        "published_s": float(f"{statistics.median(peer):.4g}"),
        "ours_s": float(f"{statistics.median(ours):.4g}"),
        "times_faster": round(statistics.median(ratios), 3),
        "slowest_round": round(min(ratios), 3),
        "fastest_round": round(max(ratios), 3),
    }
    return figures if target is None else {**figures, "target": target}


def machine() -> dict[str, str | int]:
    """What the figures were measured on."""
    cpu = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    return {
        "cpu": cpu, "architecture": platform.machine(), "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__,
        "transformers": transformers.__version__, "precision": "float32",
    }  # fmt: skip


def read_bandwidth(rounds: int) -> dict[str, float]:
    """Bytes a second: a matrix-vector product in the faster of its two memory orders, and a plain sum."""
    rows = torch.randn(LARGE)
    columns = torch.randn(LARGE[::-1]).t()
    vector = torch.randn(LARGE[1])
    seconds = in_turn({"rows": lambda: rows @ vector, "columns": lambda: columns @ vector, "sum": rows.sum}, rounds)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    size = rows.numel() * rows.element_size()
    return {"product": size / min(medians["rows"], medians["columns"]), "sum": size / medians["sum"]}

"""Latency and memory of one model, measured in a process of its own."""

import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from healthgpt.inference.session import Session

SCRIPT = "from healthgpt.evaluation.cost import report; import sys; report(sys.argv[1], sys.argv[2])"
REPEATS = 5


def report(model: str, image: str) -> None:
    """Print median seconds of ask and generate and the peak resident memory in MiB; run in a fresh process."""
    started = time.perf_counter()
    session = Session.from_pretrained(model, device="cpu")
    load = time.perf_counter() - started
    asks = [session.ask(image, "What modality is this image?").seconds for _ in range(REPEATS)]
    draws = [session.generate("reconstruct", image).seconds for _ in range(REPEATS)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{load:.2f} {statistics.median(asks):.3f} {statistics.median(draws):.3f} {peak:.0f}")


def measure_cost(model: str, image: Path) -> dict[str, float]:
    """Seconds to load, to answer a short question and to draw one image; peak memory in MiB, on CPU."""
    output = subprocess.run(
        [sys.executable, "-c", SCRIPT, model, str(image)], check=True, capture_output=True, text=True
    ).stdout.split()
    names = ("load_seconds", "ask_seconds", "generate_seconds", "peak_memory_mib")
    return dict(zip(names, map(float, output), strict=True))

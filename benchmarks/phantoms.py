"""How many VL-Phantom cases a minute one core makes, by modality: median over batches, CPU time, 128 px.

.venv/bin/python benchmarks/phantoms.py        writes benchmarks/results/phantoms.json
"""

import json
import platform
import statistics
import time
from pathlib import Path

from healthgpt.data.sample_folder import CASE_MAKERS
from healthgpt.phantoms.case import SEED_RANGES

BATCHES, BATCH = 7, 20
RESULTS = Path(__file__).parent / "results" / "phantoms.json"


def cases_a_minute(modality: str) -> float:
    """Median over batches; CPU time, so that other work on the machine does not count."""
    make_case = CASE_MAKERS[modality]
    first = SEED_RANGES["validation"].start
    make_case(first)  # cached grids are made once
    rates = []
    for batch in range(BATCHES):
        started = time.process_time()
        for number in range(BATCH):
            make_case(first + 1 + batch * BATCH + number)
        rates.append(60 * BATCH / (time.process_time() - started))
    return statistics.median(rates)


def main() -> None:
    rates = {modality: round(cases_a_minute(modality)) for modality in CASE_MAKERS}
    figures = {"unit": "cases a minute a core (CPU time)", "size_px": 128, "machine": platform.machine(), **rates}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

"""Memory with both families resident beside one family alone: bytes of parameters, and of a process that holds them.

.venv/bin/python benchmarks/memory.py        writes benchmarks/results/memory.json

The mid-size model is built in a fresh process each time; for the real M3 in bfloat16 parameters are counted without
memory of their own. Reading and drawing keep tables apart, as the released weights do, which is the larger case.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import psutil
import torch
from random_model import MIDSIZE, random_model
from timing import RESULTS, machine

from healthgpt.model.build import FAMILIES
from healthgpt.model.memory_order import order_for_decoding
from healthgpt.tasks import Family
from healthgpt.variants import VARIANTS, Variant

TARGET = 1.2


def parameter_bytes(variant: Variant, families: Sequence[Family], precision: torch.dtype) -> int:
    """Of a model with these families, counted without allocating it."""
    with torch.device("meta"):
        model = random_model(variant, families)
    return sum(parameter.numel() for parameter in model.parameters()) * precision.itemsize


def resident_bytes(families: Sequence[Family]) -> int:
    """What this process grows by while it builds the mid-size model as a session holds it; for a fresh process."""
    process = psutil.Process()
    before = process.memory_info().rss
    model = random_model(MIDSIZE, families)
    order_for_decoding(model)
    return int(process.memory_info().rss) - before


def measured_apart(families: Sequence[Family]) -> int:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(resident_bytes, families).result()


def beside_one(sizes: dict[str, int]) -> dict[str, float]:
    """MB of each family alone and of both, and both over the larger and the smaller of the two."""
    alone = [sizes[family] for family in FAMILIES]
    return {
        **{f"{name}_mb": round(size / 1e6, 1) for name, size in sizes.items()},
        "both_over_larger": round(sizes["both"] / max(alone), 3),
        "both_over_smaller": round(sizes["both"] / min(alone), 3),
        "target": TARGET,
    }


def main() -> None:
    choices: dict[str, Sequence[Family]] = {**{family: (family,) for family in FAMILIES}, "both": FAMILIES}
    counted = {
        "mid-size, parameters, float32": (MIDSIZE, torch.float32),
        "M3, parameters, bfloat16": (VARIANTS["m3"], torch.bfloat16),
    }
    figures = {
        name: beside_one(
            {choice: parameter_bytes(variant, families, precision) for choice, families in choices.items()}
        )
        for name, (variant, precision) in counted.items()
    }
    resident = beside_one({choice: measured_apart(families) for choice, families in choices.items()})
    text = json.dumps({"machine": machine(), "mid-size, process": resident, **figures}, indent=1)
    (RESULTS / "memory.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

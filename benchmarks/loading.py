"""Peak memory of loading a model folder, beside the bytes of its weights.

.venv/bin/python benchmarks/loading.py        writes benchmarks/results/loading.json

The mid-size random model is saved once in bfloat16. A fresh process loads it as a session does (in the stored
precision, in float32, in 8 bits) and uses every weight once; what it grew by at its largest is compared with the bytes
the weights have in that form. Pages of mapped files are counted as if they were its own.
"""

import json
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import psutil
import torch
from random_model import MIDSIZE, random_model
from timing import RESULTS, machine

from healthgpt.backbone.quantise import check_quantisable
from healthgpt.model.build import layout_of, plugin_specs
from healthgpt.model.checkpoint import ModelConfig, load_model, save_model
from healthgpt.model.footprint import FORMS, held, stored_numbers
from healthgpt.model.memory_order import order_for_decoding
from healthgpt.vision.preprocess import Preprocessing

TARGET = 1.2
INTERVAL = 0.002
"""Seconds between two looks at the process."""


def save(folder: Path) -> None:
    """The mid-size model in bfloat16."""
    model = random_model(MIDSIZE)
    layout, squares = layout_of(MIDSIZE), Preprocessing(size=MIDSIZE.image_size)
    config = ModelConfig(
        name="midsize", variant="m3", template=MIDSIZE.template, text_size=layout.text_size,
        code_count=layout.code_count, grid=MIDSIZE.grid, context=MIDSIZE.context, hidden_size=MIDSIZE.hidden_size,
        grains=model.vision.hidden_states, preprocessing=squares, codec_preprocessing=squares, plugins=model.plugins,
        apart=("comprehension",), licence="none", provenance="random weights of a benchmark",
    )  # fmt: skip
    save_model(folder, model, config, plugin_specs(MIDSIZE), torch.bfloat16)


def peak_bytes(folder: Path, form: str) -> tuple[int, float]:
    """Growth of this process at its largest, and seconds; for a fresh process."""
    dtype, quantize = FORMS[form]
    if quantize:
        check_quantisable(quantize, torch.device("cpu"))  # the library itself is no part of the weights
    process = psutil.Process()
    before = largest = process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal largest
        while not done.wait(INTERVAL):
            largest = max(largest, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    model, _, _ = load_model(folder, dtype, quantize=quantize)
    order_for_decoding(model)
    for parameter in model.parameters():  # a mapped page counts when it is first used
        if type(parameter.data) is torch.Tensor:
            parameter.detach().flatten()[:: 4096 // parameter.element_size()].sum()
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    return max(largest, process.memory_info().rss) - before, seconds


def main() -> None:
    figures = {"machine": machine(), "model": "mid-size, stored in bfloat16", "target": TARGET}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        save(folder)
        numbers = stored_numbers(folder)
        for form in ("bfloat16", "float32", "int8"):
            weights = held(*numbers, *FORMS[form])
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                peak, seconds = pool.submit(peak_bytes, folder, form).result()
            figures[form] = {
                "weights_mb": round(weights / 1e6, 1),
                "peak_mb": round(peak / 1e6, 1),
                "peak_over_weights": round(peak / weights, 3),
                "seconds": round(seconds, 2),
            }
    text = json.dumps(figures, indent=1)
    if "--quick" not in sys.argv:
        (RESULTS / "loading.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

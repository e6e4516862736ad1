"""Epoch 2 of stage 1 beside epoch 1: what keeping the frozen tower's features on disk saves where the tower dominates.

.venv/bin/python benchmarks/cached_features.py            writes benchmarks/results/cached_features.json
.venv/bin/python benchmarks/cached_features.py --quick    few small images, printed only

A run of the engine itself (``healthgpt.training.run``) on random weights: M3's vision tower at its real size (ViT-L/14,
336 px) before a Phi-3-shaped language model of hidden size 512 with 8 blocks; the abstract adapter learns captions of
random images. Epoch 1 computes every image's features and keeps them, epoch 2 reads them.
"""

import argparse
import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from random_model import MIDSIZE, random_model
from timing import RESULTS, machine

from healthgpt.inference.session import model_folder
from healthgpt.model.build import plugin_specs
from healthgpt.model.checkpoint import ModelConfig, save_model
from healthgpt.record import Provenance, Record, write_records
from healthgpt.training.engine import Step
from healthgpt.training.recipe import Recipe
from healthgpt.training.run import train
from healthgpt.training.validation import Validation
from healthgpt.variants import VARIANTS, Variant
from healthgpt.vision.preprocess import Preprocessing

FASTER_AT_LEAST = 2.0
BATCH = 4
CAPTION = "A random image of the benchmark, described in some twenty words so that there is something to learn from it."


class Silent:
    """A watcher that tells nobody."""

    def doing(self, what: str, done: int, total: int) -> None: ...

    def trains(self, table: list[dict[str, str | int | float]]) -> None: ...

    def stepped(self, step: Step) -> None: ...

    def validated(self, step: int, validation: Validation, best: bool) -> None: ...

    def held_out(self, step: int, scores: Validation) -> None: ...

    def noted(self, text: str) -> None: ...


def write_model(folder: Path, variant: Variant) -> None:
    """Random weights with nano's tokenizer and template, as a model folder that reads only."""
    model = random_model(variant, ("comprehension",))
    tokenizer = model_folder("nano") / "tokenizer"
    (folder / "tokenizer").mkdir(parents=True)
    for file in tokenizer.iterdir():
        (folder / "tokenizer" / file.name).write_bytes(file.read_bytes())
    preprocessing = Preprocessing(size=variant.image_size)
    config = ModelConfig(
        name=variant.name, variant=variant.name, template="nano", text_size=variant.text_size,
        code_count=variant.code_count, grid=model.fusion.grid_rows.shape[0], context=variant.context,
        hidden_size=variant.hidden_size, grains=model.vision.hidden_states, preprocessing=preprocessing,
        codec_preprocessing=preprocessing, plugins=model.plugins, licence="none", provenance="random weights",
    )  # fmt: skip
    save_model(folder, model, config, plugin_specs(variant))


def write_images(folder: Path, count: int, side: int) -> None:
    """Random images with a caption each."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    records = []
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(folder / f"images/{number}.png")
        origin = Provenance(source="random", licence="none", original_id=str(number), group=str(number))
        records.append(
            Record(id=str(number), task="x-ray", instruction="Describe this image.", response=CAPTION, kind="report",
                   image=f"images/{number}.png", split="train", provenance=origin)
        )  # fmt: skip
    write_records(folder / "records.jsonl", records)


def measure(variant: Variant, images: int, epochs: int) -> dict[str, Any]:
    """Seconds of every epoch of one run; the first computes features, the others read them."""
    VARIANTS[variant.name] = variant
    with tempfile.TemporaryDirectory() as place:
        base, data, run = (Path(place) / name for name in ("base", "data", "run"))
        write_model(base, variant)
        write_images(data, images, variant.image_size)
        recipe = Recipe.model_validate(
            {
                "name": "cached-features", "variant": variant.name, "stage": "stage1-comprehension",
                "start": {"parts_of": str(base)}, "data": [{"folder": str(data)}],
                "optimisation": {"learning_rate": 1e-3, "global_batch": BATCH, "micro_batch": BATCH, "epochs": epochs},
                "hardware": {"precision": "fp32"}, "watch": {"trackers": [], "validate_every": 10**6},
            }
        )  # fmt: skip
        train(recipe, run, Silent(), cpu=True)
        ends = [json.loads(line)["seconds"] for line in (run / "journal.jsonl").read_text().splitlines()]
        kept = sum(path.stat().st_size for path in (data / "features").rglob("*.safetensors"))
    steps = images // BATCH
    seconds = [ends[(epoch + 1) * steps - 1] - (ends[epoch * steps - 1] if epoch else 0.0) for epoch in range(epochs)]
    return {
        "images": images, "bytes kept": kept, "seconds of epoch 1": round(seconds[0], 2),
        "seconds of later epochs": [round(value, 2) for value in seconds[1:]],
        "times faster": round(seconds[0] / statistics.median(seconds[1:]), 2), "target": FASTER_AT_LEAST,
    }  # fmt: skip


def main() -> None:
    """Measure and write or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    if parser.parse_args().quick:
        small = replace(MIDSIZE, image_size=112, vision_width=256, vision_layers=6, layers=2)
        print(json.dumps(measure(small, 8, 2), indent=2))
        return
    figures = {**measure(MIDSIZE, 12, 3), "machine": machine()}
    (RESULTS / "cached_features.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()

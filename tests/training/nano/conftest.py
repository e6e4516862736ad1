"""A whole run in miniature: 16 px pictures, a recipe of a few steps, parts done in this process."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tiny import SENTENCES, tiny_variant

from healthgpt.record import Provenance, Record, write_records
from healthgpt.training.nano.parts import PARTS
from healthgpt.training.nano.recipe import Recipe
from healthgpt.training.nano.workspace import Workspace
from healthgpt.variants import VARIANTS

STEPS = {"steps": 4, "batch": 4, "learning_rate": 1e-2, "warm_up": 1, "schedule": "constant"}


def tiny_recipe(**changes) -> Recipe:
    plan = {
        "name": "tiny", "variant": "tiny", "mlp_width": 48, "heads": 2, "turns": 3, "checkpoint_seconds": 1e-9,
        "data": {"cases": {"ct": 1}, "pairs": {}},
        "codec": STEPS | {"embed_dim": 4, "fold": 4, "widths": [8, 16], "encoder_blocks": [0, 1],
                          "decoder_blocks": [0, 1]},
        "tower": STEPS | {"seen": 0.5},
        "codec_colour": STEPS | {"colour": 1.0, "colour_share": 0.3, "unquantised": 1},
        "stage3_findings": STEPS | {"films": 6, "settle": 1, "wordless": 0.5},
        **dict.fromkeys(
            ("language", "teacher", "tower_deep", "stage1_comprehension", "stage1_generation", "stage2",
             "stage3_comprehension", "stage3_generation", "stage3_words"), STEPS,
        ),
    }  # fmt: skip
    return Recipe.model_validate(plan | changes)


def write_tiny_data(folder, count=12):
    """Blobs of different brightness with questions about them, and pairs that invert them."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    records = []
    for number in range(count):
        pixels = rng.integers(0, 256, (16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"images/{number}.png")
        Image.fromarray(255 - pixels).save(folder / f"images/{number}-inverse.png")
        origin = Provenance(source="vl-phantom", licence="none", original_id=str(number), group=str(number))
        shared = {"split": "train", "provenance": origin, "image": f"images/{number}.png"}
        answer = "yes" if pixels.mean() > 127 else "no"
        for row, (question, response, kind) in enumerate(
            [("is there a nodule", answer, "presence"), ("what modality is this image", "ct", "modality"),
             ("describe this image", SENTENCES[number % len(SENTENCES)], "report")]
        ):  # fmt: skip
            records.append(
                Record(id=f"{number}-{row}", task="ct", instruction=question, response=response, kind=kind, **shared)
            )
        for task, target in (("reconstruct", f"images/{number}.png"), ("ct-to-mri", f"images/{number}-inverse.png")):
            records.append(
                Record(id=f"{number}-{task}", task=task, instruction="turn this", target_image=target, **shared)
            )
        words = {key: value for key, value in shared.items() if key != "image"}
        records.append(
            Record(id=f"{number}-x", task="report-to-cxr", instruction="a large heart",
                   target_image=f"images/{number}.png", **words)
        )  # fmt: skip
    write_records(folder / "records.jsonl", records)


@pytest.fixture(scope="session")
def tiny_in_table():
    VARIANTS["tiny"] = replace(tiny_variant(), name="tiny")
    yield
    del VARIANTS["tiny"]


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, tiny_in_table) -> Workspace:
    """Every part of the tiny recipe, done in order."""
    workspace = Workspace(tmp_path_factory.mktemp("run"), tiny_recipe(), None)
    write_tiny_data(workspace.data)
    workspace.settle_recipe()
    for part in PARTS.values():
        part.run(workspace)
    return workspace

"""Drawing and reading beside the published inference path: same random weights, same greedy codes, times.

.venv/bin/python benchmarks/generation.py            writes benchmarks/results/generation.json
.venv/bin/python benchmarks/generation.py --quick    a few codes and rounds, printed only

From pixels to codes, or to the first word of an answer; reading files and painting codes cost both paths the same
and are left out. Exit code 1 when the codes differ.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from published_path import STOP_IDS, PublishedPath
from random_model import MIDSIZE, random_ask, random_model
from timing import RESULTS, compared, in_turn, machine, read_bandwidth

from healthgpt.inference.decode import Ask, decode
from healthgpt.model.healthgpt import HealthGPTModel
from healthgpt.model.memory_order import order_for_decoding
from healthgpt.variants import Variant

BATCH = 8
TARGETS = {"one image": 1.3, "an image in a batch of 8": 4.0, "first word of an answer": 1.15}


def measure(variant: Variant, codes: int, drawing_rounds: int, reading_rounds: int) -> dict[str, Any]:
    """All figures of one model size."""
    model = random_model(variant)
    published = {family: PublishedPath(model, family, variant) for family in model.plugins}
    order_for_decoding(model)  # as a session does on loading
    drawn = draw(model, published["generation"], variant, codes, drawing_rounds)
    return {
        "model": described(variant), "peer": "benchmarks/published_path.py", "machine": machine(),
        **drawn,
        "first word of an answer": read(model, published["comprehension"], variant, reading_rounds),
        "bound": bound(model, variant, codes, drawn["one code"]["ours_s"], drawing_rounds),
    }  # fmt: skip


def draw(model: HealthGPTModel, peer: PublishedPath, variant: Variant, codes: int, rounds: int) -> dict[str, Any]:
    """One image at a time and ``BATCH`` at once; round i draws image i, whose codes must be the same three times."""
    asks = [random_ask(variant, "generation", seed, codes) for seed in range(BATCH)]
    drawn: dict[str, list[list[int]]] = {"published": [], "ours": [], "batch": []}
    turn = {"published": 0, "ours": 0}

    def next_ask(path: str) -> Ask:
        turn[path] += 1
        return asks[(turn[path] - 1) % BATCH]

    works = {
        "published first": lambda: peer.generate(replace(asks[0], max_new_tokens=1)),
        "ours first": lambda: ours(model, [replace(asks[0], max_new_tokens=1)]),
        "published": lambda: drawn["published"].append(peer.generate(next_ask("published"))),
        "ours": lambda: drawn["ours"].extend(ours(model, [next_ask("ours")])),
        "batch": lambda: drawn["batch"].append(ours(model, asks)),
    }
    seconds = in_turn(works, rounds, warm_up=False)
    steps = codes - 1
    apart = {
        path: [(all_ - first) / steps for all_, first in zip(seconds[path], seconds[f"{path} first"], strict=True)]
        for path in ("published", "ours")
    }
    batch = drawn["batch"][0]
    pictures = [
        {"published": theirs, "ours": alone, "batch": batch[number % BATCH]}
        for number, (theirs, alone) in enumerate(zip(drawn["published"], drawn["ours"], strict=True))
    ]
    per_image = [all_ / BATCH for all_ in seconds["batch"]]
    return {
        "codes an image": codes,
        "images compared": len(pictures),
        "same codes": all(p["published"] == p["ours"] == p["batch"] for p in pictures),
        "codes before the first difference": min(agreement(list(p.values())) for p in pictures),
        "different codes in an image": [len(set(p["ours"])) for p in pictures],
        "one image": compared(seconds["published"], seconds["ours"], TARGETS["one image"]),
        "an image in a batch of 8": compared(seconds["published"], per_image, TARGETS["an image in a batch of 8"]),
        "first code": compared(seconds["published first"], seconds["ours first"]),
        "one code": compared(apart["published"], apart["ours"]),
    }


def ours(model: HealthGPTModel, asks: Sequence[Ask]) -> list[list[int]]:
    return [utterance.ids for utterance in decode(model, asks, frozenset(STOP_IDS))]


def agreement(rows: list[list[int]]) -> int:
    """How many ids all rows begin with alike."""
    together = list(zip(*rows, strict=True))
    return next((place for place, ids in enumerate(together) if len(set(ids)) > 1), len(together))


def read(model: HealthGPTModel, peer: PublishedPath, variant: Variant, rounds: int) -> dict[str, Any]:
    """From pixels and a question to the first word."""
    ask = random_ask(variant, "comprehension", 0, 1)
    words: dict[str, list[int]] = {}
    works = {
        "published": lambda: words.update(published=peer.generate(ask)),
        "ours": lambda: words.update(ours=ours(model, [ask])[0]),
    }
    seconds = in_turn(works, rounds)
    said = [word for word in words["published"] if word not in STOP_IDS]
    figures = compared(seconds["published"], seconds["ours"], TARGETS["first word of an answer"])
    return {**figures, "same word": said == words["ours"]}


def bound(model: HealthGPTModel, variant: Variant, codes: int, seconds: float, rounds: int) -> dict[str, float]:
    """How close one code is to reading every weight once, and keys and values once, at the machine's rate."""
    plugin = model.plugins["generation"]
    read_once = [
        tensor.numel() * tensor.element_size()
        for name, tensor in model.backbone.named_parameters()
        if ".adapters." not in name or f".adapters.{plugin}." in name
    ]
    number = model.fusion.image_head.element_size()
    weights = sum(read_once) + variant.code_count * variant.hidden_size * number
    positions = len(random_ask(variant, "generation", 0, codes).prompt) + codes / 2
    cache = 2 * variant.layers * variant.kv_heads * (variant.hidden_size // variant.heads) * positions * number
    rate = read_bandwidth(rounds)
    return {
        "weights_mb": round(weights / 1e6, 1),
        "keys_and_values_mb": round(cache / 1e6, 1),
        "read_gb_a_second_by_matrix_product": round(rate["product"] / 1e9, 2),
        "read_gb_a_second_by_sum": round(rate["sum"] / 1e9, 2),
        "bound_s": round(weights / rate["product"], 5),
        "fraction_reached": round(weights / rate["product"] / seconds, 3),
        "fraction_reached_keys_and_values_too": round((weights + cache) / rate["product"] / seconds, 3),
        "fraction_reached_by_rate_of_sum": round(weights / rate["sum"] / seconds, 3),
    }


def described(variant: Variant) -> str:
    return (
        f"random weights, Phi-3 structure, hidden {variant.hidden_size}, {variant.layers} blocks, "
        f"MLP {variant.mlp_size}, "
        f"{variant.text_size + variant.code_count + 3:,} ids, H-LoRA {variant.comprehension.rank} / "
        f"{variant.comprehension.experts} and {variant.generation.rank} / {variant.generation.experts}; vision "
        f"{variant.vision_layers} blocks of {variant.vision_width}, {variant.image_tokens} visual tokens"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="32 codes, 2 rounds; writes nothing")
    parser.add_argument("--codes", type=int, help=f"codes an image instead of {MIDSIZE.grid**2}")
    parser.add_argument("--rounds", type=int, help="rounds of drawing instead of 3")
    parser.add_argument("--threads", type=int, help="threads instead of torch's choice")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    codes = options.codes or (32 if options.quick else MIDSIZE.grid**2)
    rounds = options.rounds or (2 if options.quick else 3)
    figures = measure(MIDSIZE, codes, rounds, reading_rounds=2 if options.quick else 7)
    text = json.dumps(figures, indent=1)
    print(text)
    if not options.quick:
        (RESULTS / "generation.json").write_text(text + "\n", encoding="utf-8")
    if not figures["same codes"]:
        sys.exit("error: the two paths drew different codes, so their times do not compare")


if __name__ == "__main__":
    main()

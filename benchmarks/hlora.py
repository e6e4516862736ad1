"""One H-LoRA layer beside peft's LoRA of equal total rank: forward, and forward with backward.

.venv/bin/python benchmarks/hlora.py            writes benchmarks/results/hlora.json
.venv/bin/python benchmarks/hlora.py --quick    few rounds, printed only

A layer is a frozen linear layer with the plugin beside it, as it stands in a decoder block; gradients go to the
plugin and to the input, as training needs them.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import peft
import torch
from peft import LoraConfig
from peft.tuners.lora import Linear as PeftLinear
from random_model import MIDSIZE
from timing import RESULTS, compared, in_turn, machine
from torch import nn

from healthgpt.model.footprint import linear_layers
from healthgpt.plugins.attach import RoutedLinear
from healthgpt.plugins.hlora import HLoRA
from healthgpt.plugins.routing import Route, opened
from healthgpt.variants import VARIANTS, PluginSize

SLOWER_AT_MOST = 1.05
PASSES = {"forward": (1, 600), "forward and backward": (600,)}
"""Positions a pass: one code decoded, a whole prompt."""
ROUTE = Route((("plugin", None),))
WORK = 4e9
"""Multiplications a measurement, so that small layers are not timed one call at a time, but at most ``MOST`` times."""
MOST = 200
LAYERS = {
    **{f"mid-size {inner} -> {outer}": (inner, outer, MIDSIZE.generation) for inner, outer in linear_layers(MIDSIZE)},
    "M3 3072 -> 9216": (3072, 9216, VARIANTS["m3"].generation),
}


def hlora_layer(base: nn.Linear, size: PluginSize) -> Callable[[torch.Tensor], torch.Tensor]:
    layer = RoutedLinear(base)
    layer.adapters["plugin"] = HLoRA(base.in_features, base.out_features, size.rank, size.experts, size.alpha)
    return layer


def peft_layer(base: nn.Linear, size: PluginSize) -> Callable[[torch.Tensor], torch.Tensor]:
    config = LoraConfig(r=size.rank, lora_alpha=int(size.alpha), lora_dropout=0.0)
    return PeftLinear(base, "plugin", config=config, r=size.rank, lora_alpha=int(size.alpha))


def layer_figures(inner: int, outer: int, size: PluginSize, rounds: int) -> dict[str, Any]:
    """Times of one layer in every pass."""
    torch.manual_seed(0)
    base = nn.Linear(inner, outer, bias=False).requires_grad_(False)
    layers = {"published": peft_layer(base, size), "ours": hlora_layer(base, size)}
    figures = {}
    for kind, lengths in PASSES.items():
        for positions in lengths:
            x = torch.randn(1, positions, inner, requires_grad=True)
            products = positions * (inner * outer + size.rank * (inner + outer))
            times = min(MOST, max(1, int(WORK / rounds / products)))
            works = {
                name: _forward(layer, x, times) if kind == "forward" else _both_ways(layer, x, times)
                for name, layer in layers.items()
            }
            seconds = {name: [s / times for s in values] for name, values in in_turn(works, rounds).items()}
            figures[f"{kind}, {positions} positions"] = _beside_peft(seconds)
    return figures


def _beside_peft(seconds: dict[str, list[float]]) -> dict[str, float]:
    figures = compared(seconds["published"], seconds["ours"])
    return {
        "peft_us": round(figures["published_s"] * 1e6, 1),
        "ours_us": round(figures["ours_s"] * 1e6, 1),
        "ours_over_peft": round(1 / figures["times_faster"], 3),
        "target": SLOWER_AT_MOST,
    }


def together(layers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The mid-size layers one after the other, as a decoder block runs them: their medians added up."""
    block = [figures for name, figures in layers.items() if name.startswith("mid-size")]
    sums = {}
    for work in block[0]:
        theirs, ours = (round(sum(figures[work][key] for figures in block), 1) for key in ("peft_us", "ours_us"))
        sums[work] = {
            "peft_us": theirs, "ours_us": ours, "ours_over_peft": round(ours / theirs, 3), "target": SLOWER_AT_MOST,
        }  # fmt: skip
    return sums


def _forward(layer: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, times: int) -> Callable[[], None]:
    @torch.no_grad()
    def work() -> None:
        with opened(ROUTE):  # once, as a decoder block does for its layers
            for _ in range(times):
                layer(x)

    return work


def _both_ways(layer: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, times: int) -> Callable[[], None]:
    def work() -> None:
        with opened(ROUTE):
            for _ in range(times):
                layer(x).sum().backward()
                x.grad = None

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 rounds; writes nothing")
    options = parser.parse_args()
    rounds = 5 if options.quick else 31
    layers = {name: layer_figures(inner, outer, size, rounds) for name, (inner, outer, size) in LAYERS.items()}
    size = MIDSIZE.generation
    figures = {
        "machine": machine() | {"peft": peft.__version__},
        "plugin": f"H-LoRA of rank {size.rank} in {size.experts} experts, LoRA of rank {size.rank}",
        **layers,
        "mid-size layers together": together(layers),
    }
    text = json.dumps(figures, indent=1)
    print(text)
    if not options.quick:
        (RESULTS / "hlora.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

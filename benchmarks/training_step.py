"""One training step with H-LoRA beside peft's LoRA and MoELoRA of equal total rank: time and peak memory.

.venv/bin/python benchmarks/training_step.py            writes benchmarks/results/training_step.json
.venv/bin/python benchmarks/training_step.py --quick    few rounds of the shorter row, printed only

A step is forward, backward and AdamW on a plugin beside every linear layer of a random Phi-3 decoder: of the mid-size
one in float32 on the CPU and, where there is a CUDA GPU, of M3's in bfloat16. Gradients go to the plugin and to the
input, as adapters in front need them. The loss is taken from the last states: a head would be the same for all and only
hide in what they differ. All plugins stand beside the same frozen weights, and what dropout costs is left out.

MoELoRA's experts are looped over in two orders: as published (github.com/liuqidong07/MOELoRA-peft, and the 5k + 1
operations the H-LoRA paper counts) scale and router's weight come after B, on the layer's whole width; ours
(plugins/moelora.py) puts both before B, which is cheaper.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import peft
import torch
from live_bytes import LiveBytes
from peft import LoraConfig, inject_adapter_in_model
from random_model import MIDSIZE, WEIGHT_SPREAD, phi3_config
from timing import RESULTS, compared, in_turn, machine
from torch import nn
from transformers import Phi3Model

from healthgpt.plugins.attach import attach, make_routable
from healthgpt.plugins.hlora import HLoRA
from healthgpt.plugins.lora import LoRA
from healthgpt.plugins.moelora import MoELoRA
from healthgpt.plugins.routing import Route
from healthgpt.variants import VARIANTS, Variant

POSITIONS = (256, 512)
POSITIONS_ON_CUDA = 1024
THREADS = (1,)
"""As the published layer was measured."""
EXPERTS = (4, 32)
SLOWER_AT_MOST = {4: 1.02, 32: 1.03}
"""H-LoRA's time over that of peft's LoRA."""
FASTER_AT_LEAST = {4: 1.25, 32: 5.0}
"""Time of MoELoRA as published over H-LoRA's."""
LARGER_AT_MOST = 1.05
"""H-LoRA's peak memory over that of peft's LoRA."""
TABLE_10 = {
    "H-LoRA over LoRA": {"2": 0.99, "4": 1.00, "8": 0.99, "32": 1.01},
    "MoELoRA over LoRA": {"2": 1.22, "4": 1.49, "8": 2.09, "32": 5.81},
}
"""Training time by number of experts."""
LINEAR_LAYERS = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
STEPS_FOR_MEMORY = 2
"""From the second step on the optimiser's moments are there."""


class PublishedMoELoRA(MoELoRA):
    """The same sum with scale and router's weight after B."""

    def forward(self, x: torch.Tensor, onto: torch.Tensor) -> torch.Tensor:
        weights = self.lora_route(x).softmax(dim=-1)
        for expert, (down, up) in enumerate(zip(self.lora_A, self.lora_B, strict=True)):
            onto = onto + up(self.dropout(down(x))) * self.scale * weights[..., expert : expert + 1]
        return onto


PEFT, OUR_LORA, H_LORA, LOOP, OUR_LOOP = "peft LoRA", "our LoRA", "H-LoRA", "MoELoRA", "our MoELoRA"
ROUTED = {H_LORA: HLoRA, LOOP: PublishedMoELoRA, OUR_LOOP: MoELoRA}
Choice = tuple[str, int]
"""Kind and number of experts."""
CHOICES: tuple[Choice, ...] = ((PEFT, 1), (OUR_LORA, 1), *((kind, experts) for experts in EXPERTS for kind in ROUTED))


def random_decoder(variant: Variant, dtype: torch.dtype, device: str) -> Phi3Model:
    """Frozen blocks without a table; the same weights each time."""
    torch.manual_seed(0)
    with torch.device(device):
        backbone = Phi3Model(phi3_config(variant, "sdpa", vocabulary=1)).to(dtype)
    backbone.set_input_embeddings(nn.Identity())
    return backbone.requires_grad_(False).train()


def beside(frozen: Phi3Model, variant: Variant) -> Phi3Model:
    """Another decoder on the same memory, for another plugin."""
    weight = next(frozen.parameters())
    backbone = random_decoder(variant, weight.dtype, "meta")
    backbone.load_state_dict(frozen.state_dict(), assign=True)
    backbone.rotary_emb = frozen.rotary_emb
    return backbone.requires_grad_(False)


def with_plugin(backbone: Phi3Model, choice: Choice, rank: int) -> tuple[list[nn.Parameter], dict[str, Any]]:
    """Put a plugin beside every linear layer; returns its parameters and what the decoder's call takes for it."""
    kind, experts = choice
    torch.manual_seed(1)
    call: dict[str, Any] = {}
    if kind == PEFT:
        config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=LINEAR_LAYERS)
        inject_adapter_in_model(config, backbone)
    else:

        def adapter(inner: int, outer: int) -> nn.Module:
            if kind == OUR_LORA:
                return LoRA(inner, outer, rank, 2 * rank)
            return ROUTED[kind](inner, outer, rank, experts, 2 * rank)

        make_routable(backbone)
        attach(backbone, "plugin", adapter)
        call = {"plugin_route": Route((("plugin", None),))}
    chosen = {name: parameter for name, parameter in backbone.named_parameters() if ".lora_" in name}
    for name, parameter in chosen.items():
        parameter.data = parameter.data.to(next(backbone.parameters()).dtype)  # peft keeps its own in 32 bits
        if "lora_B" in name:
            nn.init.normal_(parameter, std=WEIGHT_SPREAD)  # as after some steps: at zero nothing would reach A
        parameter.requires_grad_(True)
    return list(chosen.values()), call


def training_step(backbone: Phi3Model, choice: Choice, rank: int, positions: int) -> Callable[[], None]:
    """One whole step on random states, always the same."""
    parameters, call = with_plugin(backbone, choice, rank)
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0)
    weight = next(backbone.parameters())
    x = torch.randn(1, positions, backbone.config.hidden_size, device=weight.device, dtype=weight.dtype)
    x.requires_grad_(True)

    def step() -> None:
        backbone(inputs_embeds=x, use_cache=False, **call).last_hidden_state.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        x.grad = None
        if weight.is_cuda:
            torch.cuda.synchronize()

    return step


def step_times(frozen: Phi3Model, variant: Variant, rank: int, positions: int, rounds: int) -> dict[str, Any]:
    """Median seconds of every choice, taking turns, and the ratios that were asked for, round by round."""
    works = {
        _name(choice): training_step(beside(frozen, variant), choice, rank, positions) for choice in CHOICES
    }  # fmt: skip
    seconds = in_turn(works, rounds)
    medians = {name: float(f"{statistics.median(values):.4g}") for name, values in seconds.items()}
    return {"seconds": medians, **{f"{experts} experts": _ratios(seconds, experts) for experts in EXPERTS}}


def _name(choice: Choice) -> str:
    kind, experts = choice
    return f"{kind}, {experts} experts" if kind in ROUTED else kind


def _ratios(seconds: dict[str, list[float]], experts: int) -> dict[str, float]:
    def over(one: str, other: str) -> float:
        first, second = (seconds[_name((kind, experts))] for kind in (one, other))
        return compared(first, second)["times_faster"]

    return {
        "H-LoRA over peft LoRA": over(H_LORA, PEFT),
        "at most": SLOWER_AT_MOST[experts],
        "MoELoRA over H-LoRA": over(LOOP, H_LORA),
        "at least": FASTER_AT_LEAST[experts],
        "our MoELoRA over H-LoRA": over(OUR_LOOP, H_LORA),
        "H-LoRA over our LoRA": over(H_LORA, OUR_LORA),
        "MoELoRA over peft LoRA": over(LOOP, PEFT),
    }


def peak_bytes(variant: Variant, choice: Choice, rank: int, positions: int) -> int:
    """Of all tensors together, from the frozen weights to the second step, on the CPU."""
    with LiveBytes() as counter:
        step = training_step(random_decoder(variant, torch.float32, "cpu"), choice, rank, positions)
        for _ in range(STEPS_FOR_MEMORY):
            step()
    return counter.most


def peak_bytes_on_cuda(variant: Variant, choice: Choice, rank: int, positions: int) -> int:
    """What PyTorch's allocator gave out at most on the GPU, frozen weights included."""
    torch.cuda.empty_cache()
    step = training_step(random_decoder(variant, torch.bfloat16, "cuda"), choice, rank, positions)
    torch.cuda.reset_peak_memory_stats()
    for _ in range(STEPS_FOR_MEMORY):
        step()
    return torch.cuda.max_memory_allocated()


def memory_figures(peaks: dict[Choice, int]) -> dict[str, Any]:
    """MB of every choice, and H-LoRA's over that of peft's LoRA."""
    figures: dict[str, Any] = {"mb": {_name(choice): round(size / 1e6, 1) for choice, size in peaks.items()}}
    for experts in EXPERTS:
        ratio = round(peaks[H_LORA, experts] / peaks[PEFT, 1], 3)
        figures[f"{experts} experts"] = {"H-LoRA over peft LoRA": ratio, "at most": LARGER_AT_MOST}
    return figures


def on_cpu(variant: Variant, rank: int, positions: int, rounds: int, threads: Sequence[int]) -> dict[str, Any]:
    """Times with each number of threads, and peak memory."""
    figures: dict[str, Any] = {}
    frozen, usual = random_decoder(variant, torch.float32, "cpu"), torch.get_num_threads()
    for count in threads:
        torch.set_num_threads(count)
        figures[f"threads: {count}"] = step_times(frozen, variant, rank, positions, rounds)
    torch.set_num_threads(usual)
    peaks = {choice: peak_bytes(variant, choice, rank, positions) for choice in CHOICES}
    return {**figures, "peak memory": memory_figures(peaks)}


def on_cuda(variant: Variant, rank: int, positions: int, rounds: int) -> dict[str, Any]:
    """The same on one CUDA GPU in bfloat16."""
    figures = step_times(random_decoder(variant, torch.bfloat16, "cuda"), variant, rank, positions, rounds)
    peaks = {choice: peak_bytes_on_cuda(variant, choice, rank, positions) for choice in CHOICES}
    return {"gpu": torch.cuda.get_device_name(), **figures, "peak memory": memory_figures(peaks)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds of the shorter row; writes nothing")
    options = parser.parse_args()
    rounds, m3 = 3 if options.quick else 9, VARIANTS["m3"]
    rank = m3.comprehension.rank
    figures: dict[str, Any] = {
        "machine": machine() | {"peft": peft.__version__},
        "step": f"forward, backward, AdamW; total rank {rank}; medians of {rounds} rounds",
    }
    for positions in POSITIONS[:1] if options.quick else POSITIONS:
        figures[f"mid-size, float32, {positions} positions"] = on_cpu(MIDSIZE, rank, positions, rounds, THREADS)
    figures[f"M3, bfloat16, {POSITIONS_ON_CUDA} positions"] = (
        on_cuda(m3, rank, POSITIONS_ON_CUDA, rounds) if torch.cuda.is_available() else "not measured: no CUDA GPU"
    )
    figures["published, table 10"] = TABLE_10
    text = json.dumps(figures, indent=1)
    print(text)
    if not options.quick:
        (RESULTS / "training_step.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

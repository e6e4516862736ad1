"""Laws every adapter obeys, and agreement of H-LoRA with the published layer's outputs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from healthgpt.plugins.hlora import HLoRA
from healthgpt.plugins.lora import LoRA
from healthgpt.plugins.moelora import MoELoRA

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "golden"


def adapters():
    torch.manual_seed(0)
    return [LoRA(12, 20, 8, 16.0), MoELoRA(12, 20, 8, 4, 16.0), HLoRA(12, 20, 8, 4, 16.0)]


@pytest.mark.parametrize("adapter", adapters(), ids=lambda a: type(a).__name__)
def test_untrained_adapter_changes_nothing(adapter):
    output = torch.randn(2, 3, 20)
    assert torch.equal(adapter(torch.randn(2, 3, 12), output), output)


def test_moelora_with_the_same_experts_equals_hlora():
    torch.manual_seed(1)
    merged, looped = HLoRA(12, 20, 8, 4, 16.0), MoELoRA(12, 20, 8, 4, 16.0)
    torch.nn.init.normal_(merged.lora_B.weight)
    looped.lora_route.weight.data = merged.lora_route.weight.data
    for expert in range(4):
        rows = slice(2 * expert, 2 * expert + 2)
        looped.lora_A[expert].weight.data = merged.lora_A.weight.data[rows]
        looped.lora_B[expert].weight.data = merged.lora_B.weight.data[:, rows]
    x, output = torch.randn(5, 7, 12), torch.randn(5, 7, 20)
    torch.testing.assert_close(merged(x, output), looped(x, output))
    assert not torch.allclose(merged(x, output), output)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_hlora_is_the_papers_equations(dtype):
    torch.manual_seed(2)
    layer = HLoRA(12, 20, 8, 4, 16.0).to(dtype)
    torch.nn.init.normal_(layer.lora_B.weight)
    x, output = torch.randn(5, 7, 12, dtype=dtype), torch.randn(5, 7, 20, dtype=dtype)
    expanded = layer.lora_route(x).softmax(-1).repeat_interleave(2, -1)
    low = layer.lora_A(x) * expanded
    expected = output + 16.0 * 4 / 8 * (low.float() @ layer.lora_B.weight.T.float())
    torch.testing.assert_close(layer(x, output), expected.to(dtype))


def test_decoding_first_leaves_hlora_trainable():
    layer = HLoRA(12, 20, 15, 5, 15.0)  # a size no other test has: nothing of it is kept from before
    with torch.inference_mode():
        layer(torch.randn(1, 1, 12), torch.randn(1, 1, 20))
    torch.nn.init.normal_(layer.lora_B.weight)
    layer(torch.randn(2, 3, 12), torch.randn(2, 3, 20)).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in layer.parameters())


@pytest.mark.parametrize("kind", [HLoRA, MoELoRA])
def test_rank_must_divide_into_experts(kind):
    with pytest.raises(ValueError, match="not a multiple"):
        kind(4, 4, 6, 4, 1.0)


def test_hlora_agrees_with_the_published_layer():
    if not GOLDEN.is_dir():
        pytest.skip("the golden outputs (shared/golden) are not beside this checkout")
    arrays = np.load(GOLDEN / "hlora_linear.npz")
    cases = json.loads((GOLDEN / "hlora_linear.json").read_text())
    assert len(cases) == 6
    for meta in cases:
        name = meta["case"]
        rank = arrays[f"{name}.A"].shape[0]
        experts = arrays[f"{name}.route"].shape[0]
        layer = HLoRA(arrays[f"{name}.A"].shape[1], arrays[f"{name}.B"].shape[0], rank, experts, meta["alpha"])
        layer.lora_A.weight.data = torch.from_numpy(arrays[f"{name}.A"])
        layer.lora_B.weight.data = torch.from_numpy(arrays[f"{name}.B"])
        layer.lora_route.weight.data = torch.from_numpy(arrays[f"{name}.route"])
        x = torch.from_numpy(arrays[f"{name}.x"]).requires_grad_()
        bias = torch.from_numpy(arrays[f"{name}.bias"]) if f"{name}.bias" in arrays.files else None
        y = layer(x, torch.nn.functional.linear(x, torch.from_numpy(arrays[f"{name}.W"]), bias))
        y.backward(torch.from_numpy(arrays[f"{name}.grad_y"]))
        for ours, key in (
            (y.detach(), "y"), (x.grad, "grad_x"), (layer.lora_A.weight.grad, "grad_A"),
            (layer.lora_B.weight.grad, "grad_B"), (layer.lora_route.weight.grad, "grad_route"),
        ):  # fmt: skip
            theirs = torch.from_numpy(arrays[f"{name}.{key}"])
            scale = theirs.abs().max().clamp_min(1e-6)
            assert float(((ours - theirs).abs() / scale).max()) < 1e-5, (name, key)

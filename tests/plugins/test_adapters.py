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


def told_plainly(layer, x, output):
    """H-LoRA's sum by operations that autograd knows."""
    expanded = layer.lora_route(x).softmax(-1).repeat_interleave(2, -1)
    return output + layer.scale * ((layer.lora_A(x) * expanded) @ layer.lora_B.weight.T)


@pytest.mark.parametrize("frozen", [(), ("lora_A",), ("lora_B",), ("lora_A", "lora_route"), ("x", "lora_A")])
def test_gradients_of_hlora_are_those_of_the_plain_sum(frozen):
    torch.manual_seed(3)
    layer = HLoRA(12, 20, 8, 4, 16.0).double()
    torch.nn.init.normal_(layer.lora_B.weight)
    x, output = torch.randn(5, 7, 12).double(), torch.randn(5, 7, 20).double()
    given = torch.randn(5, 7, 20).double()
    leaves = {"x": x, "output": output, **{name.split(".")[0]: p for name, p in layer.named_parameters()}}
    learning = {name: leaf.requires_grad_(name not in frozen) for name, leaf in leaves.items() if name not in frozen}
    for name in frozen:
        leaves[name].requires_grad_(False)
    ours, plain = (
        torch.autograd.grad(told(x, output), list(learning.values()), given)
        for told in (layer, lambda x, output: told_plainly(layer, x, output))
    )
    for name, one, other in zip(learning, ours, plain, strict=True):
        torch.testing.assert_close(one, other, msg=name)


def test_dropout_of_hlora_acts_on_the_way_back_as_on_the_way_there():
    torch.manual_seed(4)
    layer = HLoRA(12, 20, 8, 4, 16.0, dropout=0.5).double()
    torch.nn.init.normal_(layer.lora_B.weight)
    x = torch.randn(3, 12, dtype=torch.double, requires_grad=True)

    def told(x):
        torch.manual_seed(5)
        return layer(x, torch.zeros(3, 20, dtype=torch.double))

    assert torch.autograd.gradcheck(told, x)
    kept = told(x).detach()
    layer.eval()
    assert not torch.allclose(kept, told(x))
    many = HLoRA(12, 20, 8, 4, 16.0, dropout=0.25)
    torch.nn.init.normal_(many.lora_B.weight)
    row, nothing = torch.randn(1, 12).expand(20_000, 12), torch.zeros(20_000, 20)
    mean = many(row, nothing).mean(0)
    torch.testing.assert_close(mean, many.eval()(row[:1], nothing[:1])[0], rtol=0.1, atol=0.3)


def test_hlora_under_autocast_keeps_gradients_in_32_bits():
    torch.manual_seed(6)
    layer = HLoRA(12, 20, 8, 4, 16.0)
    torch.nn.init.normal_(layer.lora_B.weight)
    x, output = torch.randn(3, 12, requires_grad=True), torch.randn(3, 20)
    with torch.autocast("cpu", torch.bfloat16):
        told = layer(x, output)
    assert told.dtype == torch.bfloat16
    torch.testing.assert_close(told.float(), layer(x, output), rtol=0.05, atol=0.2)
    told.float().sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in layer.parameters())
    assert x.grad.dtype == torch.float32


@pytest.mark.parametrize("experts", [4, 32])
def test_training_keeps_no_more_of_a_position_than_lora_and_its_router(experts):
    def kept(layer):
        saved = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: saved.setdefault(tensor.untyped_storage().data_ptr(), tensor), lambda tensor: tensor
        ):
            told = layer(x, torch.randn(200, 20))
        assert told.requires_grad
        own = {parameter.untyped_storage().data_ptr() for parameter in layer.parameters()}
        return sum(tensor.untyped_storage().nbytes() for place, tensor in saved.items() if place not in own)

    x = torch.randn(200, 12, requires_grad=True)
    assert kept(HLoRA(12, 20, 64, experts, 128.0)) == kept(LoRA(12, 20, 64, 128.0)) + 4 * 200 * experts


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

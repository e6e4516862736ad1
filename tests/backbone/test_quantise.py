"""Quantised linear layers: close to what they were, trained beside, and what cannot be quantised refused by name."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import save_tiny, tiny_model
from torch import nn

from healthgpt.backbone import quantise as module
from healthgpt.backbone.quantise import BYTES, check_quantisable, dequantised, quantise
from healthgpt.data.collate import right_padded
from healthgpt.errors import InputError, ModelError
from healthgpt.inference.session import Session
from healthgpt.plugins.attach import routed_layers
from healthgpt.request import ASK, Request
from healthgpt.training.objective import ResponseLoss
from healthgpt.training.parameters import train_only
from healthgpt.vision.preprocess import Preprocessing

CPU = torch.device("cpu")
APART = {"int8": 0.02, "int4": 0.15}
"""How far a layer's output may be from the float one, as a part of its length."""


class Layer(nn.Module):
    """A place whose ``base`` is quantised."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base


@pytest.mark.parametrize("kind", list(BYTES))
@pytest.mark.parametrize("way", ["cpu", "cuda"])
def test_a_layer_stays_close_and_becomes_small(kind, way):
    if way == "cuda":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed here")
    torch.manual_seed(0)
    layer = Layer(nn.Linear(256, 96))
    x = torch.randn(2, 5, 256)
    expected = layer.base(x).detach()
    # bitsandbytes also runs on a CPU, which is how its way is tried without a GPU
    quantise([layer], kind, torch.bfloat16, torch.device(way))
    layer.to(CPU)
    with torch.inference_mode():
        found = layer.base(x.bfloat16()).float()
    assert (found - expected).norm() < APART[kind] * expected.norm()
    assert not any(parameter.requires_grad for parameter in layer.parameters())


@pytest.mark.parametrize("kind", list(BYTES))
def test_a_quantised_model_keeps_what_was_trained_and_mixes_families(kind, tmp_path):
    picture = tmp_path / "ramp.png"
    Image.fromarray(np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (64, 1))).save(picture)
    save_tiny(tmp_path / "model", mlp_size=64)
    plain = Session.from_pretrained(tmp_path / "model", device="cpu", dtype="bfloat16")
    small = Session.from_pretrained(tmp_path / "model", device="cpu", quantize=kind)
    kept = dict(plain.model.named_parameters())
    for name, tensor in small.model.named_parameters():
        if ".base." in name:
            assert type(tensor.data) is not torch.Tensor, f"{name} was left as it was"
        else:
            assert tensor.dtype == torch.bfloat16, name
            assert torch.equal(tensor, kept[name]), name
    requests = [Request(ASK, picture, "what modality is this image"), Request("reconstruct", picture)]
    apart = [small.run([request], max_new_tokens=6)[0] for request in requests]
    answer, drawing = small.run(requests, max_new_tokens=6)
    assert answer.token_ids == apart[0].token_ids
    assert drawing.codes == apart[1].codes


@pytest.mark.parametrize("kind", list(BYTES))
@pytest.mark.parametrize("bias", [True, False])
def test_a_gradient_reaches_the_input_alone_and_keeps_no_weight_in_full(kind, bias):
    torch.manual_seed(0)
    layer, x, kept = Layer(nn.Linear(64, 96, bias=bias)), torch.randn(2, 5, 64, requires_grad=True), []
    quantise([layer], kind, torch.float32, CPU)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda t: t):
        output = layer.base(x)
    torch.testing.assert_close(output, nn.functional.linear(x, dequantised(layer.base.weight), layer.base.bias))
    weights = torch.randn_like(output)
    (output * weights).sum().backward()
    torch.testing.assert_close(x.grad, weights @ dequantised(layer.base.weight), atol=1e-5, rtol=1e-5)
    assert max(kept, default=0) < layer.base.weight.numel()
    assert all(parameter.grad is None for parameter in layer.parameters())


@pytest.mark.parametrize("kind", list(BYTES))
def test_what_comes_in_another_precision_leaves_in_it(kind):
    layer = Layer(nn.Linear(64, 96))
    quantise([layer], kind, torch.bfloat16, CPU)
    x = torch.randn(2, 64, requires_grad=True)
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output = layer.base(x)
        assert output.dtype == torch.float32
        (gradient,) = torch.autograd.grad(output.sum(), x)
        expected = dequantised(layer.base.weight).sum(0).expand(2, -1)
        torch.testing.assert_close(gradient, expected, atol=1e-2, rtol=1e-2)


def quantised_tiny(kind):
    """A model with a quantised backbone whose plugins are to be trained, the same with plain layers, and a batch."""
    model, builder, variant = tiny_model(mlp_size=64)
    layers = [layer for _, layer in routed_layers(model.backbone)]
    plain = deepcopy(model)
    quantise(layers, kind, torch.float32, CPU)
    for layer, (_, stand_in) in zip(layers, routed_layers(plain.backbone), strict=True):
        stand_in.base.weight.data = dequantised(layer.base.weight)
    prompts = [
        builder.reading([("is there a nodule in the left lung", "no")], has_image=False),
        builder.drawing("a large heart", has_image=False, codes=[5, 6, 7, 8]),
    ]
    batch = right_padded(prompts, ["x-ray", "report-to-cxr"], [None, None], Preprocessing(size=variant.image_size))
    for one in (model, plain):
        train_only(one, ("comprehension plugin", "generation plugin"))
    return model, plain, batch


@pytest.mark.parametrize("kind", list(BYTES))
@pytest.mark.parametrize("checkpointing", [False, True])
def test_plugins_beside_quantised_layers_get_the_gradients_of_what_those_stand_for(kind, checkpointing):
    model, plain, batch = quantised_tiny(kind)
    for one in (model, plain):
        one.train()
        if checkpointing:
            one.backbone.activation_checkpointing_enable()
        ResponseLoss(one)(batch).sum().backward()
    expected = {name: p.grad for name, p in plain.named_parameters() if p.requires_grad}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, expected.pop(name), atol=1e-4, rtol=1e-4)
        else:
            assert parameter.grad is None
    assert not expected


@pytest.mark.parametrize("kind", list(BYTES))
def test_steps_lower_the_loss_and_change_plugins_only(kind):
    model, _, batch = quantised_tiny(kind)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    before = {name: _numbers(parameter).clone() for name, parameter in model.named_parameters()}
    loss, losses = ResponseLoss(model), []
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(6):
        optimiser.zero_grad()
        total = loss(batch).sum()
        total.backward()
        optimiser.step()
        losses.append(total.item())
    assert losses[-1] < 0.9 * losses[0]
    changed = {name for name, p in model.named_parameters() if not torch.equal(_numbers(p), before[name])}
    assert changed == trained


def _numbers(parameter):
    return parameter.data if type(parameter.data) is torch.Tensor else dequantised(parameter.data)


def test_what_does_not_divide_is_refused(tmp_path):
    save_tiny(tmp_path)  # its MLP is 48 wide
    with pytest.raises(ModelError, match=r"cannot be held in 4 bits; found 48 inputs; allowed: a multiple of 32"):
        Session.from_pretrained(tmp_path, device="cpu", quantize="int4")


def test_bad_words(monkeypatch):
    check_quantisable(None, CPU)
    with pytest.raises(InputError, match=r"--quantize is not known; found int3; allowed: int8, int4"):
        check_quantisable("int3", CPU)
    with pytest.raises(InputError, match="--quantize does not work on mps"):
        check_quantisable("int8", torch.device("mps"))
    monkeypatch.setitem(module.LIBRARY, "cpu", "no_such_library")
    with pytest.raises(InputError, match=r"needs no_such_library.*pip install 'healthgpt\[quantize\]'"):
        check_quantisable("int8", CPU)

"""Quantised linear layers: close to what they were, what is trained left alone, what cannot be is refused by name."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import save_tiny
from torch import nn

from healthgpt.backbone import quantise as module
from healthgpt.backbone.quantise import BYTES, check_quantisable, quantise
from healthgpt.errors import InputError, ModelError
from healthgpt.inference.session import Session
from healthgpt.request import ASK, Request

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

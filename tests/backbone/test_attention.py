"""Attention in blocks of queries is the library's causal attention, forwards and backwards."""

import pytest
import torch
from transformers import LlamaConfig, LlamaModel

from healthgpt.backbone.attention import attend_for_training, causal_blocks


def backbone(kv_heads):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=kv_heads, max_position_embeddings=64,
    )  # fmt: skip
    return LlamaModel(config)


def run(model, embedded):
    leaf = embedded.clone().requires_grad_()
    output = model(inputs_embeds=leaf, use_cache=False).last_hidden_state
    output.square().sum().backward()
    return output.detach(), leaf.grad


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("positions", [1, 3, 8, 37])
def test_blocks_equal_the_librarys_attention(kv_heads, positions):
    model = backbone(kv_heads)
    embedded = torch.randn(2, positions, 32)
    model.set_attn_implementation("eager")
    expected = run(model, embedded)
    attend_for_training(model, "cpu")
    assert model.config._attn_implementation == "causal_blocks"
    for ours, theirs in zip(run(model, embedded), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


def test_a_mask_or_a_cache_is_refused():
    states = torch.randn(1, 2, 5, 4)
    with pytest.raises(ValueError, match="whole rows"):
        causal_blocks(torch.nn.Identity(), states, states, states, torch.ones(1, 1, 5, 5), 0.5)
    with pytest.raises(ValueError, match="whole rows"):
        causal_blocks(torch.nn.Identity(), states[:, :, -1:], states, states, None, 0.5)

"""Attention for training is the library's, forwards and backwards: in blocks, by segments, with masks and caches."""

import pytest
import torch
from transformers import LlamaConfig, LlamaModel

from healthgpt.backbone.attention import attend_for_training, causal_blocks, causal_segments


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


@pytest.mark.parametrize("device", ["cpu", "cuda"])  # chooses a way; both run on a CPU
@torch.no_grad()
def test_a_model_in_training_attends_to_masked_and_cached_rows_as_before(device):
    model = backbone(2).eval()
    embedded, mask = torch.randn(2, 9, 32), torch.ones(2, 9, dtype=torch.long)
    mask[0, :4] = 0
    positions = (mask.cumsum(1) - 1).clamp_min(0)

    def in_two_steps():
        first = model(inputs_embeds=embedded[:, :8], attention_mask=mask[:, :8], position_ids=positions[:, :8])
        last = model(
            inputs_embeds=embedded[:, 8:], attention_mask=mask, position_ids=positions[:, 8:], cache=first.cache
        )
        return torch.cat([first.last_hidden_state, last.last_hidden_state], dim=1)[mask.bool()]

    model.set_attn_implementation("sdpa")
    expected = in_two_steps()
    attend_for_training(model, device)
    torch.testing.assert_close(in_two_steps(), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@torch.no_grad()
def test_segments_see_only_themselves_and_positions_that_restart_need_them(device):
    model = backbone(2)
    attend_for_training(model, device)
    embedded = torch.randn(1, 9, 32)
    positions = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 0, 0]])
    packed = model(inputs_embeds=embedded, position_ids=positions, segment_lengths=((4, 3, 1),)).last_hidden_state
    for start, end in ((0, 4), (4, 7), (7, 8)):
        alone = model(inputs_embeds=embedded[:, start:end]).last_hidden_state
        torch.testing.assert_close(packed[:, start:end], alone, atol=2e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="no segment_lengths say where"):
        model(inputs_embeds=embedded, position_ids=positions, use_cache=False)


def test_segments_take_no_cache():
    states = torch.randn(1, 2, 5, 4)
    with pytest.raises(ValueError, match="without a cache"):
        causal_segments(torch.nn.Identity(), states[:, :, -1:], states, states, 0.5, ((1,),))

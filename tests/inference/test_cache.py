"""The roomy cache gives what the library's growing one gives, refuses to overflow, and leaves full windows alone."""

import pytest
import torch
from tiny import tiny_model
from transformers import DynamicCache, Phi3Config, Phi3Model
from transformers.cache_utils import DynamicSlidingWindowLayer

from healthgpt.inference.cache import RoomyLayer, roomy_cache


def test_same_states_as_the_growing_cache_through_selection():
    model, _, variant = tiny_model()
    roomy, growing = roomy_cache(model.language_config, 12), DynamicCache(config=model.language_config)
    x = torch.randn(3, 9, variant.hidden_size)
    tasks = ["ct", "ct-to-mri", "mri"]
    for cache in (roomy, growing):
        model.hidden(x[:, :5], tasks, cache=cache)
        cache.batch_select_indices(torch.tensor([0, 2]))
    for step in range(5, 9):
        outputs = [
            model.hidden(x[[0, 2], step : step + 1], ["ct", "mri"], cache=cache, positions_BT=torch.full((2, 1), step))
            for cache in (roomy, growing)
        ]
        torch.testing.assert_close(*outputs, atol=1e-6, rtol=1e-6)
    assert roomy.get_seq_length() == growing.get_seq_length() == 9


def test_more_than_its_capacity_is_refused():
    layer = RoomyLayer(4)
    layer.update(torch.zeros(1, 1, 3, 2), torch.zeros(1, 1, 3, 2))
    with pytest.raises(ValueError, match="4 positions cannot hold 5"):
        layer.update(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize(("capacity", "kind"), [(8, RoomyLayer), (9, DynamicSlidingWindowLayer)])
def test_a_sliding_window_is_roomy_while_nothing_leaves_it(capacity, kind):
    cache = roomy_cache(Phi3Config(sliding_window=8, num_hidden_layers=2, pad_token_id=0), capacity)
    assert [type(layer) for layer in cache.layers] == [kind, kind]


def test_same_states_as_the_sliding_cache_up_to_its_window():
    torch.manual_seed(0)
    config = Phi3Config(
        vocab_size=8, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, pad_token_id=0,
        num_key_value_heads=2, sliding_window=8, attn_implementation="sdpa",
    )  # fmt: skip
    backbone = Phi3Model(config).eval()
    x = torch.randn(2, 8, 16)
    outputs = []
    for cache in (roomy_cache(config, 8), DynamicCache(config=config)):
        with torch.no_grad():
            steps = [backbone(inputs_embeds=x[:, :5], cache=cache, use_cache=True).last_hidden_state]
            for step in range(5, 8):
                steps.append(
                    backbone(inputs_embeds=x[:, step : step + 1], cache=cache, use_cache=True).last_hidden_state
                )
        outputs.append(torch.cat(steps, dim=1))
    torch.testing.assert_close(*outputs, atol=1e-6, rtol=1e-6)

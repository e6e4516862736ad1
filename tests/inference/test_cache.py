"""The roomy cache gives what the library's growing one gives, and refuses to overflow."""

import pytest
import torch
from tiny import tiny_model
from transformers import DynamicCache

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

"""Matrices laid out for decoding hold the same numbers, and only those that gain by it are moved."""

import torch
from tiny import tiny_model

from healthgpt.batch import Batch
from healthgpt.model.memory_order import order_for_decoding


def test_the_same_numbers_with_the_longer_side_contiguous():
    (model, _, variant), (ordered, _, _) = tiny_model(), tiny_model()
    order_for_decoding(ordered)
    for (name, ours), (_, theirs) in zip(model.named_parameters(), ordered.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    assert ordered.fusion.text_head.stride() == (1, variant.text_size)
    assert ordered.fusion.text_embedding.is_contiguous()
    block = ordered.backbone.layers[0].mlp
    assert block.gate_proj.base.weight.stride() == (1, 48)
    assert block.down_proj.base.weight.is_contiguous()


def test_the_same_scores():
    (model, builder, _), (ordered, _, _) = tiny_model(), tiny_model()
    order_for_decoding(ordered)
    prompt = builder.drawing("a large heart", has_image=False)
    ids = torch.tensor([prompt.ids])
    batch = Batch(
        ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids, dtype=torch.bool), ("report-to-cxr",)
    )
    with torch.no_grad():
        torch.testing.assert_close(ordered(batch), model(batch), atol=1e-5, rtol=1e-5)


def test_half_precision_stays_as_it_is():
    model, _, _ = tiny_model()
    order_for_decoding(model.to(torch.bfloat16))
    assert all(parameter.is_contiguous() for parameter in model.parameters())

"""Decoder blocks over several devices: whole, in order, tables first; offloaded blocks compute the same."""

import pytest
import torch
from accelerate import cpu_offload
from tiny import tiny_model

from healthgpt.data.collate import right_padded
from healthgpt.model.placement import block_class, block_places, bytes_of, place
from healthgpt.vision.preprocess import Preprocessing


def mixed_batch(builder, variant):
    """A reading row and a drawing row."""
    prompts = [
        builder.reading([("is there a nodule", "no")], has_image=False),
        builder.drawing("turn this ct into an mri", has_image=False, codes=[1, 2, 3, 0]),
    ]
    return right_padded(prompts, ["ct", "report-to-cxr"], [None, None], Preprocessing(size=variant.image_size))


def test_a_cpu_takes_the_model_as_it_is():
    model, _, _ = tiny_model()
    assert place(model, torch.device("cpu")) is model


@pytest.mark.parametrize(("blocks", "used"), [(0.5, {"cpu"}), (1.2, {"cpu", 0}), (2.5, {0})])
def test_blocks_go_whole_and_in_order_to_where_there_is_room(blocks, used):
    model, _, _ = tiny_model(layers=3) if blocks == 1.2 else tiny_model()
    tables = bytes_of(model.vision) + bytes_of(model.fusion)
    block = bytes_of(model.backbone.layers[0])
    room = {0: tables + int((blocks + (blocks == 1.2)) * block), "cpu": 100 * block}  # one block more is kept free
    places = block_places(model, room)
    assert set(places.values()) == used
    assert {name for name in places if "." in name} <= {f"layers.{n}" for n in range(3)}, "no block is split"
    order = [place for name, place in sorted(places.items()) if name.startswith("layers")]
    assert order == sorted(order, key=str), "the first GPU's come first"


@torch.inference_mode()
def test_offloaded_blocks_compute_the_same_for_both_families_in_one_batch():
    model, builder, variant = tiny_model()
    batch = mixed_batch(builder, variant)
    expected = model(batch)
    cpu_offload(model.backbone, execution_device=torch.device("cpu"), preload_module_classes=[block_class(model)])
    assert bool(expected.isfinite().all())
    assert all(parameter.is_meta for parameter in model.backbone.parameters())
    torch.testing.assert_close(model(batch), expected, atol=0, rtol=0)

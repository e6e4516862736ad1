"""Packed rows: each in one sequence of its family, computed as if alone, and unpadded work is all that is left out."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_model, tiny_variant
from torch import nn
from transformers import LlamaConfig, LlamaModel, Phi3Config, Phi3Model, Qwen2Config, Qwen2Model

from healthgpt.backbone.attention import attend_for_training
from healthgpt.data.collate import right_padded
from healthgpt.model.build import assemble, new_tower
from healthgpt.model.packing import lengths_of, pack_rows
from healthgpt.vision.preprocess import Preprocessing

SIZE = {
    "vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
LONG_ROPE = {
    "rope_type": "longrope", "rope_theta": 10_000.0, "short_factor": [1.0] * 4, "long_factor": [2.0] * 4,
    "original_max_position_embeddings": 16,
}  # fmt: skip
BACKBONES = {
    "llama": (LlamaModel, LlamaConfig(**SIZE)),
    "phi-3": (Phi3Model, Phi3Config(**SIZE)),
    "phi-3, sliding window": (Phi3Model, Phi3Config(**SIZE, sliding_window=7)),
    "phi-3, long rope": (Phi3Model, Phi3Config(**SIZE, rope_parameters=LONG_ROPE, original_max_position_embeddings=16)),
    "qwen-2": (Qwen2Model, Qwen2Config(**SIZE)),
}
TURNS = [("is there a nodule in the left lung", "no"), ("describe this image", "a chest x-ray with a large heart")]
LONGEST = 60
READING = ("ct", "x-ray", "mri", "other")
DRAWING = ("ct-to-mri", "report-to-cxr", "reconstruct")
MIXED = ("ct", "ct-to-mri", "x-ray", "report-to-cxr", "mri", "reconstruct", "other")
rows = st.lists(st.tuples(st.integers(1, 30), st.sampled_from(["comprehension", "generation"])), min_size=1)


def model_on(name):
    """A random model with trained plugins whose backbone has that architecture."""
    architecture, config = BACKBONES[name]
    torch.manual_seed(0)
    backbone = architecture(config)
    backbone.set_input_embeddings(nn.Identity())
    variant = tiny_variant()
    model = assemble(variant, backbone, new_tower(variant))
    for parameter_name, parameter in model.named_parameters():
        if "lora_B" in parameter_name or "task_embedding" in parameter_name:
            nn.init.normal_(parameter, std=0.05)
        parameter.requires_grad_(".adapters." in parameter_name)
    attend_for_training(model.backbone, "cpu")
    return model


def batch_of(tasks):
    """One row of each task, of different lengths."""
    _, builder, variant = tiny_model()
    prompts = {
        "ct": builder.reading(TURNS, has_image=True),
        "x-ray": builder.reading(TURNS[:1], has_image=True),
        "mri": builder.reading(TURNS[1:], has_image=True),
        "other": builder.reading(TURNS[:1], has_image=False),
        "ct-to-mri": builder.drawing("turn this ct into an mri", has_image=True, codes=[1, 2, 3, 4]),
        "report-to-cxr": builder.drawing("a large heart", has_image=False, codes=[5, 6, 7, 8]),
        "reconstruct": builder.drawing("describe this image", has_image=True, codes=[9, 10, 11, 12]),
    }
    image = torch.randint(0, 256, (16, 16, 3), generator=torch.Generator().manual_seed(0)).byte().numpy()
    images = [None if task in ("other", "report-to-cxr") else image for task in tasks]
    return right_padded([prompts[task] for task in tasks], tasks, images, Preprocessing(size=variant.image_size))


def trained(model, batch, **options):
    """Hidden states at valid positions, and the gradient of everything that is trained."""
    model.zero_grad()
    hidden_BTD = model.hidden(model.embed(batch), batch.tasks, **options)
    hidden_ND = hidden_BTD[batch.mask_BT]
    weights = torch.randn(hidden_ND.shape, generator=torch.Generator().manual_seed(0))
    (hidden_ND * weights).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return hidden_ND.detach(), gradients


@given(rows, st.integers(30, 90))
def test_every_row_is_packed_once_beside_its_own_family_and_within_the_length(described, longest):
    lengths, families = zip(*described, strict=True)
    packing = pack_rows(lengths, families, longest)
    assert sorted(row for sequence in packing.sequences for row in sequence) == list(range(len(lengths)))
    assert all(len({families[row] for row in sequence}) == 1 for sequence in packing.sequences)
    assert packing.fullest <= longest
    assert len(packing.sequences) * packing.fullest <= len(lengths) * max(lengths)
    assert packing == pack_rows(lengths, families, longest)


@given(rows)
def test_what_is_packed_is_unpacked_to_its_place(described):
    lengths, families = zip(*described, strict=True)
    packing = pack_rows(lengths, families, 64)
    padded_BTD = torch.randn(len(lengths), max(lengths) + 2, 3)
    for row, length in enumerate(lengths):
        padded_BTD[row, length:] = 0
    packed_PLD = packing.pack(padded_BTD)
    assert torch.equal(packing.unpack(packed_PLD, padded_BTD.shape[1]), padded_BTD)
    assert packed_PLD.count_nonzero() == padded_BTD.count_nonzero()
    positions_PL = packing.positions(torch.device("cpu"))
    for counted, lengths_of_sequence in zip(positions_PL.tolist(), packing.segment_lengths, strict=True):
        expected = [position for length in lengths_of_sequence for position in range(length)]
        assert counted == expected + [0] * (packing.fullest - len(expected))


def test_the_longest_go_first_into_the_first_that_has_room_and_ends_stay_full():
    one = ["comprehension"] * 5
    assert pack_rows([3, 6, 4, 7], one, 10).sequences == ((3, 0), (1, 2))
    assert pack_rows([3, 6, 4, 7, 3], one, 10).sequences == ((3,), (1, 0), (2, 4))  # 3 x 9, not 3 x 10
    assert pack_rows([3, 6, 4, 7, 3], one, 23).fullest == 23


@pytest.mark.parametrize("length", [0, 11])
def test_a_row_that_fits_nowhere_is_named(length):
    with pytest.raises(ValueError, match=f"row 1 has {length} positions; a packed sequence holds 1 to 10"):
        pack_rows([3, length], ["comprehension"] * 2, 10)


def test_only_whole_right_padded_rows_are_packed():
    model, batch = model_on("llama"), batch_of(MIXED)
    embedded = model.embed(batch)
    for options in (
        {},
        {"mask_BT": batch.mask_BT, "positions_BT": torch.zeros_like(batch.input_ids_BT)},
    ):
        with pytest.raises(ValueError, match="needs the mask of whole rows"):
            model.hidden(embedded, batch.tasks, packed_to=LONGEST, **options)
    with pytest.raises(ValueError, match="padded on the right"):
        lengths_of(batch.mask_BT.flip(1))


@pytest.mark.parametrize("tasks", [READING, DRAWING, MIXED], ids=["reading", "drawing", "mixed"])
@pytest.mark.parametrize("name", list(BACKBONES))
@pytest.mark.parametrize("checkpointing", [False, True])
def test_packed_equals_padded(name, tasks, checkpointing):
    model, batch = model_on(name).train(), batch_of(tasks)
    if checkpointing:
        model.backbone.activation_checkpointing_enable()
    padded, padded_gradients = trained(model, batch)
    packed, packed_gradients = trained(model, batch, mask_BT=batch.mask_BT, packed_to=LONGEST)
    torch.testing.assert_close(packed, padded, atol=1e-5, rtol=1e-5)
    assert padded_gradients
    assert packed_gradients.keys() == padded_gradients.keys()
    for gradient_name, gradient in padded_gradients.items():
        scale = gradient.abs().max()
        torch.testing.assert_close(packed_gradients[gradient_name] / scale, gradient / scale, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", list(BACKBONES))
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_equals_padded_in_the_librarys_own_attention(name, attention):
    model, batch = model_on(name), batch_of(MIXED)
    model.backbone.set_attn_implementation(attention)
    padded, _ = trained(model, batch)
    packed, _ = trained(model, batch, mask_BT=batch.mask_BT, packed_to=LONGEST)
    torch.testing.assert_close(packed, padded, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", list(BACKBONES))
@torch.no_grad()
def test_a_changed_token_changes_no_other_row(name):
    model, batch = model_on(name), batch_of(MIXED)
    embedded = model.embed(batch)
    before = model.hidden(embedded, batch.tasks, mask_BT=batch.mask_BT, packed_to=LONGEST)
    for row in range(len(MIXED)):
        changed = embedded.clone()
        changed[row, 0] += 1.0
        after = model.hidden(changed, batch.tasks, mask_BT=batch.mask_BT, packed_to=LONGEST)
        others = [other for other in range(len(MIXED)) if other != row]
        assert torch.equal(after[others], before[others])
        assert not torch.equal(after[row], before[row])


@torch.no_grad()
def test_padding_is_zero():
    model, batch = model_on("llama"), batch_of(MIXED)
    hidden = model.hidden(model.embed(batch), batch.tasks, mask_BT=batch.mask_BT, packed_to=LONGEST)
    assert hidden.shape == (*batch.input_ids_BT.shape, 32)
    assert hidden[~batch.mask_BT].eq(0).all()

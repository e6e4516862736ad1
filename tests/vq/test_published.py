"""The published codec: it agrees with the published code's outputs, and files that do not fit are told apart."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from healthgpt.errors import ImageError, ModelError
from healthgpt.vq.codec import Codec, to_uint8
from healthgpt.vq.published import (
    PublishedCodec,
    PublishedShape,
    load_published,
    read_published,
    to_published_uint8,
)
from healthgpt.vq.store import CodecShape, load_codec, save_codec

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "golden" / "vqgan"
TINY = PublishedShape(
    image_size=32, code_count=16, embed_dim=8, width=32, multipliers=(1, 2), blocks=1, attention_levels=(1,)
)
CONFIG = {
    "model": {
        "target": "no.such.module.Model",
        "params": {
            "ddconfig": {
                "double_z": False, "z_channels": 8, "resolution": 32, "in_channels": 3, "out_ch": 3, "ch": 32,
                "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [16], "dropout": 0.0,
            },
            "embed_dim": 8, "n_embed": 16, "lossconfig": {"target": "another.Class"},
        },
    }
}  # fmt: skip


def tiny_codec(seed: int = 0) -> PublishedCodec:
    torch.manual_seed(seed)
    return TINY.build().requires_grad_(False).eval()


def pictures(count: int, side: int = 32) -> torch.Tensor:
    return 2 * torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)) - 1


def save_checkpoint(path: Path, state: dict) -> Path:
    loss = {"loss.logvar": torch.zeros(()), "loss.discriminator.main.0.weight": torch.zeros(4, 3)}
    torch.save({"epoch": 1, "state_dict": {**state, **loss}, "callbacks": {}}, path)
    return path


def save_config(path: Path, **layers) -> Path:
    changed = json.loads(json.dumps(CONFIG))
    changed["model"]["params"]["ddconfig"].update(layers)
    path.write_text(yaml.safe_dump(changed))
    return path


# agreement with the published code


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    if not GOLDEN.is_dir():
        pytest.skip("the golden outputs (shared/golden) are not beside this checkout")
    with np.load(GOLDEN / "vqgan.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.fixture(scope="module")
def golden_codec(golden) -> PublishedCodec:
    return load_published(GOLDEN / "last.ckpt", GOLDEN / "model.yaml")


def test_codes_are_the_published_ones_without_noise(golden, golden_codec):
    torch.testing.assert_close(golden_codec.logits(golden["x"]), golden["logits"], atol=1e-4, rtol=0)
    codes = golden_codec.encode(golden["x"])
    assert codes.dtype == torch.int64
    assert torch.equal(codes, golden["indices_argmax"])
    assert torch.equal(codes, golden_codec.encode(golden["x"]))


def test_pictures_are_the_published_ones(golden, golden_codec):
    for codes, drawn in (("indices_argmax", "decoded_argmax"), ("random_indices", "decoded_random")):
        grids = golden[codes].reshape(-1, 8, 8)
        torch.testing.assert_close(golden_codec.draw(grids), golden[drawn], atol=1e-4, rtol=0)
        assert torch.equal(golden_codec.decode(grids), golden_codec.draw(grids).clamp(-1, 1))


def test_8_bit_pictures_are_the_published_ones(golden, golden_codec):
    for drawn, levels in (("decoded_random", "uint8_random"), ("gen0_decoded", "gen0_uint8")):
        assert torch.equal(to_published_uint8(golden[drawn])[0], golden[levels])
    levels = to_published_uint8(golden_codec.draw(golden["random_indices"].reshape(1, 8, 8)))[0]
    difference = (levels.int() - golden["uint8_random"].int()).abs()
    assert difference.max() <= 1
    assert difference.float().mean() <= 1e-3


def test_the_golden_checkpoint_says_what_was_left_out_and_what_shape_it_has(golden):
    codec, shape, left_out = read_published(GOLDEN / "last.ckpt", GOLDEN / "model.yaml")
    assert left_out == (
        "state_dict.loss.discriminator.main.0.weight", "state_dict.loss.logvar", "epoch", "global_step",
    )  # fmt: skip
    assert (shape.image_size, shape.code_count, shape.attention_levels) == (64, 64, (3,))
    told = read_published(GOLDEN / "last.ckpt").shape
    assert told == shape.model_copy(update={"image_size": 256})
    assert (codec.grid, codec.stride, codec.code_count) == ((8, 8), 8, 64)


def test_the_released_codec_has_301_tensors_and_69_million_weights():
    with torch.device("meta"):
        codec = PublishedCodec(
            image_size=256, code_count=8192, embed_dim=256, width=128, multipliers=(1, 1, 2, 4), blocks=2,
            attention_levels=(3,),
        )  # fmt: skip
    assert len(codec.state_dict()) == 301
    assert 68.9e6 < sum(weight.numel() for weight in codec.parameters()) < 69.1e6
    assert codec.grid == (32, 32)


# the interface it shares with our own codec


@pytest.mark.parametrize("side", [32, 16])
def test_pictures_become_codes_and_codes_pictures(side):
    codec = tiny_codec()
    codes = codec.encode(pictures(3, side))
    assert codes.shape == (3, side // 2, side // 2)
    assert 0 <= codes.min() <= codes.max() < codec.code_count == 16
    drawn = codec.decode(codes)
    assert (drawn.shape, drawn.dtype) == ((3, 3, side, side), torch.float32)
    assert drawn.abs().max() <= 1
    assert (codec.grid, codec.stride, codec.image_size) == ((16, 16), 2, 32)
    assert all(hasattr(Codec, name) for name in ("encode", "decode", "code_count", "grid"))


def test_a_batch_equals_its_pictures_one_by_one():
    codec, images = tiny_codec(), pictures(3)
    codes = codec.encode(images)
    assert torch.equal(codes, torch.cat([codec.encode(image[None]) for image in images]))
    single = torch.cat([codec.decode(grid[None]) for grid in codes])
    torch.testing.assert_close(codec.decode(codes), single, atol=1e-5, rtol=1e-5)


@settings(max_examples=20, deadline=None)
@given(values=st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=3))
def test_published_rounding_is_at_most_a_level_below_ours(values):
    images = torch.tensor(values).reshape(1, 3, 1, 1)
    below = to_uint8(images).int() - to_published_uint8(images).int()
    assert 0 <= below.min() <= below.max() <= 1


def test_pictures_and_codes_that_do_not_fit_are_refused():
    codec = tiny_codec()
    for images in (torch.zeros(3, 32, 32), torch.zeros(1, 3, 31, 32), torch.zeros(1, 3, 32, 32, dtype=torch.uint8)):
        with pytest.raises(ImageError, match="multiples of 2"):
            codec.encode(images)
    for codes in (torch.zeros(4, 4, dtype=torch.int64), torch.zeros(1, 4, 4)):
        with pytest.raises(ModelError, match="rows, columns"):
            codec.decode(codes)
    for code in (-1, 16):
        with pytest.raises(ModelError, match="0 to 15"):
            codec.decode(torch.full((1, 2, 2), code))


@pytest.mark.parametrize(("changed", "told"), [({"image_size": 33}, "multiples of 2"), ({"width": 40}, "of 32")])
def test_numbers_that_do_not_fit_together_are_refused(changed, told):
    with pytest.raises(ModelError, match=told):
        PublishedCodec(**{**TINY.model_dump(exclude={"kind"}), **changed})


# reading checkpoints


@pytest.mark.parametrize("with_config", [True, False])
def test_a_checkpoint_is_read_to_the_bit(tmp_path, with_config):
    codec = tiny_codec()
    checkpoint = save_checkpoint(tmp_path / "last.ckpt", codec.state_dict())
    config = save_config(tmp_path / "model.yaml") if with_config else None
    loaded, shape, left_out = read_published(checkpoint, config)
    assert shape == (TINY if with_config else TINY.model_copy(update={"image_size": 256}))
    assert left_out == ("state_dict.loss.logvar", "state_dict.loss.discriminator.main.0.weight", "epoch")
    assert not loaded.training
    assert not any(weight.requires_grad for weight in loaded.parameters())
    for name, tensor in codec.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert torch.equal(loaded.decode(codec.encode(pictures(1))), codec.decode(codec.encode(pictures(1))))


def test_half_precision_weights_are_read_as_float32(tmp_path):
    state = {name: tensor.to(torch.bfloat16) for name, tensor in tiny_codec().state_dict().items()}
    loaded = load_published(save_checkpoint(tmp_path / "last.ckpt", state))
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    assert all(torch.equal(loaded.state_dict()[name], tensor.float()) for name, tensor in state.items())


@pytest.mark.parametrize("config", [True, False])
def test_missing_unexpected_and_misshapen_tensors_are_named(tmp_path, config):
    state = tiny_codec().state_dict()
    del state["decoder.mid.attn_1.q.bias"]
    state["encoder.extra"] = torch.zeros(1)
    state["quant_conv.bias"] = torch.zeros(9)
    state["post_quant_conv.bias"] = torch.zeros(8, dtype=torch.int64)
    checkpoint = save_checkpoint(tmp_path / "last.ckpt", state)
    with pytest.raises(ModelError) as refusal:
        load_published(checkpoint, save_config(tmp_path / "model.yaml") if config else None)
    told = str(refusal.value)
    for part in (
        "last.ckpt", "missing: decoder.mid.attn_1.q.bias", "unexpected: encoder.extra",
        "misshapen: quant_conv.bias (9,) in place of (8,)", "not of floats: post_quant_conv.bias",
    ):  # fmt: skip
        assert part in told


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ({"ch": 64}, "misshapen: encoder.conv_in.weight (32, 3, 3, 3) in place of (64, 3, 3, 3)"),
        ({"ch_mult": [1, 2, 2]}, "missing: encoder.down.1.downsample.conv.weight"),
        ({"attn_resolutions": []}, "unexpected: encoder.down.1.attn.0.norm.weight"),
        ({"num_res_blocks": 2}, "and"),
    ],
)
def test_a_checkpoint_that_does_not_fit_its_description_is_refused(tmp_path, layers, told):
    checkpoint = save_checkpoint(tmp_path / "last.ckpt", tiny_codec().state_dict())
    with pytest.raises(ModelError) as refusal:
        load_published(checkpoint, save_config(tmp_path / "model.yaml", **layers))
    assert told in str(refusal.value)
    assert "model.yaml" in str(refusal.value)


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ({"double_z": True}, "double_z"),
        ({"in_channels": 1}, "in_channels"),
        ({"attn_type": "none"}, "attn_type"),
        ({"num_res_blocks": 10**9}, "num_res_blocks"),
        ({"ch": "32"}, "ch"),
        ({"z_channels": 4}, "embed_dim 8, z_channels 4"),
    ],
)
def test_a_description_of_another_codec_is_refused(tmp_path, layers, told):
    with pytest.raises(ModelError, match=told):
        PublishedShape.from_config(save_config(tmp_path / "model.yaml", **layers))


@pytest.mark.parametrize(
    "text", ["", "[1", "model: 3", "a: !!python/object/apply:os.system ['touch ran']", "[" * 5000, "é".encode("latin1")]
)
def test_a_description_that_is_none_is_refused(tmp_path, text, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ModelError, match=r"model\.yaml does not describe"):
        PublishedShape.from_config(tmp_path / "model.yaml")
    with pytest.raises(ModelError, match=r"none\.yaml does not describe"):
        PublishedShape.from_config(tmp_path / "none.yaml")
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    torch.save({"state_dict": {"linear.weight": torch.ones(2, 2)}}, tmp_path / "a.ckpt")
    with pytest.raises(ModelError, match=r"no 'encoder\.conv_in\.weight'"):
        load_published(tmp_path / "a.ckpt")
    torch.save(tiny_codec().state_dict(), tmp_path / "bare.ckpt")
    with pytest.raises(ModelError, match="under 'state_dict'"):
        load_published(tmp_path / "bare.ckpt")


# on disk beside our own kind


def test_saved_equals_loaded(tmp_path):
    codec = tiny_codec()
    save_codec(tmp_path, codec, TINY, torch.float32)
    assert json.loads((tmp_path / "config.json").read_text())["kind"] == "published"
    loaded = load_codec(tmp_path)
    assert type(loaded) is PublishedCodec
    assert not loaded.training
    assert loaded.state_dict().keys() == codec.state_dict().keys()
    for name, tensor in codec.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    codes = codec.encode(pictures(2))
    assert torch.equal(codes, loaded.encode(pictures(2)))
    assert torch.equal(codec.decode(codes), loaded.decode(codes))


OWN = CodecShape(
    image_size=16, code_count=8, embed_dim=4, fold=2, widths=(8, 8), encoder_blocks=(0, 1), decoder_blocks=(1, 1),
    attention=True,
)  # fmt: skip


@pytest.mark.parametrize("written", ["folded", None])
def test_our_own_kind_loads_with_and_without_its_name(tmp_path, written):
    codec = OWN.build()
    save_codec(tmp_path, codec, OWN, torch.float32)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config.pop("kind") == "folded"
    if written is None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = load_codec(tmp_path)
    assert type(loaded) is Codec
    for name, tensor in codec.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kind": "newer"}, "newer"),
        ({"width": None}, "width"),
        ({"image_size": 33}, "multiples of 2"),
        ({"x": 1}, "x "),
    ],
)
def test_a_folder_that_cannot_be_loaded_says_why(tmp_path, change, told):
    save_codec(tmp_path, tiny_codec(), TINY, torch.float32)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(ModelError, match=told):
        load_codec(tmp_path)


def test_a_folder_whose_weights_do_not_fit_is_refused(tmp_path):
    save_codec(tmp_path, tiny_codec(), TINY.model_copy(update={"code_count": 32}), torch.float32)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_codec(tmp_path)

"""Laws of the codec: shapes, determinism, batch equals single, saved equals loaded, pixels there and back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from healthgpt.errors import ImageError, ModelError
from healthgpt.vq.codec import Codec, from_uint8, to_uint8


def tiny_codec(seed: int = 0) -> Codec:
    torch.manual_seed(seed)
    codec = Codec(
        image_size=32, code_count=64, embed_dim=4, fold=2, widths=(8, 16, 16),
        encoder_blocks=(0, 1, 1), decoder_blocks=(1, 1, 1), attention=True,
    )  # fmt: skip
    codec.train()(2 * torch.rand(8, 3, 32, 32) - 1, torch.Generator().manual_seed(seed))  # places the vectors
    return codec.eval()


def pictures(count: int, size: int = 32, seed: int = 1) -> torch.Tensor:
    return 2 * torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) - 1


@pytest.mark.parametrize("size", [32, 64])
def test_pictures_become_codes_and_codes_pictures(size):
    codec = tiny_codec()
    codes = codec.encode(pictures(3, size))
    assert codes.shape == (3, size // 8, size // 8)
    assert codes.dtype == torch.int64
    assert 0 <= codes.min() <= codes.max() < codec.code_count == 64
    assert codes.unique().numel() > 1
    drawn = codec.decode(codes)
    assert drawn.shape == (3, 3, size, size)
    assert drawn.dtype == torch.float32
    assert drawn.abs().max() <= 1
    assert codec.grid == (4, 4)
    assert codec.stride == 8


def test_decoding_clamps_what_the_decoder_overshoots():
    codec = tiny_codec()
    torch.nn.init.constant_(codec.decoder.head.bias, 9.0)
    assert codec.decode(torch.zeros(1, 4, 4, dtype=torch.int64)).eq(1).all()


def test_encoding_is_deterministic_and_leaves_no_gradient():
    codec = tiny_codec()
    images = pictures(2).requires_grad_()
    codes = codec.encode(images)
    assert torch.equal(codes, codec.encode(images))
    assert not codec.decode(codes).requires_grad


def test_a_batch_equals_its_pictures_one_by_one():
    codec = tiny_codec()
    images = pictures(4)
    codes = codec.encode(images)
    assert torch.equal(codes, torch.cat([codec.encode(image[None]) for image in images]))
    single = torch.cat([codec.decode(grid[None]) for grid in codes])
    torch.testing.assert_close(codec.decode(codes), single, atol=1e-5, rtol=1e-5)


def test_the_training_pass_draws_what_decoding_draws():
    codec = tiny_codec()
    images = pictures(2)
    trained = codec(images)
    assert torch.equal(trained.codes, codec.encode(images))
    torch.testing.assert_close(trained.images.detach().clamp(-1, 1), codec.decode(trained.codes), atol=1e-5, rtol=1e-5)


def test_the_training_pass_reaches_every_weight():
    codec = tiny_codec().train()
    for weight in codec.parameters():  # zero-initialised layers would hide those before them
        torch.nn.init.normal_(weight, std=0.1)
    drawn = codec(pictures(2), torch.Generator().manual_seed(0))
    (drawn.images.square().mean() + drawn.commitment).backward()
    assert [name for name, weight in codec.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_a_pass_without_quantising_leaves_the_codebook_alone_and_draws_the_latents_themselves():
    codec = tiny_codec().train()
    torch.nn.init.normal_(codec.decoder.head.weight)
    images, before = pictures(2), codec.codebook.vectors.clone()
    free = codec(images, quantise=False)
    assert torch.equal(codec.codebook.vectors, before)
    assert float(free.commitment) == 0
    torch.testing.assert_close(free.images, codec.decoder(codec.encoder(images)))
    assert not torch.allclose(free.images, codec(images).images)


def test_saved_equals_loaded(tmp_path):
    codec, other = tiny_codec(0), tiny_codec(1)
    images = pictures(2)
    assert not torch.equal(codec.encode(images), other.encode(images))
    save_file(codec.state_dict(), tmp_path / "codec.safetensors")
    other.load_state_dict(load_file(tmp_path / "codec.safetensors"))
    codes = codec.encode(images)
    assert torch.equal(codes, other.encode(images))
    assert torch.equal(codec.decode(codes), other.decode(codes))


@settings(max_examples=25, deadline=None)
@given(colour=st.booleans(), batch=st.integers(1, 3), seed=st.integers(0, 1000))
def test_pixels_survive_the_way_to_floats_and_back(colour, batch, seed):
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, 5, 6, 3) if colour else (batch, 5, 6)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    images = from_uint8(pixels)
    assert images.shape == (batch, 3, 5, 6)
    assert images.min() >= -1
    assert images.max() <= 1
    expected = pixels if colour else pixels[..., None].expand(-1, -1, -1, 3)
    assert torch.equal(to_uint8(images), expected)


def test_every_grey_level_is_kept_and_black_is_minus_one():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    images = from_uint8(levels)
    assert torch.equal(to_uint8(images)[..., 0], levels)
    assert (images.min(), images.max()) == (-1, 1)
    assert to_uint8(torch.tensor([-7.0, 7.0, 0.0]).reshape(1, 3, 1, 1)).flatten().tolist() == [0, 255, 128]


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(3, 32, 32),
        torch.zeros(1, 1, 32, 32),
        torch.zeros(1, 3, 30, 32),
        torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
    ],
)
def test_pictures_that_do_not_fit_are_refused(images):
    codec = tiny_codec()
    with pytest.raises(ImageError, match="multiples of 8"):
        codec.encode(images)
    with pytest.raises(ImageError, match="multiples of 8"):
        codec(images)


@pytest.mark.parametrize(
    "pixels", [torch.zeros(4, 4, dtype=torch.uint8), torch.zeros(1, 4, 4), torch.zeros(1, 4, 4, 2, dtype=torch.uint8)]
)
def test_pixels_that_are_not_8_bit_pictures_are_refused(pixels):
    with pytest.raises(ImageError, match="uint8"):
        from_uint8(pixels)


@pytest.mark.parametrize("code", [-1, 64])
def test_a_code_outside_the_book_is_refused(code):
    codes = torch.zeros(1, 4, 4, dtype=torch.int64)
    codes[0, 2, 1] = code
    with pytest.raises(ModelError, match="0 to 63"):
        tiny_codec().decode(codes)


@pytest.mark.parametrize("codes", [torch.zeros(4, 4, dtype=torch.int64), torch.zeros(1, 4, 4)])
def test_codes_that_are_not_grids_are_refused(codes):
    with pytest.raises(ModelError, match="rows, columns"):
        tiny_codec().decode(codes)


def test_an_image_size_off_the_grid_is_refused():
    with pytest.raises(ModelError, match="multiples of 8"):
        Codec(
            image_size=36, code_count=8, embed_dim=4, fold=4, widths=(8, 8),
            encoder_blocks=(0, 0), decoder_blocks=(0, 0), attention=False,
        )  # fmt: skip

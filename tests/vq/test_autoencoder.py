"""Laws of the encoder and decoder: shapes, mirror, what is refused."""

import pytest
import torch

from healthgpt.errors import ModelError
from healthgpt.vq.autoencoder import Decoder, Encoder, LocalBlock, ResidualBlock, SelfAttention

LAYOUTS = [
    (2, (8, 16), (0, 1), 4),
    (4, (8, 16), (1, 1), 8),
    (2, (8, 8, 16), (1, 0, 2), 8),
    (8, (16,), (1,), 8),
]


@pytest.mark.parametrize(("fold", "widths", "blocks", "stride"), LAYOUTS)
@pytest.mark.parametrize("size", [(16, 16), (32, 48)])
def test_the_decoder_undoes_the_encoders_shape(fold, widths, blocks, stride, size):
    images = torch.randn(2, 3, *size)
    latents = Encoder(fold, widths, blocks, embed_dim=4)(images)
    assert latents.shape == (2, 4, size[0] // stride, size[1] // stride)
    assert Decoder(fold, widths, blocks, embed_dim=4, attention=True)(latents).shape == images.shape


@pytest.mark.parametrize("layer", [LocalBlock(16), ResidualBlock(16), SelfAttention(16)])
def test_an_untrained_residual_layer_changes_nothing_but_learns(layer):
    features = torch.randn(2, 16, 5, 7)
    torch.testing.assert_close(layer(features), features)
    layer(features).square().sum().backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in layer.parameters())


def test_a_latent_says_only_what_lies_near_its_square():
    encoder = Encoder(2, (8, 8, 16), (0, 1, 1), embed_dim=4)
    for weight in encoder.parameters():  # blocks that start at zero would hide how far they reach
        torch.nn.init.normal_(weight, std=0.2)
    images = torch.randn(1, 3, 128, 128)
    changed = images.clone()
    changed[:, :, :8, :8] += 1
    moved = (encoder(images) - encoder(changed)).abs().amax(1)[0] > 0
    assert moved[0, 0]
    assert not moved[6:].any()
    assert not moved[:, 6:].any()


def test_attention_carries_news_across_the_whole_grid():
    layer = SelfAttention(16)
    torch.nn.init.normal_(layer.out.weight)
    features = torch.randn(1, 16, 4, 4)
    changed = features.clone()
    changed[:, :, 0, 0] += torch.randn(16)
    assert not torch.allclose(layer(features)[:, :, 3, 3], layer(changed)[:, :, 3, 3])


@pytest.mark.parametrize(
    ("fold", "widths", "blocks", "word"),
    [
        (4, (8, 12), (1, 1), "12"),
        (4, (8, 16), (1,), "blocks"),
        (0, (8,), (1,), "fold"),
        (4, (), (), "fold"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(fold, widths, blocks, word):
    with pytest.raises(ModelError, match=word):
        Encoder(fold, widths, blocks, embed_dim=4)
    with pytest.raises(ModelError, match=word):
        Decoder(fold, widths, blocks, embed_dim=4, attention=False)

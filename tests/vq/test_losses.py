"""Laws of the codec's losses, and that a codec learns from them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity

from healthgpt.errors import RecipeError
from healthgpt.vq.codec import Codec
from healthgpt.vq.losses import (
    LossWeights,
    PatchDiscriminator,
    adaptive_weight,
    codec_step,
    colour_distance,
    discriminator_hinge,
    gradient_distance,
    luma,
    ssim,
    texture_distance,
)


def tiny_codec() -> Codec:
    torch.manual_seed(0)
    return Codec(
        image_size=32, code_count=64, embed_dim=4, fold=2, widths=(16, 16, 16),
        encoder_blocks=(0, 1, 1), decoder_blocks=(1, 1, 1), attention=False,
    )  # fmt: skip


def discs(count: int = 8) -> torch.Tensor:
    """Grey discs of different places, sizes and brightness, in [-1, 1]."""
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    generator = torch.Generator().manual_seed(5)
    images = []
    for _ in range(count):
        row, column, radius, level = torch.rand(4, generator=generator)
        inside = (rows - 8 - 16 * row) ** 2 + (columns - 8 - 16 * column) ** 2 < (4 + 6 * radius) ** 2
        images.append(inside.float() * (0.5 + level) - 0.8)
    return torch.stack(images)[:, None].expand(-1, 3, -1, -1)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), height=st.integers(7, 30), width=st.integers(7, 30), noise=st.floats(0, 1))
def test_ssim_equals_scikit_image(seed, height, width, noise):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(1, 1, height, width, generator=generator)
    other = (image + noise * torch.randn(1, 1, height, width, generator=generator)).clamp(0, 1)
    expected = structural_similarity(image[0, 0].numpy(), other[0, 0].numpy(), data_range=1.0)
    assert float(ssim(image, other)) == pytest.approx(expected, abs=1e-4)


def test_luma_equals_scikit_image():
    images = torch.rand(2, 3, 6, 5)
    expected = rgb2gray(images.movedim(1, -1).numpy())
    np.testing.assert_allclose(luma(images)[:, 0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("distance", [gradient_distance, texture_distance, lambda a, b: 1 - ssim(a, b)])
def test_a_distance_is_zero_to_itself_symmetric_and_grows_with_noise(distance):
    torch.manual_seed(0)
    image, noise = torch.rand(2, 1, 32, 32), torch.randn(2, 1, 32, 32)
    assert float(distance(image, image)) == pytest.approx(0, abs=1e-6)
    near, far = image + 0.05 * noise, image + 0.2 * noise
    assert 0 < float(distance(image, near)) < float(distance(image, far))
    assert float(distance(image, far)) == pytest.approx(float(distance(far, image)), rel=1e-4)


def test_the_gradient_distance_ignores_brightness():
    image = torch.rand(2, 3, 16, 16)
    assert float(gradient_distance(image, image + 0.3)) == pytest.approx(0, abs=1e-5)


def test_tint_is_what_is_left_without_brightness():
    grey, tint = torch.rand(2, 1, 16, 16).expand(-1, 3, -1, -1), torch.tensor([0.2, -0.1, 0.0])[:, None, None]
    tinted = grey + tint
    assert float(colour_distance(grey - luma(grey), 0.5 * grey - luma(0.5 * grey))) == pytest.approx(0, abs=1e-6)
    expected = float((tint - luma(tint[None])).abs().mean())
    assert float(colour_distance(tinted - luma(tinted), grey - luma(grey))) == pytest.approx(expected, rel=1e-4)


def test_texture_forgives_other_grains_of_the_same_speckle_but_not_smoothing():
    torch.manual_seed(0)
    speckle, again = (0.5 + 0.1 * torch.randn(2, 4, 1, 64, 64)).unbind()
    smooth = torch.full_like(speckle, 0.5)
    assert float(texture_distance(speckle, again)) < 0.3 * float(texture_distance(speckle, smooth))
    # pixel by pixel it is the other way round: the smooth picture is nearer
    assert float((speckle - again).abs().mean()) > float((speckle - smooth).abs().mean())


def test_hinge_is_zero_only_beyond_the_margins():
    sure = torch.full((2, 1, 4, 4), 1.5)
    assert float(discriminator_hinge(sure, -sure)) == 0
    assert float(discriminator_hinge(0 * sure, 0 * sure)) == 1
    assert float(discriminator_hinge(-sure, sure)) == 2.5


def test_the_adaptive_weight_balances_the_gradients():
    weight = torch.randn(5, requires_grad=True)
    fidelity, adversarial = 3 * weight.sum(), 0.5 * weight.sum()
    assert float(adaptive_weight(fidelity, adversarial, weight)) == pytest.approx(6, rel=1e-3)


def test_a_score_does_not_depend_on_its_neighbours():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(8).eval()
    images = torch.randn(3, 3, 32, 32)
    scores = discriminator(images)
    assert scores.shape == (3, 1, 2, 2)
    torch.testing.assert_close(scores[1:2], discriminator(images[1:2]), atol=1e-5, rtol=1e-5)


def test_the_step_reports_its_parts_and_their_weighted_sum():
    weights = LossWeights(pixel=2.0, gradient=0.5, structure=0.3, colour=0.2, texture=0.7, commitment=0.1)
    loss, report = codec_step(tiny_codec().eval(), None, discs(), weights)
    names = ("pixel", "gradient", "structure", "colour", "texture", "commitment")
    assert float(loss.detach()) == pytest.approx(sum(getattr(weights, name) * report[name] for name in names), rel=1e-5)
    assert set(report) == {*names, "loss", "codes_used"}
    assert all(isinstance(value, float) and math.isfinite(value) for value in report.values())


def test_the_adversary_joins_at_its_start_step():
    codec, discriminator, weights = tiny_codec(), PatchDiscriminator(8), LossWeights(adversarial_start=10)
    _, before = codec_step(codec, discriminator, discs(), weights, step=9)
    _, after = codec_step(codec, discriminator, discs(), weights, step=10)
    assert "discriminator" not in before
    assert {"adversarial", "discriminator"} <= set(after)


def test_the_codebook_is_placed_at_its_start_step():
    codec, weights = tiny_codec(), LossWeights(quantise_start=10)
    codec_step(codec, None, discs(), weights, step=9)
    assert not codec.codebook.started
    codec_step(codec, None, discs(), weights, step=10)
    assert codec.codebook.started


def test_one_backward_pass_keeps_the_two_players_apart():
    """The discriminator learns its hinge loss alone; the drawing does not help it."""
    torch.manual_seed(0)
    codec, discriminator = tiny_codec().eval(), PatchDiscriminator(8).eval()
    batch = discs()
    loss, _ = codec_step(codec, discriminator, batch, LossWeights(adversarial=5.0))
    loss.backward()
    together = [weight.grad.clone() for weight in discriminator.parameters()]
    discriminator.zero_grad()
    discriminator_hinge(discriminator(batch), discriminator(codec(batch).images.detach())).backward()
    for weight, gradient in zip(discriminator.parameters(), together, strict=True):
        torch.testing.assert_close(gradient, weight.grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("rounded", [False, True])
def test_a_codec_learns_a_few_pictures(rounded):
    codec, batch = tiny_codec(), discs()
    optimiser = torch.optim.AdamW(codec.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)
    history = []
    for step in range(30):
        with torch.autocast("cpu", torch.bfloat16, enabled=rounded):
            loss, report = codec_step(codec, None, batch, LossWeights(), step, generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(report)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert history[-1]["pixel"] < 0.4 * history[0]["pixel"]


def test_the_players_train_together():
    torch.manual_seed(0)
    codec, discriminator, batch = tiny_codec(), PatchDiscriminator(8), discs()
    players = [*codec.parameters(), *discriminator.parameters()]
    optimiser = torch.optim.AdamW(players, lr=5e-3)
    history = []
    for step in range(25):
        loss, report = codec_step(codec, discriminator, batch, LossWeights(), step, torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(report)
    assert history[-1]["pixel"] < 0.6 * history[0]["pixel"]
    assert history[-1]["discriminator"] < 1.5


@pytest.mark.parametrize("wrong", [{"pixel": -1.0}, {"texture": math.nan}, {"adversarial_start": -5}])
def test_a_wrong_weight_is_refused_by_name(wrong):
    with pytest.raises(RecipeError, match=next(iter(wrong))):
        LossWeights(**wrong)

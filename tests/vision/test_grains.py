"""Grained vision in its two steps: tower features that may be kept, and tokens made of them."""

import pytest
import torch
from tiny import tiny_model

from healthgpt.errors import ModelError

MIXED = ["abstract", "concrete", "concrete", "abstract"]


def vision_and_pixels():
    model, _, variant = tiny_model()
    pixels = torch.randn(len(MIXED), 3, variant.image_size, variant.image_size)
    return model.vision, pixels


def test_tokens_of_features_are_tokens_of_pixels():
    vision, pixels = vision_and_pixels()
    features = vision.features(pixels, MIXED)
    assert features.shape == (4, vision.tower.patches, vision.tower.config.hidden_size)
    assert torch.equal(vision.tokens(features, MIXED), vision(pixels, MIXED))


def test_each_image_is_seen_in_its_own_grain():
    vision, pixels = vision_and_pixels()
    features = vision.features(pixels, MIXED)
    for image, grain in enumerate(MIXED):
        alone = vision.tower(pixels[image : image + 1], vision.hidden_states[grain])
        torch.testing.assert_close(features[image : image + 1], alone, atol=1e-5, rtol=1e-5)


def test_features_carry_no_gradient_and_adapters_learn_from_them():
    vision, pixels = vision_and_pixels()
    features = vision.features(pixels, MIXED)
    assert not features.requires_grad
    vision.tokens(features, MIXED).sum().backward()
    assert all(parameter.grad is not None for parameter in vision.adapters.parameters())
    assert all(parameter.grad is None for parameter in vision.tower.parameters())


def test_one_grain_per_image_and_none_that_the_model_lacks():
    vision, pixels = vision_and_pixels()
    with pytest.raises(ValueError, match="3 grains for 4 images"):
        vision(pixels, MIXED[:3])
    with pytest.raises(ValueError, match="0 grains for 4 images"):
        vision.features(pixels, [])
    del vision.hidden_states["concrete"]
    with pytest.raises(ModelError, match=r"no concrete grain; allowed: abstract"):
        vision.features(pixels, MIXED)


def test_a_merged_grain_is_the_mean_of_its_states_in_one_walk_as_deep_as_needed():
    vision, pixels = vision_and_pixels()
    tower, ran = vision.tower, []
    hooks = [b.register_forward_hook(lambda *_, i=i: ran.append(i)) for i, b in enumerate(tower.clip.encoder.layers)]
    merged = tower(pixels, (1, -2, 0))
    for hook in hooks:
        hook.remove()
    assert ran == [0, 1]
    torch.testing.assert_close(merged, (tower(pixels, 1) + tower(pixels, 2) + tower(pixels, 0)) / 3)
    assert torch.equal(tower(pixels, (-2,)), tower(pixels, -2))


def test_merged_and_plain_grains_in_one_batch():
    model, _, variant = tiny_model(grains={"abstract": (1, 2, 3), "concrete": 1})
    pixels = torch.randn(len(MIXED), 3, variant.image_size, variant.image_size)
    features = model.vision.features(pixels, MIXED)
    for image, state in enumerate([(1, 2, 3), 1, 1, (1, 2, 3)]):
        alone = model.vision.tower(pixels[image : image + 1], state)
        torch.testing.assert_close(features[image : image + 1], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("state", "message"), [((), "no hidden state"), (4, "hidden state 4"), ((1, -5), "state -5")])
def test_states_the_tower_lacks(state, message):
    vision, pixels = vision_and_pixels()
    with pytest.raises(ValueError, match=message):
        vision.tower(pixels, state)

"""Laws of a tower's start: places differ and neighbours are alike, attention products have their shape."""

import pytest
import torch
from tiny import tiny_variant

from healthgpt.model.build import new_tower
from healthgpt.vision.initialise import LOOKING, SAYING, halves, initialise, sine_places


def test_places_differ_and_neighbours_are_alike():
    places = sine_places(16, 32)
    assert places.shape == (256, 32)
    assert places.abs().max() <= 1
    distance = torch.cdist(places, places)
    assert distance.fill_diagonal_(9).min() > 0.1
    assert distance[0, 1] < distance[0, 5]
    assert distance[0, 16] < distance[0, 80]


@pytest.mark.parametrize(("noise", "identity"), [LOOKING, SAYING])
def test_the_factors_give_the_product(noise, identity):
    torch.manual_seed(0)
    left, right = halves(noise, identity, 64, 64)
    product = left @ right.T
    assert product.diagonal().mean() == pytest.approx(identity, abs=0.1)
    away = product - identity * torch.eye(64)
    assert away.std() * 64**0.5 == pytest.approx(noise, rel=0.1)


def test_an_initialised_tower_sees_where_things_are():
    torch.manual_seed(0)
    tower = new_tower(tiny_variant()).eval()
    initialise(tower)
    blank = torch.zeros(1, 3, tower.config.image_size, tower.config.image_size)
    with torch.no_grad():
        states = tower(blank, -2)[0]
    assert torch.isfinite(states).all()
    assert torch.cdist(states, states).fill_diagonal_(9).min() > 0.01

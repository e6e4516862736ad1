"""Laws of the codebook: nearest vector, straight-through gradient, moving averages, restart of dead codes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from healthgpt.errors import ModelError
from healthgpt.vq.codebook import Codebook


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(2, 40), width=st.integers(1, 12), seed=st.integers(0, 10_000))
def test_the_code_is_the_nearest_vector(count, width, seed):
    torch.manual_seed(seed)
    codebook = Codebook(count, width).eval()
    latents = 2 * torch.randn(2, width, 3, 5)
    codes = codebook.nearest(latents)
    points = latents.movedim(1, -1).flatten(0, -2)
    distance = torch.cdist(points, codebook.vectors, compute_mode="donot_use_mm_for_euclid_dist")
    chosen = distance.gather(1, codes.flatten()[:, None])[:, 0]
    assert codes.shape == (2, 3, 5)
    assert codes.dtype == torch.int64
    assert 0 <= codes.min() <= codes.max() < count
    # rounding may swap two vectors that are equally near, never choose a farther one
    torch.testing.assert_close(chosen, distance.min(1).values, atol=1e-4, rtol=1e-4)


def test_looking_up_a_code_and_quantising_it_gives_it_back():
    codebook = Codebook(50, 8).eval()
    codes = torch.arange(50).reshape(2, 5, 5)
    torch.testing.assert_close(codebook.nearest(codebook.lookup(codes)), codes)


def test_the_gradient_passes_straight_through():
    codebook = Codebook(6, 4).eval()
    latents = torch.randn(2, 4, 3, 3, requires_grad=True)
    slope = torch.randn(2, 4, 3, 3)
    quantised = codebook(latents)
    torch.testing.assert_close(quantised.latents, codebook.lookup(quantised.codes))
    (quantised.latents * slope).sum().backward()
    torch.testing.assert_close(latents.grad, slope)


def test_commitment_pulls_latents_towards_their_vectors():
    codebook = Codebook(6, 4).eval()
    latents = torch.randn(1, 4, 2, 2, requires_grad=True)
    quantised = codebook(latents)
    quantised.commitment.backward()
    away = latents.detach() - codebook.lookup(quantised.codes)
    torch.testing.assert_close(quantised.commitment.detach(), away.square().mean())
    torch.testing.assert_close(latents.grad, 2 * away / away.numel())


def test_vectors_settle_on_the_means_of_their_latents():
    centres = torch.tensor([[-4.0, 0.0], [4.0, 0.0], [0.0, 5.0]])
    codebook = Codebook(3, 2, decay=0.8)
    for step in range(80):
        noise = 0.1 * torch.randn(3, 100, 2, generator=seeded(step))
        latents = (centres[:, None] + noise).flatten(0, 1).T.reshape(1, 2, 15, 20)
        codebook(latents, seeded(step))
    found = codebook.vectors[torch.cdist(centres, codebook.vectors).argmin(1)]
    torch.testing.assert_close(found, centres, atol=0.05, rtol=0)


def test_one_update_is_the_moving_average_of_counts_and_sums():
    codebook = Codebook(2, 1, decay=0.75, restart_below=0.0)
    codebook.started.fill_(True)
    codebook.vectors.copy_(torch.tensor([[-1.0], [1.0]]))
    codebook.usage.copy_(torch.tensor([2.0, 2.0]))
    codebook.sums.copy_(torch.tensor([[-2.0], [2.0]]))
    codebook(torch.tensor([[[[-3.0, 1.0], [2.0, 3.0]]]]))
    torch.testing.assert_close(codebook.usage, torch.tensor([0.75 * 2 + 0.25 * 1, 0.75 * 2 + 0.25 * 3]))
    torch.testing.assert_close(codebook.sums[:, 0], torch.tensor([-0.75 * 2 - 0.25 * 3, 0.75 * 2 + 0.25 * 6]))
    torch.testing.assert_close(codebook.vectors, codebook.sums / codebook.usage[:, None])


def test_dead_codes_restart_on_latents_of_the_batch():
    codebook = Codebook(64, 2, decay=0.5)
    codebook.started.fill_(True)
    codebook.vectors.copy_(torch.full((64, 2), 100.0))
    codebook.vectors[0] = 0.0
    codebook.sums.copy_(codebook.vectors)
    before = codebook.eval().nearest(torch.randn(4, 2, 16, 16)).unique().numel()
    codebook.train()
    for step in range(12):
        codebook(torch.randn(4, 2, 16, 16, generator=seeded(step)), seeded(step))
    after = codebook.eval().nearest(torch.randn(4, 2, 16, 16)).unique().numel()
    assert before == 1
    assert after > 55
    assert codebook.vectors.abs().max() < 10


def test_the_first_batch_places_every_vector_even_when_it_is_smaller_than_the_book():
    codebook = Codebook(40, 3)
    codebook(7 + torch.randn(1, 3, 4, 4), seeded())
    assert codebook.started
    assert torch.isfinite(codebook.vectors).all()
    assert (codebook.vectors.mean(1) - 7).abs().max() < 5
    assert codebook.vectors.unique(dim=0).shape[0] == 40


def test_training_is_determined_by_the_generator():
    def trained(seed: int) -> torch.Tensor:
        torch.manual_seed(0)
        codebook = Codebook(32, 4)
        for step in range(5):
            codebook(torch.randn(1, 4, 8, 8, generator=seeded(step)), seeded(seed + step))
        return codebook.vectors

    torch.testing.assert_close(trained(3), trained(3), atol=0, rtol=0)
    assert not torch.equal(trained(3), trained(4))


def test_nothing_moves_outside_training():
    codebook = Codebook(8, 4).eval()
    before = {name: value.clone() for name, value in codebook.state_dict().items()}
    codebook(torch.randn(2, 4, 3, 3))
    for name, value in codebook.state_dict().items():
        torch.testing.assert_close(value, before[name], atol=0, rtol=0)


def test_codes_do_not_depend_on_autocast():
    codebook = Codebook(512, 8).eval()
    latents = torch.randn(2, 8, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = codebook.nearest(latents)
    assert torch.equal(rounded, codebook.nearest(latents))


@pytest.mark.parametrize(("count", "width"), [(1, 4), (0, 4), (8, 0)])
def test_a_book_without_a_choice_is_refused(count, width):
    with pytest.raises(ModelError, match="at least 2 codes"):
        Codebook(count, width)

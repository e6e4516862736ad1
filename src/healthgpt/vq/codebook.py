"""The codebook: nearest-neighbour quantisation whose vectors follow the latents by moving averages.

Vector quantisation with the straight-through gradient and the commitment loss is van den Oord et
al., NeurIPS 2017 (eq. 1 to 3); the moving-average update is its appendix A.1. Codes that fall out of
use are moved onto latents of the current batch, as in Jukebox (Dhariwal et al., 2020, section 3.2).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from healthgpt.errors import ModelError


class Quantised(NamedTuple):
    """What quantisation gives: ``latents`` (B, D, h, w), ``codes`` (B, h, w) int64, scalar ``commitment``."""

    latents: Tensor
    codes: Tensor
    commitment: Tensor


class Codebook(nn.Module):
    """``code_count`` vectors of ``embed_dim`` numbers; not trained by gradient.

    ``decay``: weight of the past in the moving averages. ``restart_below``: a code used less than
    this share of an even use is dead and restarts on a latent of the batch. The arithmetic is always
    in float32: in bfloat16 neighbouring codes could not be told apart.
    """

    vectors: Tensor
    usage: Tensor
    sums: Tensor
    started: Tensor

    def __init__(self, code_count: int, embed_dim: int, decay: float = 0.95, restart_below: float = 0.01) -> None:
        super().__init__()
        if code_count < 2 or embed_dim < 1:
            raise ModelError(
                "a codebook needs vectors to choose from",
                found=f"{code_count} codes of {embed_dim} numbers",
                allowed="at least 2 codes of at least 1 number",
            )
        self.decay = decay
        self.restart_below = restart_below
        self.register_buffer("vectors", torch.randn(code_count, embed_dim))
        self.register_buffer("usage", torch.ones(code_count))
        self.register_buffer("sums", self.vectors.clone())
        self.register_buffer("started", torch.tensor(False))

    @property
    def code_count(self) -> int:
        """Number of codes."""
        return self.vectors.shape[0]

    def nearest(self, latents: Tensor) -> Tensor:
        """The code of the closest vector at each position: (B, D, h, w) -> (B, h, w) int64."""
        with torch.autocast(latents.device.type, enabled=False):
            points = latents.detach().float().movedim(1, -1)  # (B, h, w, D)
            # |x - e|^2 less the |x|^2 that every code shares
            distance = self.vectors.square().sum(1) - 2 * points @ self.vectors.T
        return distance.argmin(-1)

    def lookup(self, codes: Tensor) -> Tensor:
        """The vectors of the codes: (B, h, w) int64 -> (B, D, h, w)."""
        return functional.embedding(codes, self.vectors).movedim(-1, 1)

    def forward(self, latents: Tensor, generator: torch.Generator | None = None) -> Quantised:
        """Quantise (B, D, h, w); in training mode the vectors then move towards what they stood for.

        The gradient passes to ``latents`` as if nothing had been rounded. ``commitment`` is the mean
        squared distance of the latents to their vectors. ``generator`` draws the restarts.
        """
        latents = latents.float()
        points = latents.detach().movedim(1, -1).flatten(0, -2)  # (B*h*w, D)
        if self.training and not self.started:
            self._start(points, generator)
        codes = self.nearest(latents)
        chosen = self.lookup(codes)
        commitment = functional.mse_loss(latents, chosen)
        if self.training:
            self._follow(points, codes.flatten(), generator)
        return Quantised(latents + (chosen - latents).detach(), codes, commitment)

    @torch.no_grad()
    def _start(self, points: Tensor, generator: torch.Generator | None) -> None:
        """Put every vector on a latent of the first batch, so that all codes begin in use."""
        self.vectors.copy_(_drawn(points, self.code_count, generator))
        self.usage.fill_(points.shape[0] / self.code_count)
        self.sums.copy_(self.vectors * self.usage[:, None])
        self.started.fill_(True)

    @torch.no_grad()
    def _follow(self, points: Tensor, codes: Tensor, generator: torch.Generator | None) -> None:
        """Move each vector to the running mean of its latents; restart the dead ones."""
        count = torch.bincount(codes, minlength=self.code_count).float()
        total = torch.zeros_like(self.sums).index_add_(0, codes, points)
        self.usage.lerp_(count, 1 - self.decay)
        self.sums.lerp_(total, 1 - self.decay)
        even = points.shape[0] / self.code_count
        dead = self.usage < self.restart_below * even
        if dead.any():
            self.usage[dead] = even
            self.sums[dead] = even * _drawn(points, int(dead.sum()), generator)
        self.vectors.copy_(self.sums / self.usage[:, None])


def _drawn(points: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """``count`` of the points (N, D), each once while they last, slightly shifted so that none coincide."""
    rounds = -(-count // points.shape[0])
    order = torch.cat(
        [torch.randperm(points.shape[0], generator=generator, device=points.device) for _ in range(rounds)]
    )[:count]
    shift = torch.randn(count, points.shape[1], generator=generator, device=points.device)
    return points[order] + 0.01 * points.std() * shift

"""The loss: cross-entropy on response tokens only, over the joint vocabulary (HealthGPT, eq. 1, 4, 5).

Only positions that predict a response token reach the head: the rest of the prompt is never scored. Where their scores
would take too much memory together they are computed in chunks, and each chunk again in the backward pass.

Shape letters beside those of ``Batch``: N counted positions, D the model's width.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from healthgpt.batch import Batch
from healthgpt.model.fusion import Tables
from healthgpt.model.healthgpt import HealthGPTModel
from healthgpt.tokens import IGNORED

SCORES = 2**25
"""Scores computed together: 128 MiB in float32, of which the backward pass holds a few copies."""


class ResponseLoss(nn.Module):
    """The loss of a batch row by row, to be weighed by whoever adds up batches.

    ``packed_to``: the blocks see the rows end to end, in sequences of at most so many positions; None: padded.
    """

    def __init__(self, model: HealthGPTModel, packed_to: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.packed_to = packed_to

    def forward(self, batch: Batch) -> torch.Tensor:
        """(B,) float32: the sum of the cross-entropy over each row's response tokens, 0 for a row without any.

        ValueError for a batch without labels, or with rows that ``HealthGPTModel.hidden`` does not pack.
        """
        losses_BT, _ = _token_losses(self.model, batch, self.packed_to)
        return losses_BT.sum(dim=1)


def response_loss(model: HealthGPTModel, batch: Batch, *, responses_alike: bool = False) -> tuple[torch.Tensor, int]:
    """Mean loss over the batch's response tokens, and how many there are; ValueError for a batch without labels.

    ``responses_alike``: the mean over responses of each one's mean over its tokens, so that a long report in a
    conversation does not drown the one-word answers beside it.
    """
    losses_BT, counted_BT = _token_losses(model, batch, None)
    losses_N = losses_BT[counted_BT]
    if responses_alike:
        losses_N = losses_N * _share_of_response(counted_BT) * len(losses_N)
    return losses_N.mean(), len(losses_N)


def _token_losses(model: HealthGPTModel, batch: Batch, packed_to: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, T) each: float32 loss of the token that follows a position, 0 where it is not counted; and where it is."""
    if batch.labels_BT is None:
        raise ValueError("a batch without labels has no loss")
    targets_BT = F.pad(batch.labels_BT[:, 1:], (0, 1), value=IGNORED)
    counted_BT = targets_BT != IGNORED
    places_of = {}  # found before the model runs, as a GPU is waited for
    for family in dict.fromkeys(batch.families):
        own_B = torch.tensor([one == family for one in batch.families], device=counted_BT.device)
        places_of[family] = (counted_BT & own_B.unsqueeze(1)).flatten().nonzero().squeeze(1)
    mask_BT = None if packed_to is None else batch.mask_BT
    hidden_BTD = model.hidden(model.embed(batch), batch.tasks, mask_BT=mask_BT, packed_to=packed_to)
    losses = torch.zeros(targets_BT.numel(), dtype=torch.float32, device=hidden_BTD.device)
    for family, places_N in places_of.items():
        hidden_ND = hidden_BTD.flatten(0, 1).index_select(0, places_N)
        losses_N = _cross_entropy(model.fusion.tables(family), hidden_ND, targets_BT.flatten()[places_N])
        losses = losses.index_copy(0, places_N, losses_N)
    return losses.view_as(targets_BT), counted_BT


def _cross_entropy(tables: Tables, hidden_ND: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
    """(N,) float32, with at most ``SCORES`` scores at a time; what is not computed at once is not kept either."""

    def scored(hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(tables.score(hidden).float(), targets, reduction="none")

    chunk = max(1, SCORES // (len(tables.text_head) + len(tables.image_head)))
    if len(targets_N) <= chunk:
        return scored(hidden_ND, targets_N)
    parts = zip(hidden_ND.split(chunk), targets_N.split(chunk), strict=True)
    return torch.cat([checkpoint(scored, *part, use_reentrant=False, preserve_rng_state=False) for part in parts])


def _share_of_response(counted_BT: torch.Tensor) -> torch.Tensor:
    """For each counted token one over (its response's tokens times the number of responses); they sum to 1."""
    starts = counted_BT.clone()
    starts[:, 1:] &= ~counted_BT[:, :-1]
    response = starts.flatten().cumsum(0)[counted_BT.flatten()] - 1
    tokens = response.bincount()
    return 1 / (tokens[response] * len(tokens))

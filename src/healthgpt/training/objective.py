"""The loss: cross-entropy on response tokens only, over the joint vocabulary (HealthGPT, eq. 1, 4, 5)."""

import torch
import torch.nn.functional as F

from healthgpt.batch import Batch
from healthgpt.model.healthgpt import HealthGPTModel
from healthgpt.tokens import IGNORED


def response_loss(model: HealthGPTModel, batch: Batch, *, responses_alike: bool = False) -> tuple[torch.Tensor, int]:
    """Mean loss over the batch's response tokens, and how many there are.

    Only positions that predict a response token reach the head: the rest of the prompt is never scored.
    ``responses_alike``: the mean over responses of each one's mean over its tokens, so that a long report in a
    conversation does not drown the one-word answers beside it.
    """
    if batch.labels_BT is None:
        raise ValueError("a batch without labels has no loss")
    hidden_BTD = model.hidden(model.embed(batch), batch.tasks)
    targets = batch.labels_BT[:, 1:]
    counted = targets != IGNORED
    tasks = [task for task, count in zip(batch.tasks, counted.sum(1).tolist(), strict=True) for _ in range(count)]
    logits = model.fusion.logits(hidden_BTD[:, :-1][counted], tasks)
    losses = F.cross_entropy(logits.float(), targets[counted], reduction="none")
    if responses_alike:
        losses = losses * _share_of_response(counted) * len(losses)
    return losses.mean(), len(losses)


def _share_of_response(counted_BT: torch.Tensor) -> torch.Tensor:
    """For each counted token one over (its response's tokens times the number of responses); they sum to 1."""
    starts = counted_BT.clone()
    starts[:, 1:] &= ~counted_BT[:, :-1]
    response = starts.flatten().cumsum(0)[counted_BT.flatten()] - 1
    tokens = response.bincount()
    return 1 / (tokens[response] * len(tokens))

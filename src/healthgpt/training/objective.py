"""The loss: cross-entropy on response tokens only, over the joint vocabulary (HealthGPT, eq. 1, 4, 5)."""

import torch
import torch.nn.functional as F

from healthgpt.batch import Batch
from healthgpt.model.healthgpt import HealthGPTModel
from healthgpt.tokens import IGNORED


def response_loss(model: HealthGPTModel, batch: Batch) -> tuple[torch.Tensor, int]:
    """Mean loss over the batch's response tokens, and how many there are.

    Only positions that predict a response token reach the head: the rest of the prompt is never scored.
    """
    if batch.labels_BT is None:
        raise ValueError("a batch without labels has no loss")
    hidden_BTD = model.hidden(model.embed(batch), batch.tasks)
    targets = batch.labels_BT[:, 1:]
    counted = targets != IGNORED
    tasks = [task for task, count in zip(batch.tasks, counted.sum(1).tolist(), strict=True) for _ in range(count)]
    logits = model.fusion.logits(hidden_BTD[:, :-1][counted], tasks)
    return F.cross_entropy(logits.float(), targets[counted]), int(counted.sum())

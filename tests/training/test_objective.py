"""The loss: the mean over response tokens, or over responses so that a long one weighs no more than a short one."""

import torch
import torch.nn.functional as F
from tiny import tiny_model

from healthgpt.data.collate import right_padded
from healthgpt.tokens import IGNORED
from healthgpt.training.objective import response_loss
from healthgpt.vision.preprocess import Preprocessing

TURNS = [("is there a nodule in the left lung", "no"), ("describe this image", "a chest x-ray with a large heart")]


def losses_by_response(model, batch):
    """Every response's token losses, found by walking the labels one by one."""
    logits = model.fusion.logits(model.hidden(model.embed(batch), batch.tasks), batch.tasks)
    found: list[list[torch.Tensor]] = []
    for row, labels in enumerate(batch.labels_BT.tolist()):
        for position, label in enumerate(labels):
            if label == IGNORED:
                continue
            if labels[position - 1] == IGNORED:
                found.append([])
            found[-1].append(F.cross_entropy(logits[row, position - 1], torch.tensor(label)))
    return [torch.stack(one) for one in found]


@torch.inference_mode()
def test_tokens_alike_or_responses_alike():
    model, builder, variant = tiny_model()
    prompts = [builder.reading(TURNS, has_image=False), builder.reading(TURNS[:1], has_image=False)]
    batch = right_padded(prompts, ["x-ray", "ct"], [None, None], Preprocessing(size=variant.image_size))
    parts = losses_by_response(model, batch)
    assert len(parts) == 3
    assert len({len(part) for part in parts}) == 2
    by_token, count = response_loss(model, batch)
    torch.testing.assert_close(by_token, torch.cat(parts).mean())
    assert count == sum(len(part) for part in parts)
    by_response, _ = response_loss(model, batch, responses_alike=True)
    torch.testing.assert_close(by_response, torch.stack([part.mean() for part in parts]).mean())
    assert abs(by_response - by_token) > 1e-3

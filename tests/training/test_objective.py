"""The loss: by row, or the mean over response tokens, or over responses so that a long one weighs no more."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import tiny_model

from healthgpt.data.collate import right_padded
from healthgpt.model.fusion import Fusion
from healthgpt.tokens import IGNORED
from healthgpt.training import objective
from healthgpt.training.objective import ResponseLoss, response_loss
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


def mixed(apart=()):
    """A model in which all but the tower learns, and a batch of reading and drawing rows, one without a response."""
    model, builder, variant = tiny_model()
    shared = model.fusion
    model.fusion = Fusion(shared.layout, variant.hidden_size, variant.grid, apart)
    model.fusion.load_state_dict(shared.state_dict(), strict=False)
    prompts = [
        builder.reading(TURNS, has_image=False),
        builder.drawing("a large heart", has_image=False, codes=[5, 6, 7, 8]),
        builder.reading([(TURNS[0][0], None)], has_image=False),
        builder.reading(TURNS[:1], has_image=False),
        builder.drawing("a chest x-ray", has_image=False, codes=[1, 2, 3, 4]),
    ]
    tasks = ["x-ray", "report-to-cxr", "other", "ct", "report-to-cxr"]
    batch = right_padded(prompts, tasks, [None] * len(tasks), Preprocessing(size=variant.image_size))
    return model, batch


def value_and_gradients(model, compute):
    model.zero_grad()
    value = compute()
    value.sum().backward()
    return value.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_alike(ours, theirs):
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-5, rtol=1e-5)
    assert ours[1].keys() == theirs[1].keys()
    for name, gradient in theirs[1].items():
        torch.testing.assert_close(ours[1][name], gradient, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("apart", [(), ("comprehension",)])
def test_rows_add_up_to_the_mean(apart):
    model, batch = mixed(apart)
    by_row = ResponseLoss(model)(batch)
    expected = {row: 0.0 for row in range(len(batch.tasks))}
    logits = model.fusion.logits(model.hidden(model.embed(batch), batch.tasks), batch.tasks)
    for row, position in (batch.labels_BT != IGNORED).nonzero().tolist():
        expected[row] += F.cross_entropy(logits[row, position - 1], batch.labels_BT[row, position]).item()
    torch.testing.assert_close(by_row, torch.tensor(list(expected.values())), atol=1e-4, rtol=1e-5)
    assert by_row.dtype == torch.float32
    assert by_row[2] == 0
    mean, count = response_loss(model, batch)
    torch.testing.assert_close(by_row.sum() / count, mean)


def test_packed_rows_have_the_same_loss_and_gradient():
    model, batch = mixed()
    padded = value_and_gradients(model, lambda: ResponseLoss(model)(batch))
    assert any("adapters.generation" in name for name in padded[1])
    assert "fusion.image_head" in padded[1]
    assert_alike(value_and_gradients(model, lambda: ResponseLoss(model, packed_to=64)(batch)), padded)


@pytest.mark.parametrize("apart", [(), ("comprehension",)])
def test_chunks_of_scores_change_neither_loss_nor_gradient(monkeypatch, apart):
    model, batch = mixed(apart)
    whole = value_and_gradients(model, lambda: ResponseLoss(model)(batch))
    scored = []
    score = objective.Tables.score
    monkeypatch.setattr(objective.Tables, "score", lambda self, rows: scored.append(len(rows)) or score(self, rows))
    monkeypatch.setattr(objective, "SCORES", 3 * model.fusion.layout.total)
    assert_alike(value_and_gradients(model, lambda: ResponseLoss(model)(batch)), whole)
    counted = int((batch.labels_BT != IGNORED).sum())
    assert max(scored) == 3
    assert sum(scored) == 2 * counted  # forwards, and again backwards


def test_a_batch_without_responses_has_no_loss_to_learn_from():
    model, batch = mixed()
    silent = replace(batch, labels_BT=torch.full_like(batch.labels_BT, IGNORED))
    value, gradients = value_and_gradients(model, lambda: ResponseLoss(model)(silent))
    assert torch.equal(value, torch.zeros(len(batch.tasks)))
    assert all(gradient.eq(0).all() for gradient in gradients.values())
    with pytest.raises(ValueError, match="without labels"):
        ResponseLoss(model)(replace(batch, labels_BT=None))

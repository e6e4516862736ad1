"""Laws of decoding: cached equals uncached, mixed equals apart, only legal ids, seeds decide."""

import pytest
import torch
from tiny import tiny_model

from healthgpt.inference.decode import Ask, decode
from healthgpt.inference.sampling import Sampling, choose

STOP = frozenset({1})


def asks_for(builder, variant, sampling=None):
    sampling = sampling or Sampling()
    torch.manual_seed(7)
    picture = torch.randn(3, variant.image_size, variant.image_size)
    codes = variant.grid**2
    return [
        Ask(builder.reading([("is there a nodule", None)], has_image=True), "ct", picture, sampling, 6),
        Ask(builder.drawing("turn this ct into an mri", has_image=True), "ct-to-mri", picture, sampling, codes),
        Ask(builder.reading([("how many", None)], has_image=False), "x-ray", None, sampling, 9),
        Ask(builder.drawing("a large heart", has_image=False), "report-to-cxr", None, sampling, codes),
    ]


def test_mixed_batch_equals_rows_apart():
    model, builder, variant = tiny_model()
    asks = asks_for(builder, variant)
    together = decode(model, asks, STOP)
    apart = [decode(model, [ask], STOP)[0] for ask in asks]
    assert [u.ids for u in together] == [u.ids for u in apart]
    for one, other in zip(together, apart, strict=True):
        assert one.log_probabilities == pytest.approx(other.log_probabilities, abs=1e-4)


def test_cached_equals_uncached():
    model, builder, variant = tiny_model()
    for ask in asks_for(builder, variant):
        utterance = decode(model, [ask], STOP)[0]
        ids = list(ask.prompt.ids)
        from healthgpt.inference.decode import left_padded

        for emitted in utterance.ids:
            prompt = type(ask.prompt)(ids, [], ask.prompt.instruction + [False] * (len(ids) - len(ask.prompt)))
            batch = left_padded([Ask(prompt, ask.task, ask.pixels_3SS, ask.sampling, 1)])
            with torch.no_grad():
                logits = model(batch)[0, -1]
            layout = builder.layout
            legal = logits[: layout.text_size] if utterance.alphabet == "words" else logits[layout.first_code :]
            offset = 0 if utterance.alphabet == "words" else layout.first_code
            if utterance.alphabet == "codes":
                legal = legal[: layout.code_count]
            assert int(legal.argmax()) + offset == emitted
            ids.append(emitted)


def test_pictures_are_exactly_height_times_width_legal_codes():
    model, builder, variant = tiny_model(3)
    sampling = Sampling(temperature=5.0, seed=11)
    for utterance in decode(model, asks_for(builder, variant, sampling), STOP):
        if utterance.alphabet == "codes":
            codes = utterance.codes(builder.layout)
            assert len(codes) == variant.grid**2
            assert all(0 <= code < variant.code_count for code in codes)
        else:
            assert all(0 <= token < variant.text_size for token in utterance.ids)


def test_same_seed_same_answer_other_seed_other_answer():
    model, builder, variant = tiny_model()

    def run(seed):
        rows = asks_for(builder, variant, Sampling(temperature=2.0, seed=seed))
        return [u.ids for u in decode(model, rows, STOP)]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_top_k_and_top_p_cut_the_tail():
    logits = torch.tensor([3.0, 2.0, 1.0, -4.0])
    generator = torch.Generator().manual_seed(0)
    draws = {choose(logits, Sampling(temperature=5.0, top_k=2), generator) for _ in range(200)}
    assert draws == {0, 1}
    assert {choose(logits, Sampling(temperature=1.0, top_p=0.3), generator) for _ in range(50)} == {0}
    assert len({choose(logits, Sampling(temperature=9.0), generator) for _ in range(300)}) == 4

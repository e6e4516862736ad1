"""Laws of decoding: cached equals uncached, mixed equals apart, only legal ids, seeds decide."""

from dataclasses import replace

import pytest
import torch
from tiny import tiny_model

from healthgpt.errors import InputError
from healthgpt.inference.decode import Ask, decode, left_padded
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


def guided_asks(builder, variant, guidance):
    codes = variant.grid**2
    prompt, wordless = (builder.drawing(words, has_image=False) for words in ("draw a large heart", "draw"))
    return [Ask(prompt, "report-to-cxr", None, Sampling(guidance=guidance), codes, wordless)]


def test_guidance_of_one_changes_nothing_and_of_zero_does_not_read_the_words():
    model, builder, variant = tiny_model(3)
    (ask,) = guided_asks(builder, variant, 1.0)
    plain = decode(model, [replace(ask, wordless=None)], STOP)[0]
    wordless = decode(model, [replace(ask, prompt=ask.wordless, wordless=None)], STOP)[0]
    assert plain.log_probabilities != pytest.approx(wordless.log_probabilities, abs=1e-3)
    for guidance, same in ((1.0, plain), (0.0, wordless)):
        guided = decode(model, guided_asks(builder, variant, guidance), STOP)[0]
        assert guided.ids == same.ids
        assert guided.log_probabilities == pytest.approx(same.log_probabilities, abs=1e-5)


def test_guidance_counts_what_the_words_change_so_many_times():
    model, builder, variant = tiny_model(3)
    layout = builder.layout
    (ask,) = guided_asks(builder, variant, 3.0)
    drawn: list[int] = []
    utterance = decode(model, [ask], STOP)[0]
    for emitted, log_probability in zip(utterance.ids, utterance.log_probabilities, strict=False):
        scores = []
        for start in (ask.prompt, ask.wordless):
            prompt = type(start)(start.ids + drawn, [], start.instruction + [False] * len(drawn))
            with torch.no_grad():
                logits = model(left_padded([Ask(prompt, ask.task, None, ask.sampling, 1)]))[0, -1]
            scores.append(logits[layout.first_code : layout.first_code + layout.code_count].log_softmax(0))
        guided = scores[1] + 3.0 * (scores[0] - scores[1])
        assert int(guided.argmax()) + layout.first_code == emitted
        assert float(guided.log_softmax(0).max()) == pytest.approx(log_probability, abs=1e-4)
        drawn.append(emitted)


def test_guided_rows_beside_others_equal_guided_rows_apart():
    model, builder, variant = tiny_model(3)
    asks = [*guided_asks(builder, variant, 2.0), *asks_for(builder, variant), *guided_asks(builder, variant, 4.0)]
    together = decode(model, asks, STOP)
    for ask, utterance in zip(asks, together, strict=True):
        apart = decode(model, [ask], STOP)[0]
        assert utterance.ids == apart.ids
        assert utterance.log_probabilities == pytest.approx(apart.log_probabilities, abs=1e-4)
    assert together[0].log_probabilities != pytest.approx(together[-1].log_probabilities, abs=1e-3)


@pytest.mark.parametrize("guidance", [-0.1, 20.5])
def test_guidance_out_of_range_is_refused(guidance):
    with pytest.raises(InputError, match="--guidance is out of range"):
        Sampling(guidance=guidance)

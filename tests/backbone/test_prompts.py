"""Prompts: templates byte-exact, image positions, loss on responses only, one context limit."""

import json
from pathlib import Path

import pytest
from tiny import tiny_model

from healthgpt.backbone.prompts import TEMPLATES, template_named
from healthgpt.errors import ModelError, QuestionError
from healthgpt.tokens import IGNORED, IMAGE_SLOT, TokenLayout

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "golden" / "templates.json"


@pytest.mark.parametrize("name", ["phi3_instruct", "phi4_instruct", "qwen_2"])
def test_published_templates_are_byte_exact(name):
    if not GOLDEN.is_file():
        pytest.skip("the golden templates (shared/golden) are not beside this checkout")
    golden = json.loads(GOLDEN.read_text())
    template = TEMPLATES[name]
    text = json.dumps(golden, ensure_ascii=False)
    question = "QUESTION-HERE"
    ours = template.opening + template.user + question + template.assistant
    head, tail = ours.split(question)
    assert json.dumps(head, ensure_ascii=False)[1:-1] in text
    assert json.dumps(tail, ensure_ascii=False)[1:-1] in text


def test_reading_prompt_learns_answers_only():
    _, builder, variant = tiny_model()
    prompt = builder.reading([("is there a nodule", "no"), ("how many cells", "yes")], has_image=True)
    assert prompt.ids.count(IMAGE_SLOT) == variant.image_tokens
    learned = [token for token, label in zip(prompt.ids, prompt.labels, strict=True) if label != IGNORED]
    assert builder.tokenizer.decode(learned) == " no<|end|> yes<|end|>"
    assert all(label in (IGNORED, token) for token, label in zip(prompt.ids, prompt.labels, strict=True))


def test_an_unanswered_turn_ends_where_the_answer_begins():
    _, builder, _ = tiny_model()
    asked = builder.reading([("how many cells", None)], has_image=False)
    answered = builder.reading([("how many cells", "yes")], has_image=False)
    assert answered.ids[: len(asked)] == asked.ids
    assert all(label == IGNORED for label in asked.labels)


def test_drawing_prompt_ends_in_start_then_codes_then_end():
    _, builder, variant = tiny_model()
    codes = list(range(variant.grid**2))
    prompt = builder.drawing("turn this ct into an mri", has_image=True, codes=codes)
    layout = builder.layout
    tail = prompt.ids[-len(codes) - 2 :]
    assert tail[0] == layout.start
    assert [layout.code(token) for token in tail[1:-1]] == codes
    assert tail[-1] == layout.end
    assert prompt.labels[-len(codes) - 2] == IGNORED


def test_visual_token_and_code_are_a_constant_distance_apart():
    _, builder, variant = tiny_model()
    distances = set()
    for words in ("turn this ct into an mri", "describe this image with many more words than that"):
        prompt = builder.drawing(words, has_image=True, codes=[0] * variant.grid**2)
        distances.add(prompt.ids.index(builder.layout.start) - prompt.ids.index(IMAGE_SLOT))
    assert len(distances) == 1


def test_a_question_longer_than_the_context_is_refused():
    _, builder, _ = tiny_model()
    with pytest.raises(QuestionError, match="does not fit the model's context"):
        builder.reading([("nodule " * 200, None)], has_image=True)


def test_unknown_template_names_the_closest():
    with pytest.raises(ModelError, match="did you mean 'phi3_instruct'"):
        template_named("phi3-instruct")


def test_layout_order_is_start_codes_end_newline():
    layout = TokenLayout(text_size=32_011, code_count=8192)  # M3, as released
    assert (layout.start, layout.first_code, layout.end, layout.newline, layout.total) == (
        32_011, 32_012, 40_204, 40_205, 40_206,
    )  # fmt: skip
    with pytest.raises(ValueError, match="is not a code"):
        layout.code(layout.end)

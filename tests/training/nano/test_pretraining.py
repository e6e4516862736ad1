"""Pre-training of tower and codec: rivals are wrong answers, images are judged alone, shares of a batch are obeyed."""

import numpy as np
import pytest
import torch
from tiny import tiny_variant

from healthgpt.data.dataset import Drawing, Examples, Reading
from healthgpt.model.build import new_tower
from healthgpt.record import Provenance, Record
from healthgpt.training.nano.pretrain_codec import group_shares, image_groups
from healthgpt.training.nano.pretrain_language import train_tokenizer
from healthgpt.training.nano.pretrain_teacher import Teacher
from healthgpt.training.nano.pretrain_tower import Pairing, Pupil
from healthgpt.training.nano.statements import QUESTIONS, RIVALS, Quiz, Rivals, told_loss


def record(task, question, response, source="vl-phantom", **more):
    origin = Provenance(source=source, licence="none", original_id="1", group="1")
    return Record(
        id=f"{task}-{question}-{response}", task=task, instruction=question, response=response, split="train",
        provenance=origin, **more,
    )  # fmt: skip


SIDES = [Reading("ct", n, (record("ct", "Which side?", side),)) for n, side in enumerate(("left", "right", "both"))]
CHOICE = Reading("ct", 3, (record("ct", "Which side? Options: A. left B. right", "left", options=("left", "right")),))
ALONE = Reading("ct", 4, (record("ct", "What is this called?", "a phantom"),))


def test_the_right_answer_leads_and_rivals_are_other_answers_to_the_same_question():
    rivals = Rivals([*SIDES, CHOICE, ALONE])
    for reading in (SIDES[0], CHOICE):
        ((question, (right, *wrong)),) = rivals.choices(reading, np.random.default_rng(0), QUESTIONS)
        assert (question, right) == ("Which side?", "left")
        assert sorted(wrong) == ["both", "right"]


def test_a_question_with_one_answer_everywhere_is_not_asked():
    assert Rivals([*SIDES, ALONE]).choices(ALONE, np.random.default_rng(0), QUESTIONS) == []


def test_questions_and_rivals_are_bounded():
    answers = [str(number) for number in range(9)]
    readings = [Reading("ct", 0, tuple(record("ct", f"q{q}", answer) for q in range(9))) for answer in answers]
    drawn = Rivals(readings).choices(readings[0], np.random.default_rng(0), QUESTIONS)
    assert len(drawn) == QUESTIONS
    assert all(len(choices) == len(set(choices)) == 1 + RIVALS for _, choices in drawn)


def quiz(variant):
    """Three questions about each of two images; the last question of the second has one rival less."""
    answers = torch.randint(0, 8, (2, 3, 4))
    answers[1, 2, 3] = -1
    return Quiz(torch.randint(1, variant.text_size, (8, 5)), torch.randint(0, 8, (2, 3)), answers)


def teacher_of(variant, statements=8):
    return Teacher(variant.vision_width, variant.image_size // variant.patch_size, statements).eval()


def test_support_of_an_image_depends_on_its_own_patches_alone():
    variant = tiny_variant()
    torch.manual_seed(0)
    pixels, asked = torch.randn(2, 3, variant.image_size, variant.image_size), quiz(variant)
    own = Quiz(asked.texts_TL, asked.questions_NQ[:1], asked.answers_NQC[:1])
    pairing = Pairing(new_tower(variant), variant.vision_width, variant.text_size).eval()
    teacher = teacher_of(variant)
    with torch.no_grad():
        said = pairing.read(asked.texts_TL)
        both = pairing.inquiry.support(pairing.see(pixels)[1], said, asked)
        torch.testing.assert_close(both[:1], pairing.inquiry.support(pairing.see(pixels[:1])[1], said, own))
        both = teacher.support(teacher.see(pixels), asked.answers_NQC)
        torch.testing.assert_close(both[:1], teacher.support(teacher.see(pixels[:1]), own.answers_NQC))


def test_a_pupil_is_measured_in_the_teachers_shape_and_learns_what_only_reading_sees():
    variant = tiny_variant()
    pupil, teacher = Pupil(new_tower(variant), variant.vision_width), teacher_of(variant)
    pixels = torch.randn(2, 3, variant.image_size, variant.image_size)
    shown, seen = teacher.see(pixels), pupil.see(pixels)
    assert shown.shape == seen.shape == (2, variant.image_tokens, variant.vision_width)
    for states in (shown, seen):
        torch.testing.assert_close(states.std(-1, correction=0), torch.ones(states.shape[:2]), atol=1e-2, rtol=0)
    layers = {name.split(".")[4] for name in pupil.learned() if name.startswith("tower.")}
    assert layers == {str(index) for index in range(1, variant.vision_layers - 1)}
    assert not [name for name in pupil.learned() if "embeddings" in name]


def test_statements_are_questions_with_the_answers_they_have():
    rivals = Rivals([*SIDES, CHOICE, ALONE])
    assert set(rivals.statements) == {("which side?", side) for side in ("left", "right", "both")}
    claims = rivals.claims([SIDES[1], ALONE], np.random.default_rng(0), "cpu", 2)
    assert claims.shape == (2, 2, 1 + RIVALS)
    assert claims[0, 0, 0] == rivals.statements["which side?", "right"]
    assert sorted(claims[0, 0].tolist()) == [-1, 0, 1, 2]
    assert (claims[0, 1] == -1).all()
    assert (claims[1] == -1).all()


def test_the_told_loss_counts_questions_that_were_asked():
    answers = torch.tensor([[[0, 1, -1], [-1, -1, -1]]])
    loss, right = told_loss(torch.tensor([[[2.0, 0.0, 9.0], [5.0, 6.0, 7.0]]]), answers)
    assert right == 1.0
    assert float(loss) == pytest.approx(float(np.log1p(np.exp(-2.0))))
    assert float(told_loss(torch.ones(1, 1, 3), torch.full((1, 1, 3), -1))[0]) == 0.0


def test_padding_does_not_change_a_text():
    variant = tiny_variant()
    model = Pairing(new_tower(variant), variant.vision_width, variant.text_size).eval()
    ids = torch.randint(1, variant.text_size, (1, 4))
    padded = torch.cat([ids, torch.zeros(1, 3, dtype=torch.long)], 1)
    with torch.no_grad():
        torch.testing.assert_close(model.read(ids), model.read(padded), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("drawn", "colour"), [(0.0, 0.0), (0.6, 0.0), (0.6, 0.4)])
def test_shares_of_a_codec_batch(drawn, colour):
    grey, tinted = np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.uint8)
    examples = Examples(
        images=[grey, tinted, grey, tinted],
        readings=[Reading("ct", 0, (record("ct", "q", "a"),)), Reading("fundus", 1, (record("fundus", "q", "a"),))],
        drawings=[
            Drawing("ct-to-mri", 0, 2, record("ct-to-mri", "draw", "", target_image="x")),
            Drawing("reconstruct", 1, 3, record("reconstruct", "draw", "", target_image="x")),
        ],
    )
    groups = image_groups(examples)
    shares = dict(zip(groups, group_shares(examples, groups, drawn, colour), strict=True))
    assert sum(shares.values()) == pytest.approx(1)
    if colour:
        assert sum(s for name, s in shares.items() if "fundus" in name or "reconstruct" in name) == pytest.approx(0.4)
    elif drawn:
        assert sum(s for name, s in shares.items() if name.startswith("to draw")) == pytest.approx(0.6)
    else:
        assert len(set(shares.values())) == 1


def test_decoded_text_has_the_blanks_of_the_text():
    texts = ["t1-weighted", "there are 12 cells, 3 of them dark", "covid-19", "0.5 to 1.2", "2", "a flair mri"]
    tokenizer = train_tokenizer(iter(texts * 4), 320)
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)).strip() == text

"""Pre-training of tower and codec: rivals are wrong answers, questions see patches, shares of a batch are obeyed."""

import numpy as np
import pytest
import torch
from tiny import tiny_variant

from healthgpt.data.dataset import Drawing, Examples, Reading
from healthgpt.model.build import new_tower
from healthgpt.record import Provenance, Record
from healthgpt.training.pretrain_codec import group_shares, image_groups
from healthgpt.training.pretrain_tower import QUESTIONS, RIVALS, Pairing, Rivals


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
        ((question, (right, *wrong)),) = rivals.choices(reading, np.random.default_rng(0))
        assert (question, right) == ("Which side?", "left")
        assert sorted(wrong) == ["both", "right"]


def test_a_question_with_one_answer_everywhere_is_not_asked():
    assert Rivals([*SIDES, ALONE]).choices(ALONE, np.random.default_rng(0)) == []


def test_questions_and_rivals_are_bounded():
    answers = [str(number) for number in range(9)]
    readings = [Reading("ct", 0, tuple(record("ct", f"q{q}", answer) for q in range(9))) for answer in answers]
    drawn = Rivals(readings).choices(readings[0], np.random.default_rng(0))
    assert len(drawn) == QUESTIONS
    assert all(len(choices) == len(set(choices)) == 1 + RIVALS for _, choices in drawn)


def test_support_of_an_image_depends_on_its_own_patches_alone():
    variant = tiny_variant()
    torch.manual_seed(0)
    model = Pairing(new_tower(variant), variant.vision_width, variant.text_size).eval()
    pixels = torch.randn(2, 3, variant.image_size, variant.image_size)
    questions = model.read(torch.randint(1, variant.text_size, (6, 5))).view(2, 3, -1)
    answers = model.read(torch.randint(1, variant.text_size, (24, 2))).view(2, 3, 4, -1)
    with torch.no_grad():
        both = model.support(model.see(pixels)[1], questions, answers)
        first = model.support(model.see(pixels[:1])[1], questions[:1], answers[:1])
    torch.testing.assert_close(both[:1], first)


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

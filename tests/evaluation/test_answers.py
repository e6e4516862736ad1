"""Scoring rules for words: normalisation, letters of options, the majority's guess."""

import pytest

from healthgpt.evaluation.answers import Majority, is_closed, is_right, normalised, rates
from healthgpt.record import Provenance, Record

ORIGIN = Provenance(source="vl-phantom", licence="none", original_id="0", group="0")


def record(question, answer, options=(), kind="presence", task="ct"):
    return Record(
        id="0", task=task, instruction=question, response=answer, options=options, kind=kind, split="test",
        provenance=ORIGIN,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "plain"), [("  Yes. ", "yes"), ("X-Ray!", "x-ray"), ("Left,  lung", "left lung"), ("", "")]
)
def test_normalised(said, plain):
    assert normalised(said) == plain


def test_choices_and_yes_no_are_closed_others_open():
    assert is_closed(record("which side", "left", ("left", "right")))
    assert is_closed(record("is there", "No"))
    assert not is_closed(record("how many", "3"))


def test_a_choice_may_be_answered_by_its_letter_only():
    choice = record("which side", "right", ("left", "right"))
    assert is_right(choice, "Right.")
    assert is_right(choice, "B")
    assert not is_right(choice, "A")
    assert not is_right(record("which side", "right"), "B")


def test_majority_knows_words_first_then_kind_and_obeys_options():
    training = [record("is it wide?", "yes")] * 3 + [record("is it wide?", "no")] + [record("is it red?", "no")] * 5
    guess = Majority(training)
    assert guess.answer(record("is it wide?", "no")) == "yes"
    assert guess.answer(record("is it never seen?", "yes")) == "no"
    sides = Majority([record("side", "left")] * 2 + [record("side", "right")])
    assert sides.answer(record("side", "right", ("right", "both"))) == "right"


def test_rates_count_both_forms_apart():
    records = [record("is there", "yes"), record("is there", "no"), record("how many", "3", kind="count")]
    assert rates(records, ["yes", "yes", "3"]) == {
        "closed_accuracy": 50.0, "open_exact_match": 100.0, "closed_questions": 2, "open_questions": 1,
    }  # fmt: skip

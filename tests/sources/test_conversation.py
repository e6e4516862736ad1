"""Conversations become exchanges; what does not alternate is refused with the reason."""

from typing import Any

import pytest

from healthgpt.sources.conversation import exchanges, image_names, told_apart
from healthgpt.sources.entry import BadRowError


def talk(*words: str, first: str = "human") -> list[dict[str, str]]:
    """Alternating turns."""
    speakers = ("human", "gpt") if first == "human" else ("gpt", "human")
    return [{"from": speakers[number % 2], "value": word} for number, word in enumerate(words)]


def test_every_human_turn_goes_with_the_answer_behind_it() -> None:
    assert exchanges(talk("<image>\nWhat is it?", "A heart.", "Is it large?", "")) == [
        ("<image>\nWhat is it?", "A heart."),
        ("Is it large?", ""),
    ]


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        (None, "the conversation is missing"),
        ("hello", "the conversation is not a list"),
        ([], "the conversation is empty"),
        (talk("a", "b", first="gpt"), "the conversation begins with gpt"),
        (talk("a"), "the last question has no answer"),
        (talk("a", "b", "c"), "the last question has no answer"),
        (talk("a") + talk("b"), "two turns of human in a row"),
        (talk("a", "b") + talk("c", first="gpt"), "two turns of gpt in a row"),
        ([{"from": "system", "value": "a"}], "a turn of neither human nor gpt"),
        (["a", "b"], "a turn of neither human nor gpt"),
        ([{"from": "human"}, {"from": "gpt", "value": "b"}], "a turn without text"),
        ([{"from": "human", "value": 1}, {"from": "gpt", "value": "b"}], "a turn that is not text"),
    ],
)
def test_disorder_is_refused(turns: Any, reason: str) -> None:
    with pytest.raises(BadRowError, match=f"^{reason}$"):
        exchanges(turns)


def test_images_are_none_one_or_several() -> None:
    assert image_names(None) == image_names("") == ()
    assert image_names("a.png") == ("a.png",)
    assert image_names(["a.png", "b.png"]) == ("a.png", "b.png")
    for wrong in (7, ["a.png", 7], ["a.png", ""], {"path": "a.png"}):
        with pytest.raises(BadRowError, match="image is neither"):
            image_names(wrong)


def test_rows_of_one_id_are_told_apart_by_what_is_said() -> None:
    assert told_apart("7", [("a", "b")]) == told_apart("7", [("a", "b")])
    names = {told_apart("7", said) for said in ([("a", "b")], [("a", "c")], [("ab", "")], [("a", "b"), ("", "")])}
    assert len(names) == 4
    assert told_apart("7", [("\ud800", "b")]).startswith("7~")

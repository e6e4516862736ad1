"""Conversations of the LLaVA format: lists of ``{"from": "human" | "gpt", "value": text}``, cut into exchanges.

The format is that of LLaVA's instruction data, which LLaVA-Med, PubMedVision and VL-Health share. A conversation
that does not alternate, beginning with the human, is refused whole: which answer belongs to which question is
then a guess. ``<image>`` markers stay in the text.
"""

import hashlib
from typing import Any

from healthgpt.sources.entry import BadRowError


def exchanges(turns: Any) -> list[tuple[str, str]]:
    """(question, answer) of every human turn and the answer that follows it."""
    if not isinstance(turns, list):
        raise BadRowError("the conversation is missing" if turns is None else "the conversation is not a list")
    if not turns:
        raise BadRowError("the conversation is empty")
    values = []
    for number, turn in enumerate(turns):
        expected = "gpt" if number % 2 else "human"
        speaker = turn.get("from") if isinstance(turn, dict) else None
        if speaker != expected:
            raise BadRowError(_disorder(speaker, number))
        value = turn.get("value")
        if not isinstance(value, str):
            raise BadRowError("a turn without text" if value is None else "a turn that is not text")
        values.append(value)
    if len(values) % 2:
        raise BadRowError("the last question has no answer")
    return list(zip(values[::2], values[1::2], strict=True))


def _disorder(speaker: Any, number: int) -> str:
    if speaker not in ("human", "gpt"):
        return "a turn of neither human nor gpt"
    if number == 0:
        return "the conversation begins with gpt"
    return f"two turns of {speaker} in a row"


def image_names(value: Any) -> tuple[str, ...]:
    """The ``image`` of a row: a name, a list of names, or absent (a conversation without an image)."""
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(name, str) and name for name in value):
        return tuple(value)
    raise BadRowError("image is neither a name nor a list of names")


def told_apart(identity: str, talk: list[tuple[str, str]]) -> str:
    """The id with a short fingerprint of what is said, for data sets where several rows have one id.

    It depends on the row alone, so that pieces of a file can be read by several workers and in any order.
    """
    said = "\x1f".join(question + "\x1e" + answer for question, answer in talk)
    return f"{identity}~{hashlib.blake2b(said.encode('utf-8', 'surrogatepass'), digest_size=5).hexdigest()}"

"""Fields of a published row, or the reason why the row cannot be read."""

from typing import Any

from healthgpt.sources.entry import BadRowError


def fields_of(value: Any, *names: str) -> tuple[Any, ...]:
    """The named fields in that order, whatever they hold; ``BadRowError`` names the first that is not there."""
    if not isinstance(value, dict):
        raise BadRowError(f"a {type(value).__name__} where an object was published")
    try:
        return tuple(value[name] for name in names)
    except KeyError as fault:
        raise BadRowError(f"no {fault.args[0]}") from None


def text_of(value: Any, name: str) -> str:
    """The named field, which has to be text that is not blank, as it stands."""
    (text,) = fields_of(value, name)
    if not isinstance(text, str):
        raise BadRowError(f"{name} is not text")
    if not text.strip():
        raise BadRowError(f"no {name}")
    return text

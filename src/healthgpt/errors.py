"""The exception tree: every fault a caller can cause, told in one line.

HealthGPTError                 base; ``exit_code`` is what the command line returns
└── InputError          (2)    the caller's input is wrong
    ├── ImageError             an image file that is missing, damaged, too large or not an image
    ├── TaskError              an unknown task, or one asked with the wrong inputs
    ├── QuestionError          an empty question or one that does not fit the context
    ├── OutputError            an output path that cannot be written
    ├── ModelError             a model folder with a missing, corrupt or mismatched file
    ├── DataError              a data folder or record that cannot be used
    └── RecipeError            a training recipe that cannot be run
"""

from difflib import get_close_matches


class HealthGPTError(Exception):
    """A fault told to a person: what failed, what was found, what is allowed, what to do next."""

    exit_code = 1

    def __init__(self, what: str, *, found: str = "", allowed: str = "", next_step: str = "") -> None:
        self.what = what
        self.found = found
        self.allowed = allowed
        self.next_step = next_step
        super().__init__(self.line())

    def line(self) -> str:
        """The whole message on one line, without a leading ``error:``."""
        parts = [self.what]
        if self.found:
            parts.append(f"found {self.found}")
        if self.allowed:
            parts.append(f"allowed: {self.allowed}")
        if self.next_step:
            parts.append(f"next: {self.next_step}")
        return " ".join("; ".join(parts).split())


class InputError(HealthGPTError):
    """The caller's input is wrong; the command line ends with exit code 2."""

    exit_code = 2


class ImageError(InputError):
    """An image file is missing, damaged, too large or holds no picture."""


class TaskError(InputError):
    """A task is unknown or its inputs do not fit it."""


class QuestionError(InputError):
    """A question is empty or longer than the model's context."""


class OutputError(InputError):
    """An output path cannot be written."""


class ModelError(InputError):
    """A model folder is missing a file, holds a damaged one, or does not fit together."""


class DataError(InputError):
    """A data folder or a record in it cannot be used."""


class RecipeError(InputError):
    """A training recipe cannot be run as written."""


def closest(name: str, allowed: list[str]) -> str:
    """A ``did you mean`` hint for a misspelt name, or the whole list when nothing is close."""
    matches = get_close_matches(name.lower(), allowed, n=1, cutoff=0.5)
    return f"did you mean '{matches[0]}'?" if matches else f"choose one of {', '.join(allowed)}"

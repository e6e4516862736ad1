"""What a row may emit at each step: words until a stop id, or exactly height x width codes and the end marker."""

from dataclasses import dataclass, field
from typing import Literal

from healthgpt.tokens import TokenLayout

Alphabet = Literal["words", "codes"]


@dataclass
class Utterance:
    """What one row has emitted. ``limit``: words at most, or codes exactly."""

    alphabet: Alphabet
    limit: int
    stop_ids: frozenset[int] = frozenset()
    ids: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    stopped: bool = False

    @property
    def done(self) -> bool:
        return self.stopped or len(self.ids) >= self.limit

    def push(self, token: int, log_probability: float) -> bool:
        """Take one id; returns whether it is part of the answer (a stop id is not)."""
        if self.done:
            raise ValueError("this row has already ended")
        self.log_probabilities.append(log_probability)
        if self.alphabet == "words" and token in self.stop_ids:
            self.stopped = True
            return False
        self.ids.append(token)
        return True

    def codes(self, layout: TokenLayout) -> list[int]:
        """VQ indices of a finished picture; ValueError unless every id is a code and none is missing."""
        if self.alphabet != "codes" or len(self.ids) != self.limit:
            raise ValueError(f"{len(self.ids)} of {self.limit} codes")
        return [layout.code(token) for token in self.ids]

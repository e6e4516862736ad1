"""Scoring answers in words: exact match after normalisation, beside the majority answer.

Closed questions are single-choice or yes/no (accuracy); all others but reports are open (exact match).
"""

import re
from collections import Counter
from collections.abc import Sequence

from healthgpt.record import Record


def normalised(text: str) -> str:
    """Lower case, one blank between words, no punctuation at the ends."""
    return " ".join(re.sub(r"[^\w\s/.%-]", " ", text.lower()).split()).strip(" .")


def is_closed(record: Record) -> bool:
    """Single-choice, or answered by yes or no."""
    return bool(record.options) or normalised(record.response) in ("yes", "no")


def is_right(record: Record, answer: str) -> bool:
    """Exact match; a choice may also be answered by its letter alone."""
    said = normalised(answer)
    if said == normalised(record.response):
        return True
    return bool(record.options) and said == "abcd"[record.options.index(record.response)]


class Majority:
    """The most frequent training answer: to the same words, else to the same kind of question of a task.

    It knows the training answers and sees no image: what a model must beat to have looked. For a
    single-choice question the most frequent training answer among its options counts.
    """

    def __init__(self, training: Sequence[Record]) -> None:
        self.by_words: dict[str, Counter[str]] = {}
        self.by_kind: dict[tuple[str, str, bool], Counter[str]] = {}
        for record in training:
            answer = normalised(record.response)
            self.by_words.setdefault(self._words(record), Counter())[answer] += 1
            self.by_kind.setdefault((record.task, record.kind, is_closed(record)), Counter())[answer] += 1

    @staticmethod
    def _words(record: Record) -> str:
        return normalised(record.instruction.split(" Options: ")[0])

    def answer(self, record: Record) -> str:
        """The guess for one record; empty when nothing like it was seen."""
        options = [normalised(option) for option in record.options]
        for counts in (
            self.by_words.get(self._words(record)),
            self.by_kind.get((record.task, record.kind, is_closed(record))),
        ):
            if counts:
                allowed = {answer: n for answer, n in counts.items() if not options or answer in options}
                if allowed:
                    return max(sorted(allowed), key=lambda answer: allowed[answer])
        return options[0] if options else ""


def rates(records: Sequence[Record], answers: Sequence[str]) -> dict[str, float | int]:
    """Closed accuracy and open exact match in percent, with how many of each there were."""
    hits = {"closed": [0, 0], "open": [0, 0]}
    for record, answer in zip(records, answers, strict=True):
        group = hits["closed" if is_closed(record) else "open"]
        group[0] += is_right(record, answer)
        group[1] += 1
    return {
        "closed_accuracy": round(100 * hits["closed"][0] / max(1, hits["closed"][1]), 1),
        "open_exact_match": round(100 * hits["open"][0] / max(1, hits["open"][1]), 1),
        "closed_questions": hits["closed"][1],
        "open_questions": hits["open"][1],
    }

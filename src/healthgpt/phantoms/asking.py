"""Turning a finding into a question: seeded phrasing, open or single-choice, options in seeded order."""

from collections.abc import Sequence

import numpy as np

from healthgpt.phantoms.case import Question, QuestionKind

YES_NO = ("yes", "no")


def yes_no(finding: bool) -> str:
    """The answer word of a presence."""
    return "yes" if finding else "no"


def ask(
    rng: np.random.Generator,
    kind: QuestionKind,
    phrasings: Sequence[str],
    answer: str,
    choices: Sequence[str],
    *,
    single_choice: float = 0.4,
) -> Question:
    """One question about ``answer``; with probability ``single_choice`` it spells out up to four options.

    ``choices``: every answer the question can have. More than four are cut down to the answer and three
    others, and the order is drawn afresh, so an option's letter and neighbours tell nothing.
    """
    text = phrasings[int(rng.integers(len(phrasings)))]
    if rng.random() >= single_choice:
        return Question(text, answer, kind)
    others = [choice for choice in choices if choice != answer]
    kept = [others[i] for i in rng.permutation(len(others))[:3]]
    options = [answer, *kept]
    return Question(text, answer, kind, tuple(options[i] for i in rng.permutation(len(options))))

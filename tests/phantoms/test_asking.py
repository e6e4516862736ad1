"""Questions are exact whatever form is drawn: the answer is among the options, its place tells nothing."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from healthgpt.phantoms.asking import ask


@given(seed=st.integers(0, 100_000), total=st.integers(2, 8), answer=st.integers(0, 7))
@settings(max_examples=100, deadline=None)
def test_single_choice_holds_the_answer_among_two_to_four(seed, total, answer):
    choices = tuple(f"option {i}" for i in range(total))
    right = choices[answer % total]
    question = ask(np.random.default_rng(seed), "count", ("a?", "b?", "c?"), right, choices, single_choice=1.0)
    assert right in question.options
    assert len(set(question.options)) == len(question.options) == min(total, 4)


def test_place_of_the_answer_is_uniform():
    rng = np.random.default_rng(1)
    places = Counter()
    for _ in range(800):
        question = ask(rng, "modality", ("a?",), "x", ("x", "y", "z", "u", "v"), single_choice=1.0)
        places[question.options.index("x")] += 1
    assert set(places) == {0, 1, 2, 3}
    assert max(places.values()) < 260


def test_open_and_single_choice_forms_both_occur():
    rng = np.random.default_rng(2)
    forms = Counter(bool(ask(rng, "side", ("a?",), "left", ("left", "right")).options) for _ in range(200))
    assert min(forms.values()) > 50

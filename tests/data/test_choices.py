"""The pool of answers obeys the laws of a sketch, and choices are fair: one right option, once."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthgpt.data.choices import (
    KEPT,
    LETTERS,
    LONGEST_OPTION,
    AnswerPool,
    FormPolicy,
    Posed,
    forms_of,
    given_choice,
    open_form,
    question_type,
    shape_of,
    single_choice,
)
from healthgpt.data.normalise import clean_text, normalise_answer
from healthgpt.errors import DataError
from healthgpt.record import choice_text

PACKS = Path(__file__).resolve().parents[2].parent / "shared" / "data"

ANSWERS = st.sampled_from(
    [
        *("left", "right", "both", "bilateral", "3", "two", "5 cm", "2 mm", "yes", "no", "T2", "CT", "pneumonia"),
        *("lung", "Lung", "lungs", "heart", "left lung", "liver", "spleen", "right upper lobe", "left lower lobe"),
    ]
)
ADDED = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["side", "organ"]), ANSWERS), max_size=40)


def pool_of(*answers: str, kept: int = KEPT) -> AnswerPool:
    pool = AnswerPool(kept)
    for answer in answers:
        pool.add("test", "organ", answer)
    return pool


def filled(added: list[tuple[str, str, str]], kept: int) -> AnswerPool:
    pool = AnswerPool(kept)
    for one in added:
        pool.add(*one)
    return pool


def ask(answer: str, pool: AnswerPool, *, record_id: str = "r1", seed: int = 0) -> Posed | None:
    return single_choice(record_id, "Which one?", answer, pool, seed, source="test", kind="organ")


@given(ADDED, st.randoms(use_true_random=False), st.integers(1, 6))
def test_pool_knows_neither_order_nor_chunks(added: list[tuple[str, str, str]], random, kept: int) -> None:
    whole = filled(added, kept)
    shuffled = random.sample(added, len(added))
    cut = random.randrange(len(added) + 1)
    assert filled(shuffled, kept) == whole
    assert filled(shuffled[:cut], kept) | filled(shuffled[cut:], kept) == whole
    assert whole | whole == whole
    assert AnswerPool.from_json(json.loads(json.dumps(whole.to_json()))) == whole


def test_pool_stays_small_and_is_the_same_in_pieces() -> None:
    added = [("s", "k", f"finding {number:x}") for number in range(5_000)]
    whole = filled(added, KEPT)
    assert len(whole.answers("s", "k", "phrase")) == KEPT
    merged = AnswerPool()
    for start in range(0, 5_000, 700):
        merged = filled(added[start : start + 700], KEPT) | merged
    assert merged == whole


def test_pool_keeps_no_yes_no_and_no_sentences() -> None:
    pool = pool_of("yes", "no", "", "x" * (LONGEST_OPTION + 1), "The lungs are clear.")
    assert pool == AnswerPool()


def test_pool_refuses_what_is_none() -> None:
    with pytest.raises(DataError, match="not a pool"):
        AnswerPool.from_json({"answers": 3})
    with pytest.raises(ValueError, match="do not merge"):
        AnswerPool(2) | AnswerPool(3)


@pytest.mark.parametrize(
    ("answer", "shape"),
    [
        ("3", "number"),
        ("two", "number"),
        ("3.5", "number"),
        ("5 cm", "measure"),
        ("2.5cm x 1.7cm", "measure"),
        ("4th ventricle", "phrase"),
        ("left", "side"),
        ("right side", "side"),
        ("left lung", "phrase"),
        ("pneumonia", "word"),
        ("basal ganglia and left parietal lobe", "clause"),
    ],
)
def test_shapes(answer: str, shape: str) -> None:
    assert shape_of(answer) == shape


@given(ADDED, ANSWERS, st.text(max_size=8), st.integers(0, 3))
def test_choices_have_one_right_option(added: list[tuple[str, str, str]], answer: str, name: str, seed: int) -> None:
    pool = pool_of(*(one[2] for one in added))
    posed = ask(answer, pool, record_id=name, seed=seed)
    assert posed == ask(answer, pool, record_id=name, seed=seed)
    if posed is None:
        assert answer not in ("yes", "no")
        return
    assert 2 <= len(posed.options) <= 4
    assert posed.options.count(answer) == 1
    assert len({option.lower() for option in posed.options}) == len(posed.options)
    assert posed.response == answer
    assert posed.instruction == choice_text("Which one?", posed.options)


def test_yes_and_no_are_asked_in_this_order() -> None:
    posed = ask("no", AnswerPool())
    assert posed == Posed("Which one? Options: A. yes B. no", "no", ("yes", "no"))


def test_no_choice_without_a_wrong_option() -> None:
    assert ask("heart", AnswerPool()) is None
    assert ask("heart", pool_of("heart", "Heart", "the hearts", "left heart")) is None
    assert ask("heart", pool_of("heart", "femur")) is not None
    assert ask("The heart is large.", pool_of("femur")) is None


@pytest.mark.parametrize(
    ("answer", "same"),
    [
        ("lung", "lungs"),
        ("lung", "left lung"),
        ("both", "bilateral"),
        ("chest x-ray", "cxr"),
        ("MRI", "T2"),
        ("chest", "heart"),
        ("brain", "barin"),
        ("cardiomegaly", "cardiomega"),
        ("liver and heart", "heart, liver"),
        ("two", "2"),
        ("pleural effusion", "effusions"),
        ("axial", "transverse"),
    ],
)
def test_what_says_the_same_is_no_wrong_option(answer: str, same: str) -> None:
    assert ask(answer, pool_of(same)) is None
    assert ask(same, pool_of(answer)) is None


def test_counts_stand_among_counts_and_sides_among_sides() -> None:
    pool = pool_of("1", "2", "3", "4", "7", "left", "right", "both", "lung", "heart", "5 cm", "8 mm", "pneumonia")
    for answer, options in (("3", {"1", "2", "3", "4", "7"}), ("left", {"left", "right", "both"}), ("5 cm", {"8 mm"})):
        posed = ask(answer, pool)
        assert posed is not None
        assert set(posed.options) <= options | {answer}


def test_every_letter_is_right_equally_often() -> None:
    pool = pool_of("femur", "tibia", "ulna", "scapula", "sternum", "clavicle")
    places: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for number in range(2_000):
        posed = ask("femur", pool, record_id=f"r{number}")
        assert posed is not None
        places[LETTERS[posed.options.index("femur")]] += 1
        others.update(posed.options)
    assert set(places) == set(LETTERS)
    assert min(places.values()) > 400
    assert len(others) >= 5


def test_seed_changes_the_options() -> None:
    pool = pool_of(*(f"bone {number}a" for number in range(50)))
    assert len({ask("bone 1a", pool, seed=seed) for seed in range(10)}) > 5


@pytest.mark.parametrize(
    ("policy", "low", "high"), [("open", 0, 0), ("choice", 1000, 1000), (0.0, 0, 0), (1.0, 1000, 1000), (0.3, 250, 350)]
)
def test_share_of_choices(policy: FormPolicy, low: int, high: int) -> None:
    taken = [forms_of(f"r{number}", policy, 1) for number in range(1000)]
    assert low <= sum(forms == ("choice",) for forms in taken) <= high
    assert all(len(forms) == 1 for forms in taken)


def test_both_forms() -> None:
    assert forms_of("r", "both", 0) == ("open", "choice")
    assert open_form("Which?", "heart") == Posed("Which?", "heart", ())


@pytest.mark.parametrize(
    ("options", "answer", "kept", "right"),
    [
        (["Left", "Right", "", None], "Left", ("left", "right"), "left"),
        (["A: CT", " B: MRI ", "C: X-Ray", "D: PET"], "B", ("CT", "MRI", "x-ray", "PET"), "MRI"),
        (["CT", "MRI", "PET"], "(c)", ("CT", "MRI", "PET"), "PET"),
        (["CT", "MRI"], "b: MRI", ("CT", "MRI"), "MRI"),
        (["vitamin C", "A", "B"], "A", ("vitamin C", "A", "B"), "A"),
        (["Yes.", "No."], "yes", ("yes", "no"), "yes"),
        ([1, 2.0, "2", "3"], 2, ("1", "2", "3"), "2"),
    ],
)
def test_given_options(options: list[object], answer: object, kept: tuple[str, ...], right: str) -> None:
    posed = given_choice("Which?", options, answer)
    assert posed.options == kept
    assert posed.response == right
    assert posed.instruction == choice_text("Which?", kept)


@pytest.mark.parametrize(
    ("options", "answer", "reason"),
    [
        (["left", "right"], "up", "not among"),
        (["left", "right", ""], "C", "not among"),
        (["left", "right"], "D", "not among"),
        (["left", "right"], None, "not among"),
        (["left", "Left", None], "left", "two different"),
        ([], "left", "two different"),
        (["a", "b", "c", "d", "e"], "a", "too many"),
    ],
)
def test_given_options_that_do_not_fit_are_refused(options: list[object], answer: object, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        given_choice("Which?", options, answer)


@pytest.mark.parametrize(
    ("question", "answer", "kind"),
    [
        ("Is there a mass?", "yes", "presence"),
        ("How many kidneys are seen?", "2", "count"),
        ("What imaging modality was used?", "CT", "modality"),
        ("Where is the lesion located?", "left lobe", "position"),
        ("What colour is the lung?", "black", "colour"),
        ("What is shown?", "spleen", "what"),
        ("Describe it.", "spleen", "other"),
    ],
)
def test_question_types(question: str, answer: str, kind: str) -> None:
    assert question_type(question, answer) == kind


def test_most_questions_of_a_real_data_set_find_three_wrong_options() -> None:
    path = PACKS / "slake" / "Slake1.0" / "train.json"
    if not path.is_file():
        pytest.skip("no SLAKE pack beside the repository")
    entries = [entry for entry in json.loads(path.read_text(encoding="utf-8")) if entry["q_lang"] == "en"]
    asked = [
        (str(entry["qid"]), entry["content_type"], normalise_answer(clean_text(entry["answer"]).text))
        for entry in entries
    ]
    pool = AnswerPool()
    for _, kind, answer in asked:
        pool.add("slake", kind, answer)
    found: Counter[int] = Counter()
    for name, kind, answer in asked:
        if answer not in ("yes", "no", ""):
            posed = single_choice(name, "?", answer, pool, 0, source="slake", kind=kind)
            found[len(posed.options) if posed else 0] += 1
    assert found[4] > 0.85 * found.total()
    assert found[0] < 0.02 * found.total()

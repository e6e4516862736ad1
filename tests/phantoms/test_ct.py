"""CT cases: determinism, ranges, questions, windows, and the reader that measures them back."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from healthgpt.phantoms import ct, read_ct
from healthgpt.phantoms.anatomy import make_anatomy
from healthgpt.phantoms.ct_scanner import HEAD_WINDOW, ct_numbers, show

UNSEEN = range(11_000_000, 11_000_050)


@pytest.fixture(scope="module")
def ct_cases():
    return [ct.make_case(seed) for seed in UNSEEN]


def test_a_seed_always_gives_the_same_case():
    first, again, other = ct.make_case(5), ct.make_case(5), ct.make_case(6)
    np.testing.assert_array_equal(first.image, again.image)
    assert first.questions == again.questions
    assert first.report == again.report
    assert not np.array_equal(first.image, other.image)


def test_images_are_grey_floats_between_0_and_1(ct_cases):
    for case in ct_cases:
        for picture in (case.image, case.clean, *case.companions.values()):
            assert picture.dtype == np.float32
            assert picture.shape == (128, 128)
            assert picture.min() >= 0
            assert picture.max() <= 1
        assert not np.array_equal(case.image, case.clean)


def test_ct_numbers_span_air_to_bone_and_windows_are_linear():
    anatomy = make_anatomy(3, 128, ("head",))
    hounsfield = ct_numbers(anatomy)
    assert hounsfield.min() == -1000
    assert hounsfield.max() > 700
    np.testing.assert_allclose(show(np.array([-60.0, 40.0, 140.0, 3000.0]), HEAD_WINDOW), [0, 0.5, 1, 1])


def test_questions_have_their_answer_among_the_options_and_cover_the_kinds(ct_cases):
    kinds = Counter()
    for case in ct_cases:
        assert 4 <= len(case.questions) <= 12
        for question in case.questions:
            kinds[question.kind] += 1
            assert question.answer == question.answer.lower()
            if question.options:
                assert question.answer in question.options
                assert 2 <= len(question.options) <= 4
        assert case.region in case.report
    assert set(kinds) == {"modality", "region", "presence", "side", "count", "size", "comparison"}


def _agreement(cases, measure):
    hits: dict[str, list[bool]] = defaultdict(list)
    for case in cases:
        found = measure(case.image)
        hits["region"].append(found["region"] == case.region)
        if found["region"] != case.region:
            continue
        for finding, value in found.items():
            if case.truth.get(finding) is not None:
                hits[finding].append(value == case.truth[finding])
    return {finding: float(np.mean(marks)) for finding, marks in hits.items()}


def test_the_ct_reader_agrees_with_the_truth(ct_cases):
    agreement = _agreement(ct_cases, read_ct.measure)
    floors = {
        "region": 0.93, "lesion": 0.85, "lesion_count": 0.75, "lesion_side": 0.8, "ventricles_enlarged": 0.85,
        "effusion": 0.85, "effusion_side": 0.85, "heart_enlarged": 0.8, "contrast_given": 0.9, "bladder_size": 0.85,
        "bone_lesion": 0.8, "level": 0.85,
    }  # fmt: skip
    assert {finding: agreement[finding] for finding in floors if agreement[finding] < floors[finding]} == {}

"""OCT phantoms: determinism, ranges, layer order, balanced and exact questions, reader agreement."""

import json
from collections import Counter, defaultdict
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthgpt.phantoms.case import SEED_RANGES, Case
from healthgpt.phantoms.oct import make_case
from healthgpt.phantoms.read_oct import measure
from healthgpt.phantoms.retina import FLUID_BINS, LAYERS, grow

TEST_SEEDS = SEED_RANGES["test"][:120]
X_MM = (np.arange(128) + 0.5) / 128 * 6 - 3


@cache
def cases() -> list[Case]:
    return [make_case(seed) for seed in TEST_SEEDS]


@cache
def readings() -> list[dict]:
    return [measure(case.image) for case in cases()]


def test_same_seed_same_case_and_other_seed_another():
    first, again, other = make_case(3), make_case(3), make_case(4)
    np.testing.assert_array_equal(first.image, again.image)
    assert first.questions == again.questions
    assert first.truth == again.truth
    assert first.report == again.report
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("size", [64, 128, 256])
def test_images_are_grey_floats_in_range(size):
    for seed in range(4):
        case = make_case(seed, size)
        for picture in (case.image, case.clean):
            assert picture.shape == (size, size)
            assert picture.dtype == np.float32
            assert picture.min() >= 0
            assert picture.max() <= 1
            assert picture.std() > 0.05


def test_truth_is_json():
    for case in cases():
        assert json.loads(json.dumps(case.truth)) == case.truth
        assert (case.modality, case.region) == ("oct", "eye")


def test_vitreous_is_darker_than_the_choroid():
    for case in cases():
        assert case.image[:10].mean() < case.image[-40:].mean() - 0.1


@given(st.integers(0, 100_000))
@settings(max_examples=60, deadline=None)
def test_layers_never_cross(seed):
    eye = grow(np.random.default_rng(seed), X_MM)
    assert eye.boundaries.shape == (len(LAYERS) + 1, 128)
    assert (np.diff(eye.boundaries, axis=0) <= 1e-6).all()


@given(st.integers(0, 100_000))
@settings(max_examples=60, deadline=None)
def test_lesions_match_the_findings(seed):
    eye = grow(np.random.default_rng(seed), X_MM)
    findings = eye.findings
    domes = np.diff(np.concatenate([[0], (eye.drusen > 1).astype(int)])) > 0
    assert domes.sum() == findings["drusen_count"]
    height = (eye.fluid[1] - eye.fluid[0]).max()
    if findings["subretinal_fluid"]:
        low, high = FLUID_BINS[findings["subretinal_fluid_size"]]
        assert 0.98 * low <= height <= high
        centre = X_MM[(eye.fluid[1] - eye.fluid[0]).argmax()]
        assert findings["subretinal_fluid_side"] == ("left" if centre < 0 else "right")
    else:
        assert height == 0
    assert bool(eye.cysts) == findings["intraretinal_fluid"]
    assert (eye.membrane.max() > 0) == findings["epiretinal_membrane"]
    assert not ((eye.drusen > 1) & (eye.fluid[1] - eye.fluid[0] > 1)).any()


def test_pit_is_shallower_under_a_membrane():
    def pit(eye) -> float:
        thickness = eye.boundaries[0] - eye.boundaries[6]
        return float(np.median(thickness) - thickness[54:74].min()) / float(np.median(thickness))

    depth = defaultdict(list)
    for seed in range(150):
        eye = grow(np.random.default_rng(seed), X_MM)
        depth[eye.findings["epiretinal_membrane"]].append(pit(eye))
    assert np.median(depth[True]) < 0.7 * np.median(depth[False])


def test_every_question_is_answerable_and_options_hold_the_answer():
    for case in cases():
        assert 8 <= len(case.questions) <= 12
        for question in case.questions:
            assert question.answer == question.answer.lower()
            if question.options:
                assert 2 <= len(question.options) <= 4
                assert len(set(question.options)) == len(question.options)
                assert question.answer in question.options


def test_open_and_single_choice_forms_and_all_kinds_occur():
    forms, kinds = set(), set()
    for case in cases():
        forms |= {bool(question.options) for question in case.questions}
        kinds |= {question.kind for question in case.questions}
    assert forms == {True, False}
    assert kinds == {"modality", "region", "presence", "side", "count", "size", "comparison"}


def test_answers_cannot_be_guessed_from_the_question():
    answers: dict[str, Counter] = defaultdict(Counter)
    for seed in range(400):
        for question in make_case(seed, 32).questions:
            if question.kind not in ("modality", "region"):
                answers[question.text][question.answer] += 1
    asked = {text: counts for text, counts in answers.items() if counts.total() >= 35}
    assert len(asked) > 25
    for text, counts in asked.items():
        # Four standard deviations above an even split over the answers that occur.
        even, total = 1 / len(counts), counts.total()
        assert counts.most_common(1)[0][1] / total < even + 4 * np.sqrt(even * (1 - even) / total), (text, counts)


def test_report_names_the_findings():
    for case in cases():
        truth, report = case.truth, case.report.lower()
        assert f"{truth['thickness']} retina, higher on the {truth['higher_side']}" in report
        assert ("no subretinal fluid" in report) != truth["subretinal_fluid"]
        assert ("no intraretinal fluid" in report) != truth["intraretinal_fluid"]
        assert ("no epiretinal membrane" in report) != truth["epiretinal_membrane"]
        assert ("no drusen", "one druse", "two drusen", "three drusen")[truth["drusen_count"]] in report
        assert case.report.count(".") == 3


# Least share of unseen noisy cases on which the reader must agree with the truth.
FLOORS = {
    "drusen_count": 0.90,
    "subretinal_fluid": 0.95,
    "subretinal_fluid_side": 0.95,
    "subretinal_fluid_size": 0.92,
    "intraretinal_fluid": 0.90,
    "intraretinal_fluid_side": 0.90,
    "epiretinal_membrane": 0.95,
    "thickness": 0.90,
    "higher_side": 0.97,
}


@pytest.mark.parametrize("finding", FLOORS)
def test_reader_agrees_with_the_truth(finding):
    pairs = zip(cases(), readings(), strict=True)
    agreed = np.mean([reading[finding] == case.truth[finding] for case, reading in pairs])
    assert agreed >= FLOORS[finding]


def test_reader_knows_the_same_findings_as_the_truth():
    assert set(readings()[0]) == set(cases()[0].truth) - {"axial_spacing_um"}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["black", "white", "noise", "step", "line"]))
def test_reader_takes_any_picture(seed, sort):
    rng = np.random.default_rng(seed)
    image = np.zeros((128, 128), np.float32)
    if sort == "white":
        image[:] = 1
    elif sort == "noise":
        image[:] = rng.random((128, 128))
    elif sort == "step":
        image[int(rng.integers(1, 127)) :] = 1
    elif sort == "line":
        image[int(rng.integers(1, 127))] = 1
    assert measure(image)["thickness"] in ("thin", "normal", "thick")

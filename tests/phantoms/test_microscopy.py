"""Laws of the microscopy phantom: determinism, ranges, balance of the answers, stains that obey Beer-Lambert."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from healthgpt.phantoms import microscopy, stain
from healthgpt.phantoms.case import SEED_RANGES
from healthgpt.phantoms.microscopy_smear import biconcave


@pytest.fixture(scope="module")
def cases():
    return [microscopy.make_case(seed) for seed in range(400)]


@pytest.fixture(scope="module")
def answers(cases):
    """Answers by the truth key each question asks about."""
    keys = {
        "gland": "glands",
        "mitos": "mitoses",
        "aggregate": "lymphocytes",
        "lymphocytes": "lymphocytes",
        "white": "white",
        "platelet": "platelets",
        "pallor": "pallor",
        "pale centre": "pallor",
        "cellularity": "cellularity",
        "stroma": "cellularity",
        "lobed": "lobed",
        "nuclei": "nuclei",
    }
    counted = defaultdict(Counter)
    for case in cases:
        for question in case.questions:
            subject = next((value for word, value in keys.items() if word in question.text), "")
            if "lobed" in question.text:
                subject = "lobed"
            counted[question.kind, subject][question.answer] += 1
    return counted


def test_same_seed_same_case_and_other_seed_another():
    first, again, other = microscopy.make_case(7), microscopy.make_case(7), microscopy.make_case(8)
    assert np.array_equal(first.image, again.image)
    assert (first.truth, first.questions, first.report) == (again.truth, again.questions, again.report)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("size", [128, 96, 256])
def test_image_is_rgb_in_unit_range(size):
    for seed in range(6):
        case = microscopy.make_case(seed, size)
        for pixels in (case.image, case.clean):
            assert pixels.shape == (size, size, 3)
            assert pixels.dtype == np.float32
            assert pixels.min() >= 0
            assert pixels.max() <= 1
        assert case.clean.std() > 0.01


def test_every_split_makes_cases_of_its_own():
    images = [microscopy.make_case(seeds[0]).image for seeds in SEED_RANGES.values()]
    assert not any(np.array_equal(images[a], images[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_both_specimens_are_equally_frequent(cases):
    share = np.mean([case.region == "blood smear" for case in cases])
    assert 0.42 < share < 0.58
    assert {case.region for case in cases} == {"blood smear", "tissue section"}


@pytest.mark.parametrize(
    "subject",
    [
        ("size", "nuclei"),
        ("size", "pallor"),
        ("presence", "glands"),
        ("presence", "mitoses"),
        ("presence", "lymphocytes"),
        ("presence", "lobed"),
        ("presence", "white"),
        ("presence", "nuclei"),
        ("side", "lymphocytes"),
        ("side", "white"),
        ("comparison", "nuclei"),
    ],
)
def test_two_way_answers_are_balanced(answers, subject):
    counted = answers[subject]
    assert len(counted) == 2
    assert min(counted.values()) / sum(counted.values()) > 0.33, counted


@pytest.mark.parametrize("subject", ["glands", "mitoses", "white", "platelets"])
def test_counts_are_nearly_uniform(answers, subject):
    counted = answers["count", subject]
    assert set(counted) == {"0", "1", "2", "3"}
    assert max(counted.values()) < 0.36 * sum(counted.values())
    assert min(counted.values()) > 0.14 * sum(counted.values())


def test_questions_follow_the_contract(cases):
    phrasings = defaultdict(set)
    for case in cases:
        kinds = {question.kind for question in case.questions}
        assert {"modality", "region", "count", "size"} <= kinds
        assert 5 <= len(case.questions) <= 12
        for question in case.questions:
            phrasings[question.kind].add(question.text)
            if question.options:
                assert question.answer in question.options
                assert 2 <= len(set(question.options)) == len(question.options) <= 4
    assert set(phrasings) == {"modality", "region", "presence", "side", "count", "size", "comparison"}
    assert all(len(texts) >= 3 for texts in phrasings.values())


def test_report_names_every_finding(cases):
    for case in cases:
        truth, report = case.truth, case.report.lower()
        if case.region == "blood smear":
            assert truth["pallor"] in report
            assert (f"{truth['white_cells']} white cell" in report) == (truth["white_cells"] > 0)
            assert ("no platelets" in report) == (truth["platelets"] == 0)
        else:
            assert truth["cellularity"] in report
            assert truth["nuclear_size"] in report
            assert ("no mitoses" in report) == (truth["mitoses"] == 0)
            assert ("lymphocyte" in report) == truth["lymphocytes"]


def test_unmixing_undoes_staining():
    rng = np.random.default_rng(0)
    amounts = rng.uniform(0, 0.6, (2, 8, 8)).astype(np.float32)
    light = np.array([0.95, 0.9, 0.97], np.float32)
    vectors = [stain.HAEMATOXYLIN, stain.EOSIN]
    image = stain.transmit(light, list(zip(amounts, vectors, strict=True)))
    assert np.allclose(stain.unmix(image, light, vectors), np.moveaxis(amounts, 0, -1), atol=1e-4)


def test_twice_the_dye_squares_the_transmission():
    amount = np.full((2, 2), 0.3, np.float32)
    once = stain.transmit(np.ones(3, np.float32), [(amount, stain.EOSIN)])
    twice = stain.transmit(np.ones(3, np.float32), [(2 * amount, stain.EOSIN)])
    assert np.allclose(once**2, twice, atol=1e-6)


def test_red_cell_is_thinner_in_the_middle_and_wider_pallor_reaches_further():
    rho = np.linspace(0, 1, 101)
    narrow, wide = biconcave(rho, 0.25, 1.0), biconcave(rho, 0.6, 1.0)
    assert narrow[0] < 0.3 * narrow.max()
    assert narrow[-1] == pytest.approx(0.0, abs=1e-6)
    assert (wide[10:50] < narrow[10:50]).all()
    assert biconcave(rho, 0.25, 0.5)[0] > narrow[0]

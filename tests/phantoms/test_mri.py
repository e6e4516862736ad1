"""MRI cases: determinism, ranges, questions, the signal equations, and the reader that measures them back."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from healthgpt.phantoms import ct, mri, read_mri
from healthgpt.phantoms.mri_scanner import FLAIR, T1_WEIGHTED, T2_WEIGHTED, tissue_signal
from healthgpt.phantoms.tissues import PROTON_DENSITY, T1_MS, T2_MS, Tissue

UNSEEN = range(11_000_000, 11_000_120)


@pytest.fixture(scope="module")
def mri_cases():
    return [mri.make_case(seed) for seed in UNSEEN]


def test_a_seed_always_gives_the_same_case():
    first, again, other = mri.make_case(5), mri.make_case(5), mri.make_case(6)
    np.testing.assert_array_equal(first.image, again.image)
    assert first.questions == again.questions
    assert first.report == again.report
    assert not np.array_equal(first.image, other.image)


def test_images_are_grey_floats_between_0_and_1(mri_cases):
    for case in mri_cases:
        for picture in (case.image, case.clean, *case.companions.values()):
            assert picture.dtype == np.float32
            assert picture.shape == (128, 128)
            assert picture.min() >= 0
            assert picture.max() <= 1
        assert not np.array_equal(case.image, case.clean)


def test_ct_and_mri_of_a_seed_share_their_anatomy(mri_cases):
    shared = 0
    for mri_case in mri_cases:
        ct_case = ct.make_case(mri_case.seed)
        if ct_case.region == "chest":
            assert mri_case.region != "chest"
            assert "mri_t1" not in ct_case.companions
            continue
        shared += 1
        assert ct_case.region == mri_case.region
        np.testing.assert_array_equal(ct_case.companions["mri_t1"], mri_case.companions["mri_t1"])
        np.testing.assert_array_equal(mri_case.companions["ct"], ct_case.clean)
    assert shared > 30


def test_contrasts_order_brain_tissues_as_known():
    def signal(contrast):
        values = tissue_signal(contrast, T1_MS, T2_MS, PROTON_DENSITY)
        return values[Tissue.CSF], values[Tissue.GREY_MATTER], values[Tissue.WHITE_MATTER]

    csf, grey, white = signal(T1_WEIGHTED)
    assert csf < grey < white
    csf, grey, white = signal(T2_WEIGHTED)
    assert csf > grey > white
    csf, grey, white = signal(FLAIR)
    assert csf < 1e-3 < white < grey


def test_questions_have_their_answer_among_the_options_and_cover_the_kinds(mri_cases):
    kinds = Counter()
    for case in mri_cases:
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


def test_the_mri_reader_agrees_with_the_truth(mri_cases):
    agreement = _agreement(mri_cases, read_mri.measure)
    floors = {"region": 0.88, "contrast": 0.85, "ventricles_enlarged": 0.7, "larger_ventricle": 0.7}
    assert {finding: agreement[finding] for finding in floors if agreement[finding] < floors[finding]} == {}

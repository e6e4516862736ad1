"""Laws of the fundus phantom: determinism, ranges, balance of the answers, optics that behave."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from healthgpt.phantoms import fundus, vessel_tree
from healthgpt.phantoms.case import SEED_RANGES
from healthgpt.record import choice_text


@pytest.fixture(scope="module")
def cases():
    return [fundus.make_case(seed) for seed in range(200)]


def test_same_seed_same_case_and_other_seed_another():
    first, again, other = fundus.make_case(7), fundus.make_case(7), fundus.make_case(8)
    assert np.array_equal(first.image, again.image)
    assert (first.truth, first.questions, first.report) == (again.truth, again.questions, again.report)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("size", [128, 96, 256])
def test_image_is_rgb_in_unit_range_black_outside_the_field(size):
    for seed in range(4):
        case = fundus.make_case(seed, size)
        for pixels in (case.image, case.clean):
            assert pixels.shape == (size, size, 3)
            assert pixels.dtype == np.float32
            assert pixels.min() >= 0
            assert pixels.max() <= 1
        corners = case.clean[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert corners.max() < 0.02
        assert case.clean[size // 2, size // 2, 0] > 0.1


def test_size_changes_pixels_but_not_findings():
    small, large = fundus.make_case(12), fundus.make_case(12, 256)
    for finding in ("eye", "cup", "cup_to_disc"):
        assert small.truth[finding] == large.truth[finding]
    assert small.pixel_spacing_mm == pytest.approx(2 * large.pixel_spacing_mm, rel=0.02)


def test_noise_is_what_parts_image_from_clean(cases):
    gaps = [float(np.abs(case.image - case.clean).mean()) for case in cases[:40]]
    assert min(gaps) > 0
    assert max(gaps) < 0.03


def test_every_split_makes_cases_of_its_own():
    images = [fundus.make_case(seeds[0]).image for seeds in SEED_RANGES.values()]
    assert not any(np.array_equal(images[a], images[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_disc_lies_on_the_side_of_the_eye(cases):
    for case in cases:
        assert (case.truth["disc"][1] > 0.5) == (case.truth["eye"] == "right")
        assert abs(case.truth["fovea"][1] - 0.5) < abs(case.truth["disc"][1] - 0.5)


def test_disc_is_brighter_and_fovea_darker_than_their_surroundings(cases):
    darker = 0
    for case in cases[:60]:
        green = gaussian_filter(case.clean[..., 1], 2.0)
        rows, columns = np.indices(green.shape)

        def ring_gain(place, inner, outer, green=green, rows=rows, columns=columns):
            gap = np.hypot(rows - place[0] * 128, columns - place[1] * 128)
            return green[gap < inner].mean() - green[(gap > outer) & (gap < outer + 3)].mean()

        assert ring_gain(case.truth["disc"], 5, 9) > 0
        darker += ring_gain(case.truth["fovea"], 3, 13) < 0
    assert darker >= 57


def test_answers_are_balanced(cases):
    answers = defaultdict(Counter)
    for case in cases:
        for question in case.questions:
            stem = "exudates?" if "exudates?" in question.text else question.kind
            stem = "cotton" if "cotton" in question.text else stem
            stem = "retinopathy" if "retinopathy" in question.text else stem
            answers[stem][question.answer] += 1
    for stem in ("side", "size", "retinopathy", "exudates?", "cotton"):
        (_, common), (_, rare) = answers[stem].most_common()
        assert rare / (common + rare) > 0.38, (stem, answers[stem])
    counts = answers["count"]
    assert set(counts) == {"0", "1", "2", "3"}
    assert max(counts.values()) < 0.36 * sum(counts.values())


def test_questions_follow_the_contract(cases):
    phrasings = defaultdict(set)
    for case in cases:
        kinds = {question.kind for question in case.questions}
        assert {"modality", "region", "presence", "side", "size"} <= kinds
        assert 5 <= len(case.questions) <= 10
        for question in case.questions:
            phrasings[question.kind].add(question.text)
            assert question.answer == question.answer.lower()
            if question.options:
                assert question.answer in question.options
                assert 2 <= len(set(question.options)) == len(question.options) <= 4
                assert question.instruction == choice_text(question.text, question.options)
    assert set(phrasings) == {"modality", "region", "presence", "side", "count", "size", "comparison"}
    assert all(len(texts) >= 3 for texts in phrasings.values())


def test_truth_agrees_with_itself_and_with_the_report(cases):
    for case in cases:
        truth = case.truth
        assert truth["retinopathy"] == bool(truth["haemorrhages"] or truth["exudates"] or truth["cotton_wool"])
        assert (truth["exudate_half"] is not None) == truth["exudates"]
        assert (truth["cup_to_disc"] > 0.5) == (truth["cup"] == "large")
        assert truth["eye"] in case.report
        assert truth["cup"] in case.report
        assert ("cotton wool" in case.report) == truth["cotton_wool"]


def test_findings_are_the_same_share_in_both_eyes(cases):
    """Which eye it is must not tell whether it is ill."""
    ill = {eye: np.mean([c.truth["retinopathy"] for c in cases if c.truth["eye"] == eye]) for eye in ("left", "right")}
    assert abs(ill["left"] - ill["right"]) < 0.2


def test_vessels_thin_out_and_stay_off_the_fovea():
    disc, fovea = np.array([64.0, 100.0]), np.array([64.0, 64.0])
    rng = np.random.default_rng(3)
    arteries, veins = vessel_tree.grow(rng, disc, fovea, 56.0, 2.2)
    for path, calibre in [*arteries, *veins]:
        assert calibre[-1] < calibre[0] <= 2.2
        assert len(path) == len(calibre)
    assert max(v.calibre[0] for v in arteries) < max(v.calibre[0] for v in veins)
    cover = vessel_tree.thickness_map(arteries + veins, 128)
    assert 0 <= cover.min() < cover.max() <= 1
    assert cover[61:68, 61:68].max() == 0

"""The chest X-ray phantom: repeatable, in range, physically ordered, and with answers nobody can guess."""

import json
from collections import Counter, defaultdict

import numpy as np
import pytest

from healthgpt.phantoms.case import SEED_RANGES
from healthgpt.phantoms.chest_xray import LARGE_EFFUSION_MM, draw_anatomy, draw_disease, make_case
from healthgpt.phantoms.cxr_questions import ask
from healthgpt.phantoms.thorax import SIDES, Disease, Nodule, project, unit_grid


@pytest.fixture(scope="module")
def cases():
    return [make_case(seed) for seed in range(40)]


@pytest.fixture(scope="module")
def truths():
    """Findings of many patients without the cost of their films."""
    found = []
    for seed in range(1200):
        rng = np.random.default_rng([seed, 9])
        disease = draw_disease(rng, draw_anatomy(rng, bool(rng.random() < 0.5)))
        sides = [nodule.side for nodule in disease.nodules]
        found.append(
            {
                "cardiomegaly": disease.cardiothoracic_ratio > 0.5,
                "effusion": disease.effusion,
                "effusion_size": "large" if disease.effusion_height > LARGE_EFFUSION_MM else "small",
                "pneumothorax": disease.pneumothorax,
                "consolidation": disease.consolidation,
                "nodules_left": sides.count("left"),
                "nodules_right": sides.count("right"),
                "nodules": len(sides),
            }
        )
    return found


def test_the_same_seed_gives_the_same_case():
    first, second, other = make_case(5), make_case(5), make_case(6)
    assert np.array_equal(first.image, second.image)
    assert (first.truth, first.questions, first.report) == (second.truth, second.questions, second.report)
    assert not np.array_equal(first.image, other.image)


def test_films_are_float32_in_range_with_a_body_in_them(cases):
    for case in cases:
        for picture in (case.image, case.clean):
            assert picture.shape == (128, 128)
            assert picture.dtype == np.float32
            assert picture.min() >= 0.0
            assert picture.max() <= 1.0
            assert picture.std() > 0.05
        noise = np.abs(case.image - case.clean).mean()
        assert 0.0 < noise < 0.08
        assert 2.0 < case.pixel_spacing_mm < 3.2
        json.dumps(case.truth)


@pytest.mark.parametrize("size", [64, 256])
def test_other_sizes_show_the_same_patient(size):
    small, usual = make_case(17, size), make_case(17)
    assert small.image.shape == (size, size)
    assert small.truth["cardiothoracic_ratio"] == usual.truth["cardiothoracic_ratio"]
    assert small.pixel_spacing_mm * size == pytest.approx(usual.pixel_spacing_mm * 128)


@pytest.mark.parametrize("split", list(SEED_RANGES))
def test_every_split_has_cases(split):
    seed = SEED_RANGES[split][0]
    assert make_case(seed).seed == seed


def _plain_disease(**changes) -> Disease:
    healthy = {
        "cardiothoracic_ratio": 0.42, "heart_left_share": 0.66, "effusion": "none", "effusion_height": 0.0,
        "pneumothorax": "none", "pneumothorax_depth": 0.0, "consolidation": "none", "consolidation_zone": "none",
        "consolidation_radius": 40.0, "consolidation_density": 0.6,
    }  # fmt: skip
    return Disease(**{**healthy, **changes})


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    "changes",
    [
        {"effusion_height": 95.0, "effusion": "SIDE"},
        {"pneumothorax": "SIDE", "pneumothorax_depth": 35.0},
        {"consolidation": "SIDE", "consolidation_zone": "upper"},
    ],
)
def test_disease_takes_lung_from_its_own_side_only(side, changes):
    anatomy = draw_anatomy(np.random.default_rng(3), portable=False)
    x, y = (325.0 * line for line in unit_grid(64))
    still, vessels = np.zeros_like(x), np.zeros((2, 3, 64), np.float32)
    changes = {key: side if value == "SIDE" else value for key, value in changes.items()}
    healthy = project(anatomy, _plain_disease(), x, y, still, vessels)
    sick = project(anatomy, _plain_disease(**changes), x, y, still, vessels)
    own = SIDES[side] * x > 0
    assert sick.lung[own].sum() < 0.93 * healthy.lung[own].sum()
    assert sick.lung[~own].sum() == pytest.approx(healthy.lung[~own].sum(), rel=1e-3)
    assert (sick.soft >= 0).all()
    if changes.get("pneumothorax") == side:
        gap = own & (healthy.lung > 40) & (sick.lung < 1)
        assert (sick.soft + sick.lung)[gap].mean() < 0.6 * (healthy.soft + healthy.lung)[gap].mean()


def test_a_nodule_attenuates_more_at_its_centre():
    anatomy = draw_anatomy(np.random.default_rng(3), portable=False)
    x, y = (325.0 * line for line in unit_grid(128))
    still, vessels = np.zeros_like(x), np.zeros((2, 3, 64), np.float32)
    plain = project(anatomy, _plain_disease(), x, y, still, vessels)
    ball = project(anatomy, _plain_disease(nodules=(Nodule("left", 75.0, -40.0, 13.0),)), x, y, still, vessels)
    extra = ball.soft - plain.soft
    row, column = np.unravel_index(np.argmax(extra), extra.shape)
    assert x[row, column] == pytest.approx(75.0, abs=8)
    assert y[row, column] == pytest.approx(-40.0, abs=8)
    assert np.count_nonzero(extra > 1.0) * (325 / 128) ** 2 == pytest.approx(np.pi * 13**2, rel=0.15)


def test_nodules_lie_in_dark_lung_and_shine(cases):
    contrasts = []
    for case in cases:
        rows, columns = np.mgrid[:128, :128]
        for row, column, radius in case.truth["nodule_pixels"]:
            assert radius >= 2.5
            distance = np.hypot(rows - row, columns - column)
            core = case.clean[distance < 0.6 * radius].mean()
            ring = case.clean[(distance > 1.2 * radius) & (distance < 1.7 * radius)].mean()
            contrasts.append(core - ring)
    assert np.mean(np.array(contrasts) > 0.02) > 0.93


def test_findings_are_balanced(truths):
    def share(holds):
        return np.mean([holds(truth) for truth in truths])

    for name in ("effusion", "pneumothorax", "consolidation"):
        assert 0.45 < share(lambda truth, name=name: truth[name] != "none") < 0.55
        sides = Counter(truth[name] for truth in truths if truth[name] != "none")
        assert max(sides.values()) < 1.3 * min(sides.values())
    assert 0.45 < share(lambda truth: truth["cardiomegaly"]) < 0.55
    counts = Counter(truth["nodules"] for truth in truths)
    assert set(counts) == {0, 1, 2, 3}
    assert max(counts.values()) < 1.4 * min(counts.values())


def test_answers_cannot_be_guessed_from_the_question(truths):
    answers, phrasings, open_share = defaultdict(Counter), defaultdict(set), []
    rng = np.random.default_rng(0)
    for truth in truths:
        questions = ask(truth, rng)
        assert 6 <= len(questions) <= 10
        assert {question.kind for question in questions} >= {
            "modality", "region", "presence", "count", "size", "comparison"
        }  # fmt: skip
        for question in questions:
            answers[question.text][question.answer] += 1
            phrasings[question.kind].add(question.text)
            open_share.append(not question.options)
            assert question.answer == question.answer.lower()
            if question.options:
                assert question.answer in question.options
                assert 2 <= len(set(question.options)) == len(question.options) <= 4
    assert 0.45 < np.mean(open_share) < 0.55
    assert set(phrasings) == {"modality", "region", "presence", "side", "count", "size", "comparison"}
    assert all(len(texts) >= 3 for texts in phrasings.values())
    asked = {text: found for kind, texts in phrasings.items() if kind not in ("modality", "region") for text in texts
             if sum((found := answers[text]).values()) >= 80}  # fmt: skip
    assert asked
    for text, found in asked.items():
        assert max(found.values()) / sum(found.values()) < 1.35 / len(found), text


def test_questions_agree_with_the_truth(cases):
    for case in cases:
        for question in case.questions:
            if "pneumothorax" in question.text and question.kind == "presence":
                assert question.answer == ("no" if case.truth["pneumothorax"] == "none" else "yes")
            if question.kind == "count":
                assert int(question.answer) == len(case.truth["nodule_pixels"])

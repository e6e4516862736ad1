"""The anatomy CT and MRI share: where things are, and that no question about it can be guessed."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from healthgpt.errors import InputError
from healthgpt.phantoms.anatomy import make_anatomy
from healthgpt.phantoms.anatomy_questions import finding_questions
from healthgpt.phantoms.tissues import TISSUES, Tissue


@pytest.mark.parametrize("region", ["head", "chest", "abdomen", "pelvis"])
def test_air_surrounds_the_body_and_the_patient_s_left_is_on_the_right(region):
    for seed in range(8):
        anatomy = make_anatomy(seed, 128, (region,))
        assert anatomy.labels[:3].max() == Tissue.AIR
        if region == "abdomen":  # the liver lies on the patient's right, so on the image's left
            columns = np.nonzero(anatomy.labels == Tissue.LIVER)[1]
            assert columns.mean() < 128


def test_an_unknown_region_is_refused():
    with pytest.raises(InputError, match="knee"):
        make_anatomy(0, 128, ("knee",))


def test_lesions_are_where_the_truth_says():
    lesion_labels = [Tissue.HAEMORRHAGE, Tissue.INFARCT, Tissue.TUMOUR_RIM, Tissue.NECROSIS]
    found = 0
    for seed in range(30):
        anatomy = make_anatomy(seed, 128, ("head",))
        for lesion in anatomy.truth["lesions"]:
            found += 1
            assert anatomy.labels[2 * lesion["row"], 2 * lesion["column"]] in lesion_labels
            assert lesion["diameter_mm"] / anatomy.spacing_mm >= 5
    assert found > 15


def test_every_tissue_has_properties():
    assert set(TISSUES) == set(Tissue)
    assert all(row.t2_ms < row.t1_ms for row in TISSUES.values())


def test_answers_cannot_be_guessed_from_the_question():
    """Over 500 anatomies no answer to a question's subject is much more common than its alternatives."""
    answers: dict[str, Counter] = defaultdict(Counter)
    subjects = (
        "haemorrhage", "infarct", "a mass", "lesion in the brain", "ventricles enlarged", "lateral ventricle",
        "heart", "effusion?", "nodules", "liver lesions", "kidney stone?", "kidney cyst?", "kidney", "bone lesion?",
        "bladder?", "bladder tumours", "contrast", "hemisphere",
    )  # fmt: skip
    from_regions = [("head",)] * 220 + [("chest",)] * 90 + [("abdomen",)] * 100 + [("pelvis",)] * 90
    for seed, regions in enumerate(from_regions):
        anatomy = make_anatomy(seed, 32, regions)
        for question in finding_questions(np.random.default_rng([seed, 1]), anatomy.truth):
            for subject in subjects:
                if subject in question.text:
                    answers[f"{question.kind} {subject}"][question.answer] += 1
                    break
    checked = 0
    for subject, counts in answers.items():
        total, ways = counts.total(), len(counts)
        if total < 40:
            continue
        checked += 1
        assert ways >= 2, (subject, counts)
        # Four standard errors of a fair draw, and 4 % for the placements that found no room.
        fair = 1 / ways
        assert max(counts.values()) / total < fair + 4 * np.sqrt(fair * (1 - fair) / total) + 0.04, (subject, counts)
    assert checked >= 12

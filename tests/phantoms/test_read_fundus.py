"""The fundus reader against the truth of cases it has never been tuned on."""

from collections import defaultdict

import numpy as np
import pytest

from healthgpt.phantoms import fundus
from healthgpt.phantoms.read_fundus import measure

FLOORS = {
    "eye": 0.97,
    "cup": 0.93,
    "retinopathy": 0.88,
    "haemorrhages": 0.82,
    "exudates": 0.88,
    "exudate_half": 0.93,
    "cotton_wool": 0.88,
}


@pytest.fixture(scope="module")
def agreement():
    hits = defaultdict(list)
    for seed in range(11_500_000, 11_500_050):
        case = fundus.make_case(seed)
        measured = measure(case.image)
        for finding in FLOORS:
            if case.truth[finding] is not None:
                hits[finding].append(case.truth[finding] == measured[finding])
        hits["cup_error"].append(abs(case.truth["cup_to_disc"] - measured["cup_to_disc"]))
    return hits


@pytest.mark.parametrize("finding", FLOORS)
def test_reader_agrees_with_truth(agreement, finding):
    assert np.mean(agreement[finding]) >= FLOORS[finding]


def test_cup_to_disc_ratio_is_measured(agreement):
    assert np.mean(agreement["cup_error"]) < 0.1


def test_mirrored_photograph_is_the_other_eye():
    case = fundus.make_case(11_500_003)
    mirrored = measure(case.image[:, ::-1])
    assert {measure(case.image)["eye"], mirrored["eye"]} == {"left", "right"}


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_blank_image_is_read_without_a_fault(level):
    blank = measure(np.full((128, 128, 3), level, np.float32))
    assert blank["haemorrhages"] == 0
    assert blank["exudates"] is False

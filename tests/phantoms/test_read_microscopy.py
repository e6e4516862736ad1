"""The microscopy reader against the truth of cases it has never been tuned on."""

from collections import defaultdict

import numpy as np
import pytest

from healthgpt.phantoms import microscopy
from healthgpt.phantoms.read_microscopy import measure

FLOORS = {
    "specimen": 0.97,
    "white_cells": 0.95,
    "white_cell_half": 0.9,
    "nucleus": 0.93,
    "platelets": 0.9,
    "pallor": 0.9,
    "red_cell_half": 0.9,
    "glands": 0.92,
    "cellularity": 0.88,
    "nuclear_size": 0.92,
    "pleomorphism": 0.8,
    "mitoses": 0.8,
    "lymphocytes": 0.88,
    "lymphocyte_half": 0.88,
    "nuclei_half": 0.9,
}


@pytest.fixture(scope="module")
def agreement():
    hits = defaultdict(list)
    for seed in range(11_500_000, 11_500_100):
        case = microscopy.make_case(seed)
        measured = measure(case.image)
        for finding in FLOORS:
            if case.truth.get(finding) is not None:
                hits[finding].append(case.truth[finding] == measured.get(finding))
    return hits


@pytest.mark.parametrize("finding", FLOORS)
def test_reader_agrees_with_truth(agreement, finding):
    assert len(agreement[finding]) >= 5
    assert np.mean(agreement[finding]) >= FLOORS[finding]


def test_mirroring_swaps_the_halves():
    swapped = {"left": "right", "right": "left"}
    seen = 0
    for seed in range(11_500_000, 11_500_030):
        case = microscopy.make_case(seed)
        plain, mirrored = measure(case.image), measure(case.image[:, ::-1])
        for finding in ("white_cell_half", "lymphocyte_half"):
            if case.truth.get(finding) and plain.get(finding) and mirrored.get(finding):
                assert mirrored[finding] == swapped[plain[finding]]
                seen += 1
    assert seen >= 5


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_blank_image_is_read_without_a_fault(level):
    blank = measure(np.full((128, 128, 3), level, np.float32))
    assert blank["specimen"] == "blood smear"
    assert blank["white_cells"] == 0

"""The chest X-ray reader finds from pixels what the phantom put there, sharp or blurred."""

import numpy as np
import pytest
from scipy import ndimage

from healthgpt.errors import ImageError
from healthgpt.phantoms.case import SEED_RANGES
from healthgpt.phantoms.chest_xray import make_case
from healthgpt.phantoms.cxr_report import NORMAL, agreement
from healthgpt.phantoms.read_chest_xray import measure

MAIN = ("cardiomegaly", "effusion", "pneumothorax", "consolidation")


@pytest.fixture(scope="module")
def readings():
    """Alternately sharp and blurred films of unseen patients."""
    pairs = []
    for number, seed in enumerate(SEED_RANGES["test"][300:310]):
        case = make_case(seed)
        film = ndimage.gaussian_filter(case.image, 1.0) if number % 2 else case.image
        pairs.append((case.truth, measure(film)))
    return pairs


def test_main_findings_agree_with_the_truth(readings):
    verdicts = [agreement(truth, found) for truth, found in readings]
    assert np.mean([[verdict[name] for name in MAIN] for verdict in verdicts]) >= 0.8
    nodules = [
        (found[f"nodules_{side}"] > 0) == (truth[f"nodules_{side}"] > 0)
        for truth, found in readings
        for side in ("left", "right")
    ]
    assert np.mean(nodules) >= 0.7


def test_heart_width_is_measured(readings):
    errors = [abs(found["cardiothoracic_ratio"] - truth["cardiothoracic_ratio"]) for truth, found in readings]
    assert np.median(errors) < 0.05


def test_keys_are_those_of_the_truth(readings):
    for truth, found in readings:
        assert set(NORMAL) < set(found) <= set(truth)
        assert found["nodules"] == found["nodules_left"] + found["nodules_right"]


def test_exposure_does_not_change_the_reading():
    film = make_case(4).image
    bright, dark = measure(0.2 + 0.7 * film), measure(0.5 * film)
    assert bright.pop("cardiothoracic_ratio") == pytest.approx(dark.pop("cardiothoracic_ratio"), abs=0.01)
    assert bright == dark


@pytest.mark.parametrize("image", [np.zeros((128, 128), np.float32), np.ones((64, 64), np.float32)])
def test_what_is_no_film_is_refused(image):
    with pytest.raises(ImageError, match="128"):
        measure(image)

"""Generation pairs: what each task takes and what it draws."""

import numpy as np
import pytest

from healthgpt.errors import TaskError
from healthgpt.phantoms import chest_xray
from healthgpt.phantoms.anatomy import make_anatomy
from healthgpt.phantoms.ct_scanner import ct_clean
from healthgpt.phantoms.mri_scanner import T1_WEIGHTED, mri_clean
from healthgpt.phantoms.pairs import CONVERTED_REGIONS, make_pair
from healthgpt.tasks import GENERATION_TASKS


@pytest.mark.parametrize("task", GENERATION_TASKS)
@pytest.mark.parametrize("seed", [0, 1, 11_000_003])
def test_a_pair_is_deterministic_and_fits_its_task(task, seed):
    pair, again = make_pair(task, seed), make_pair(task, seed)
    np.testing.assert_array_equal(pair.target, again.target)
    assert pair.target.dtype == np.float32
    assert pair.target.shape[:2] == (128, 128)
    assert pair.target.min() >= 0
    assert pair.target.max() <= 1
    if task == "report-to-cxr":
        assert pair.input is None
        assert pair.text == chest_xray.make_case(seed).report
    else:
        assert pair.text == ""
        np.testing.assert_array_equal(pair.input, again.input)
        assert pair.input.shape == pair.target.shape


@pytest.mark.parametrize("seed", range(5))
def test_conversion_draws_the_other_modality_of_the_same_anatomy(seed):
    anatomy = make_anatomy(seed, 128, CONVERTED_REGIONS)
    to_mri, to_ct = make_pair("ct-to-mri", seed), make_pair("mri-to-ct", seed)
    np.testing.assert_array_equal(to_mri.target, mri_clean(anatomy, T1_WEIGHTED))
    np.testing.assert_array_equal(to_ct.target, ct_clean(anatomy))
    # Each input is the other's target, as a scanner would have seen it.
    assert np.abs(to_ct.input - to_mri.target).mean() < 0.12
    assert np.abs(to_mri.input - to_ct.target).mean() < 0.12


def test_super_resolution_loses_detail_and_reconstruction_loses_nothing():
    for seed in range(6):
        pair = make_pair("super-resolution", seed)
        spectrum = np.abs(np.fft.fftshift(np.fft.fft2(pair.input - pair.input.mean()))) ** 2
        outside = spectrum.copy()
        outside[44:85, 44:85] = 0
        assert outside.sum() < 0.05 * spectrum.sum()
        same = make_pair("reconstruct", seed)
        np.testing.assert_array_equal(same.input, same.target)


def test_a_task_that_draws_nothing_is_refused():
    with pytest.raises(TaskError, match="super-resolution"):
        make_pair("super-resolutoin", 0)

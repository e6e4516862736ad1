"""Scoring rules for images: equal is perfect, worse is lower, findings come from pixels."""

import numpy as np
import pytest

from healthgpt.evaluation.findings import agreement_with_others, finding_agreement, measured
from healthgpt.evaluation.pictures import bicubic, grey, mean_scores, psnr, ssim
from healthgpt.phantoms.case import SEED_RANGES
from healthgpt.phantoms.cxr_report import parse_report
from healthgpt.phantoms.pairs import make_pair


def test_equal_images_score_perfectly_and_noise_lowers_both():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    noisy = np.clip(image.astype(int) + rng.integers(-40, 40, image.shape), 0, 255).astype(np.uint8)
    assert ssim(image, image) == pytest.approx(100)
    assert psnr(image, image) == 100
    assert ssim(noisy, image) < 99
    assert psnr(noisy, image) < 30


def test_psnr_is_its_definition():
    flat = np.full((8, 8), 100, dtype=np.uint8)
    assert psnr(flat + 10, flat) == pytest.approx(10 * np.log10(255**2 / 100))


def test_grey_of_equal_channels_is_the_channel():
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_allclose(grey(np.repeat(image[..., None], 3, 2)), image)


def test_bicubic_keeps_size_and_smooth_content():
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    assert bicubic(smooth).shape == (64, 64)
    assert np.abs(bicubic(smooth).astype(int) - smooth).mean() < 3


def test_mean_scores_of_nothing_is_nothing():
    assert mean_scores([], []) == {}


def test_findings_of_true_images_agree_with_their_reports_more_than_with_others():
    pairs = [make_pair("report-to-cxr", SEED_RANGES["validation"].start + n) for n in range(6)]
    seen = [measured(np.rint(pair.target * 255).astype(np.uint8)) for pair in pairs]
    reports = [pair.text for pair in pairs]
    own = finding_agreement(seen, reports)["mean"]
    assert own > 80
    assert own > agreement_with_others(seen, reports)["mean"]


def test_agreement_with_others_is_the_mean_over_all_ways_to_turn_the_reports():
    pairs = [make_pair("report-to-cxr", SEED_RANGES["validation"].start + n) for n in range(4)]
    reports = [pair.text for pair in pairs]
    seen = [parse_report(report) | {"effusion": "left"} for report in reports]
    turned = [finding_agreement(seen, reports[k:] + reports[:k])["effusion"] for k in (1, 2, 3)]
    assert agreement_with_others(seen, reports)["effusion"] == pytest.approx(np.mean(turned), abs=0.1)

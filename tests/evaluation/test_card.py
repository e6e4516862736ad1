"""The model card and the README say what was measured, and nothing else."""

import json
from pathlib import Path

from healthgpt.evaluation.card import headline, write_card

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "nano.json"


def figures():
    rates = {"closed_accuracy": 60.0, "open_exact_match": 50.0, "closed_questions": 6, "open_questions": 4}
    ways = {"model": rates, "blind": rates | {"closed_accuracy": 40.0}, "majority": rates | {"closed_accuracy": 30.0}}
    score = {"ssim": 70.0, "psnr": 20.0}
    findings = {"effusion": 80.0, "mean": 80.0}
    drawing = {
        "super-resolution": {"images": 2, "model": score, "codec_ceiling": score, "another_image": score,
                             "copying_the_input": score, "bicubic": score | {"ssim": 41.0}},
        "report-to-cxr": {"images": 2, "model": score, "codec_ceiling": score, "another_image": score | {"ssim": 33.0},
                          "findings": {"model": findings, "shuffled_reports": findings | {"mean": 55.0},
                                       "reader_on_truth": findings | {"mean": 99.0}}},
    }  # fmt: skip
    reading = {"all": ways, "by_modality": {"ct": ways}, "by_kind": {"side": ways}, "by_source": {"pack": ways}}
    return {
        "model": "nano", "machine": "a test", "phantom": {"reading": reading, "drawing": drawing},
        "real": {"skipped": "no real data packs on this machine"},
    }  # fmt: skip


def test_the_headline_sets_every_figure_beside_its_baseline():
    lines = headline(figures()).splitlines()
    assert "| simulated: choices answered right | 60 % | 40 % blind, 30 % majority | 100 % |" in lines
    assert "| simulated: super-resolution, SSIM / PSNR | 70 / 20.0 dB | 41 / 20.0 dB bicubic | 70 / 20.0 dB |" in lines
    assert (
        "| simulated: report-to-cxr, SSIM / PSNR | 70 / 20.0 dB | 33 / 20.0 dB another image | 70 / 20.0 dB |" in lines
    )
    assert "| simulated: findings of the report in the X-ray | 80 % | 55 % shuffled | 99 % |" in lines


def test_the_card_says_what_was_not_measured(tmp_path):
    write_card(tmp_path / "README.md", figures(), [], 26.0)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "Research use only" in card
    assert "Not measured: no real data packs on this machine." in card
    assert "trained only" not in card


def test_the_readme_shows_the_measured_figures():
    measured = headline(json.loads(RESULTS.read_text(encoding="utf-8")))
    assert measured in (ROOT / "README.md").read_text(encoding="utf-8")

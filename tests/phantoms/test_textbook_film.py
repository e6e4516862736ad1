"""Textbook films: repeatable, one patient, the findings of the report in them and nothing else between two."""

import numpy as np

from healthgpt.phantoms.cxr_report import NORMAL, agreement, parse_report
from healthgpt.phantoms.read_chest_xray import measure
from healthgpt.phantoms.textbook_film import make_textbook_film


def test_the_same_seed_gives_the_same_film():
    (film, report), (again, report_again) = make_textbook_film(4), make_textbook_film(4)
    np.testing.assert_array_equal(film, again)
    assert report == report_again
    assert film.dtype == np.float32
    assert film.shape == (128, 128)
    assert 0 <= film.min() <= film.max() <= 1


def test_the_reader_finds_what_the_report_says():
    films = [make_textbook_film(seed) for seed in range(30)]
    hits = [list(agreement(measure(film), parse_report(report)).values()) for film, report in films]
    assert np.mean(hits) > 0.9


def test_two_films_of_one_finding_list_are_one_film_but_for_the_heart_s_share():
    """What differs between films is their findings: those without any differ only about the heart."""
    normal = []
    for seed in range(200):
        film, report = make_textbook_film(seed)
        if parse_report(report) == NORMAL:
            normal.append(film)
    assert len(normal) >= 2
    difference = np.abs(np.diff(normal, axis=0)).max(axis=0)
    assert difference[:, :30].max() < 0.05
    assert difference[:40].max() < 0.05

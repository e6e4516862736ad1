"""Words are made even: every oddity is undone and named, nothing changes the second time, clean text stays."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthgpt.data.normalise import clean_text, normalise_answer, normalise_question

PACKS = Path(__file__).resolve().parents[2].parent / "shared" / "data"

# Pieces that meet in damaged files, so that a search finds combinations and not only single faults.
PIECES = st.sampled_from(
    [
        *("yes", "No", "Left", "LEFT", "A", "T2", "MRI", "X-ray", "x ray", "3 cm", "NULL", "n/a", "img"),
        *(" ", "  ", "\t", "\n", ".", "..", ",", "?", " ?", '"', "'", "“", "”", "—", "…", "？", "\xa0", "\x00"),
        *("<b>", "</p>", "<br/>", "<", ">", "<!--", "-->", "<script>", "</script>", "<image>", "Question:", "Q:"),
        *("Answer:", "&", "&lt;", "&amp;", "&amp;amp;lt;", "&#60;", "Ã", "Â", "â€™", "â\x80\x93", "Ã©", "\x93"),
        *("\ufeff", "\u200b", "\ufffd", "\ud83d", "ﬁ", "µ", "e\u0301"),
    ]
)
WIDE = st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join), st.lists(PIECES, max_size=12).map(" ".join))


@pytest.mark.parametrize(
    ("value", "text", "oddities"),
    [
        ("Left lung", "Left lung", ()),
        ("", "", ()),
        ("CLOSED ", "CLOSED", ("blank-padded",)),
        ("a  b\tc", "a b c", ("odd spacing",)),
        (3, "3", ("integer value",)),
        (3.0, "3", ("decimal value",)),
        (2.5, "2.5", ("decimal value",)),
        (True, "yes", ("true or false value",)),
        (None, "", ("no value",)),
        (float("nan"), "", ("no value",)),
        ("NULL", "", ("NULL",)),
        (" n/a ", "", ("blank-padded", "NULL")),
        ("None", "None", ()),
        (["x"], "['x']", ("odd value",)),
        ("<p>Left&nbsp;lung<br>base</p>", "Left lung base", ("HTML",)),
        ("CO<sub>2</sub> &amp; water", "CO2 & water", ("HTML",)),
        ('<a href="http://x.org?a=b">link</a>', "link", ("HTML",)),
        ("&amp;lt;b&amp;gt;bold", "bold", ("HTML",)),
        ("<!-- hidden -->seen<script>x()</script>", "seen", ("HTML",)),
        ("size < 3 cm and > 1 cm", "size < 3 cm and > 1 cm", ()),
        ("size <3 cm", "size <3 cm", ()),
        ("a<b and c>d", "a<b and c>d", ()),
        ("R&D", "R&D", ()),
        ("cafÃ©, 38Â°C", "café, 38°C", ("mojibake",)),
        ("Ã\x83Â©", "é", ("mojibake",)),
        ("Crohnâ€™s", "Crohn's", ("mojibake", "smart quotes")),
        ("Crohnâ\x80\x99s", "Crohn's", ("mojibake", "smart quotes")),
        ("Crohn\x92s", "Crohn's", ("mojibake", "smart quotes")),
        ("naïve 5 µm Ödem 38°", "naïve 5 µm Ödem 38°", ()),
        ("cafe\u0301", "café", ("separate accents",)),
        ("\ufeffyes", "yes", ("byte order mark",)),
        ("ï»¿yes", "yes", ("mojibake", "byte order mark")),
        ("a\xa0b", "a b", ("non-breaking spaces",)),
        ("a\u200bb\u00adc", "abc", ("zero-width characters",)),
        ("“3–5”", '"3-5"', ("smart quotes", "long dashes")),
        ("a\x00b\x1b", "ab", ("control characters",)),
        ("ﬁbrosis…", "fibrosis...", ("ligatures", "ellipses")),
        ("什么？", "什么?", ("full-width characters",)),
        ("38\ufffdC\ud83d", "38C", ("lost characters",)),
    ],
)
def test_every_oddity_is_undone_and_named(value: object, text: str, oddities: tuple[str, ...]) -> None:
    cleaned = clean_text(value)
    assert cleaned.text == text
    assert set(cleaned.oddities) == set(oddities)
    assert len(cleaned.oddities) == len(oddities)


@given(WIDE)
def test_clean_text_is_clean(text: str) -> None:
    once, oddities = clean_text(text)
    assert clean_text(once) == (once, ())
    assert bool(oddities) == (once != text)
    assert once == once.strip()
    assert once.encode("utf-8").decode("utf-8") == once
    assert not any(sign in once for sign in "\n\r\t\x00\ufeff\xa0")


@given(WIDE)
def test_questions_and_answers_change_only_once(text: str) -> None:
    clean = clean_text(text).text
    for normalise in (normalise_question, normalise_answer):
        once = normalise(clean)
        assert normalise(once) == once
        assert clean_text(once).text == once


@given(st.text(st.characters(codec="latin-1", min_codepoint=0xC0), min_size=1))
def test_accents_survive_being_read_wrongly(text: str) -> None:
    plain = clean_text(text).text
    assert clean_text(text.encode("utf-8").decode("latin-1")).text == plain


@pytest.mark.parametrize("spelling", ["Yes.", "yes", " YES", "Yes!", '"yes"', "'Yes.'", "yes ."])
def test_yes_is_yes(spelling: str) -> None:
    assert normalise_answer(clean_text(spelling).text) == "yes"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Right Lung.", "right lung"),
        ("RIGHT LUNG", "right lung"),
        ("PNEUMONIA", "pneumonia"),
        ("MRI FLAIR", "MRI FLAIR"),
        ("T2-Weighted MRI", "T2-weighted MRI"),
        ("HbA1c", "HbA1c"),
        ("Stage II", "stage II"),
        ("Hepatitis B", "hepatitis B"),
        ("A bullous lesion", "a bullous lesion"),
        ("A", "A"),
        ("Chest Xray", "chest x-ray"),
        ("X Ray", "x-ray"),
        ("COVID-19", "COVID-19"),
        ("None", "none"),
        ("1.5 cm.", "1.5 cm"),
        ("NULL.", ""),
        ("seen at two or three places ..", "seen at two or three places"),
        ("Below the 7th rib in the Right lung.", "Below the 7th rib in the Right lung."),
        ("The lungs are clear and the heart is normal..", "The lungs are clear and the heart is normal."),
        ("", ""),
    ],
)
def test_answers_have_one_spelling(answer: str, expected: str) -> None:
    assert normalise_answer(answer) == expected


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("<image>\nWhat is this ?", "What is this?"),
        ("What is this?\n<image>", "What is this?"),
        ("Question: Is it normal??", "Is it normal?"),
        ("Q1) Which lung ?", "Which lung?"),
        ("Which lung? Answer:", "Which lung?"),
        ("Queensland sign?", "Queensland sign?"),
        ("Is the lesion < 3 cm?", "Is the lesion < 3 cm?"),
        ("Vitamin A: which organ?", "Vitamin A: which organ?"),
    ],
)
def test_questions_lose_what_is_no_question(question: str, expected: str) -> None:
    assert normalise_question(clean_text(question).text) == expected


def test_oddities_of_the_real_release_are_found() -> None:
    path = PACKS / "vqa_rad" / "VQA_RAD Dataset Public.json"
    if not path.is_file():
        pytest.skip("no VQA-RAD pack beside the repository")
    found = set()
    for entry in json.loads(path.read_text(encoding="utf-8")):
        for value in entry.values():
            found.update(clean_text(value).oddities)
        assert normalise_answer(clean_text(entry["answer"]).text)
    assert {"blank-padded", "integer value", "NULL", "odd spacing"} <= found


def test_clean_records_cost_little() -> None:
    """A data set of 1.5 million records has some fifteen microseconds for each; a loaded machine is given more."""
    question = "Is there evidence of a pleural effusion in the lower left lung field on this chest radiograph?"
    started = time.process_time()
    for _ in range(20_000):
        normalise_question(clean_text(question).text)
        normalise_answer(clean_text("Left Lower Lobe").text)
    assert (time.process_time() - started) / 20_000 < 60e-6

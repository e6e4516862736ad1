"""The inspection page: nothing in a data set can act in it, its size is bounded, the same set gives the same page."""

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from made_up_source import NAME, SOURCE, questions, write_picture, write_rows
from page_outline import Outline

from healthgpt.data import inspect_page as page_module
from healthgpt.data.build import LocalWorkers, build
from healthgpt.data.inspect_page import inspect_page
from healthgpt.data.mixture import Mixture, MixturePart
from healthgpt.data.page_parts import bars, safe, share
from healthgpt.data.sample_folder import build as build_lines
from healthgpt.data.sample_folder import plan_jobs
from healthgpt.data.settings import BuildSettings
from healthgpt.data.survey import BIN_NAMES, survey, words_bin
from healthgpt.errors import DataError, OutputError
from healthgpt.sources.catalog import SOURCES


@pytest.fixture(autouse=True)
def _made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, NAME, SOURCE)


def rows() -> list[dict[str, Any]]:
    """A test picture that is in training too, a pair, questions without images, malformed rows."""
    asked: list[dict[str, Any]] = [
        {"id": "t", "images": ["p0.png"], "question": "What is it?", "answer": "thing", "split": "test"},
        {"id": "leak", "images": ["p0.png"], "question": "What is that?", "answer": "thing", "split": "train"},
        {"id": "own", "images": ["p1.png"], "question": "Where?", "answer": "here", "split": "train"},
        {"id": "pair", "task": "ct-to-mri", "image": "p2.png", "target": "p3.png", "split": "train"},
        {"id": "bad", "broken": True},
        {"id": "null", "question": "What?", "answer": "NULL"},
    ]
    return asked + [{**row, "id": f"w{row['id']}"} for row in questions(30, split="train")]


def built(place: Path, asked: list[dict[str, Any]], **settings: Any) -> Path:
    originals = write_rows(place / NAME, asked)
    for number in range(4):
        write_picture(originals / f"p{number}.png", number)
    folder = place / "set"
    build(folder, BuildSettings(sources={NAME: originals}, max_quarantined=0.2, **settings), LocalWorkers())
    return folder


def page_of(folder: Path) -> str:
    size = inspect_page(folder, folder / "inspect.html")
    text = (folder / "inspect.html").read_text(encoding="utf-8")
    assert len(text.encode()) == size
    return text


@pytest.mark.parametrize("images", ["files", "embed"])
def test_the_page_shows_what_the_set_holds(tmp_path: Path, images: str) -> None:
    mixture = Mixture(name="some", parts=(MixturePart(sources=(NAME,), count=1000),))
    outline = Outline(page_of(built(tmp_path, rows(), images=images, mixture=mixture)))
    for words in (
        "For research only.", "CC0 1.0", "broken on purpose", "rows.jsonl, 5", "no answer", "the mixture some", "1,000",
        "1 record is withheld", "all 1 test images also occur in training", "exactly", "Response", "CT to MRI",
    ):  # fmt: skip
        assert words in outline.text, words
    # The test picture, the pair, the training picture; the tied picture is shown twice.
    assert outline.tags["img"] >= 6
    assert {value for _, name, value in outline.attributes if name == "class"} >= {"card wide", "bars", "train", "test"}


def test_the_page_is_whole_by_itself_and_can_be_read_aloud(tmp_path: Path) -> None:
    outline = Outline(page_of(built(tmp_path, rows())))
    for tag, name, value in outline.attributes:
        if name in ("src", "href"):
            assert (value or "").startswith(("data:image/", "#")), (tag, value)
        assert not name.startswith("on")
    assert not {"script", "link", "iframe", "object", "form"} & outline.tags.keys()
    assert outline.headings[0] == 1
    assert outline.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False))
    assert all(value for tag, name, value in outline.attributes if (tag, name) == ("img", "alt"))
    assert outline.tags["table"] == outline.tags["caption"]
    assert sum(name == "alt" for _, name, _ in outline.attributes) == outline.tags["img"]
    assert sum((tag, name) == ("svg", "aria-label") for tag, name, _ in outline.attributes) == outline.tags["svg"]


def test_texts_of_a_data_set_cannot_act(tmp_path: Path) -> None:
    attack = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;"
    asked = questions(3, split="train", kind=attack, group=attack)
    for row in asked:
        row |= {"question": f"{attack}?", "answer": attack, "id": f"{attack}{row['id']}", "options": [attack, "b"]}
    folder = built(tmp_path, [*asked, *rows()])
    (folder / "quarantine.jsonl").write_text(
        '{"source": "<script>", "file": "<b>", "line": "<i>", "reason": "</style><script>"}\nnot JSON\n[]\n'
    )
    (folder / "leaks.json").write_text((folder / "leaks.json").read_text().replace("made_up: ", "<script>made_up: "))
    manifest = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(manifest.replace('"NULL"', '"<script>"'))
    page = page_of(folder)
    outline = Outline(page)
    assert "<script" not in page
    assert outline.tags["script"] == 0
    assert not [name for _, name, _ in outline.attributes if name.startswith("on")]
    assert "<script>" in outline.text
    assert "default-src 'none'" in page


def test_the_same_set_gives_the_same_page_whatever_the_order_of_its_rows(tmp_path: Path) -> None:
    folder = built(tmp_path / "a", rows())
    again = built(tmp_path / "b", rows())
    first = page_of(folder)
    assert first == page_of(folder) == page_of(again)
    backwards = built(tmp_path / "c", rows()[::-1])
    samples = [re.search('<section id="samples".*?</section>', page, re.DOTALL) for page in (first, page_of(backwards))]
    assert samples[0] is not None
    assert samples[1] is not None
    assert samples[0].group() == samples[1].group()


def test_the_page_stays_small_whatever_the_set_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = "word " * 5_000
    asked = [
        {"id": f"{kind}-{n}", "question": f"{long}{n}?", "answer": f"{long}{n}", "kind": f"kind {kind}",
         "images": [f"p{n}.png"], "split": "train"}
        for kind in range(300) for n in range(4)
    ]  # fmt: skip
    asked += [{"id": f"bad {n}", "broken": True} for n in range(200)]
    folder = built(tmp_path, asked)
    monkeypatch.setattr(page_module, "SHOWN", 7)
    page = page_of(folder)
    assert len(page) < 100_000
    assert page.count("<article") <= 7
    assert len(survey(folder).kinds) == 201


def test_damaged_and_missing_pictures_leave_a_box(tmp_path: Path) -> None:
    folder = built(tmp_path, rows())
    files = sorted(path for path in (folder / "images").rglob("*") if path.is_file())
    files[0].write_text("no picture")
    files[1].unlink()
    (folder / "leaks.json").write_text("{}")
    outline = Outline(page_of(folder))
    assert outline.text.count("image not at hand") >= 2
    assert "no readable leak report" in outline.text


def test_a_folder_of_lines_has_a_page_too(tmp_path: Path) -> None:
    build_lines(tmp_path, plan_jobs({"oct": 1}, {"reconstruct": 1, "report-to-cxr": 1}, "train"), size=32)
    outline = Outline(page_of(tmp_path))
    assert "without a manifest" in outline.text
    assert "vl-phantom" in outline.text


def test_what_cannot_be_inspected_or_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a finished data set"):
        inspect_page(tmp_path, tmp_path / "page.html")
    folder = built(tmp_path, rows())
    with pytest.raises(OutputError, match="cannot write"):
        inspect_page(folder, tmp_path / "nowhere" / "page.html")
    shutil.rmtree(folder / "data")
    with pytest.raises(DataError):
        inspect_page(folder, tmp_path / "page.html")
    assert not list(tmp_path.glob("page.html*"))


def test_words_and_shares_are_told_as_they_are() -> None:
    assert [words_bin("word " * count) for count in (0, 1, 3, 4, 256, 257)] == [
        "0", "1", "3 to 4", "3 to 4", "129 to 256", "257 or more"
    ]  # fmt: skip
    assert len(set(BIN_NAMES)) == len(BIN_NAMES)
    assert [share(*one) for one in ((0, 5), (1, 5000), (4999, 5000), (5, 5), (1, 0))] == [
        "0 %", "&lt; 0.1 %", "&gt; 99.9 %", "100 %", "–"
    ]  # fmt: skip
    assert safe("<" * 500).count("&lt;") == 399
    chart = bars("many", {f"value {number:03d}": Counter(train=number + 1) for number in range(60)})
    assert "20 others" in chart
    assert chart.count("<svg") == 41

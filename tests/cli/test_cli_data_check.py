"""``data check`` and ``data inspect``: exit codes, one JSON object, one page."""

import json
from pathlib import Path

import pytest

from healthgpt.cli.main import main
from healthgpt.data.sample_folder import build, plan_jobs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build(tmp_path / "set", plan_jobs({"oct": 1}, {"reconstruct": 1}, "train"), size=32)
    return tmp_path / "set"


def test_a_sound_set_ends_with_zero(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(folder)]) == 0
    printed = capsys.readouterr()
    assert "images in 1 files of records" in printed.out
    assert "healthgpt data inspect" in printed.err


def test_all_problems_are_printed_and_the_code_is_two(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (folder / "images").iterdir():
        path.write_text("no picture")
    with (folder / "records.jsonl").open("a") as stream:
        stream.write("{}\n" * 9)
    assert main(["data", "check", str(folder)]) == 2
    printed = capsys.readouterr()
    assert "9 x record: rows that are not a valid record" in printed.out
    assert "... and 4 more" in printed.out
    assert "image unreadable" in printed.out
    assert printed.err.count("error: ") == 1
    assert "Traceback" not in printed.err


def test_json_is_one_object(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["clean"] is True
    next((folder / "images").iterdir()).unlink()
    assert main(["data", "check", str(folder), "--json"]) == 2
    report = json.loads(capsys.readouterr().out)
    assert [(problem["kind"], problem["count"]) for problem in report["problems"]] == [("image missing", 1)]


def test_a_folder_without_a_data_set_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(tmp_path / "nothing")]) == 2
    assert "not a finished data set" in capsys.readouterr().err


def test_the_page_goes_beside_the_set_or_where_it_is_wanted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "inspect", str(folder)]) == 0
    assert (folder / "inspect.html").is_file()
    assert "inspect.html" in capsys.readouterr().err
    other = folder.parent / "page.html"
    assert main(["data", "inspect", str(folder), "-o", str(other)]) == 0
    assert other.read_bytes() == (folder / "inspect.html").read_bytes()

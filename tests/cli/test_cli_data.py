"""``data``: what can be built is listed, what is built can be read back."""

from pathlib import Path

import pytest

from healthgpt.cli.main import main
from healthgpt.record import read_records
from healthgpt.tasks import TASKS


@pytest.mark.parametrize("arguments", [["data"], ["data", "sources"]])
def test_sources_are_listed_with_their_licences(arguments: list[str], capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("vl-phantom", "vqa_rad", "CC0", "CC BY 4.0"))


def test_present_packs_are_marked(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    (tmp_path / "vqa_rad").mkdir()
    assert main(["data", "sources", "--packs", str(tmp_path)]) == 0
    rows = {line.split("│")[1].strip(): line for line in capsys.readouterr().out.splitlines() if line.startswith("│")}
    assert rows["vqa_rad"].rstrip(" │").endswith("yes")
    assert rows["slake"].rstrip(" │").endswith("no")


def test_built_folder_reads_back(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "set"
    assert main(["data", "build", str(folder), "--cases", "1", "--pairs", "1", "--split", "test"]) == 0
    records = list(read_records(folder / "records.jsonl"))
    assert {record.task for record in records} == set(TASKS)
    assert {record.split for record in records} == {"test"}
    for record in records:
        for name in (record.image, record.target_image):
            assert name is None or (folder / name).is_file()
    assert f"{len(records)} records" in capsys.readouterr().err


def test_unknown_split(tmp_path: Path, capsys) -> None:
    assert main(["data", "build", str(tmp_path / "set"), "--split", "tset"]) == 2
    assert "did you mean 'test'" in capsys.readouterr().err

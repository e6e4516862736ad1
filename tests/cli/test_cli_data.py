"""``data``: what can be built is listed, what is built can be read back."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from healthgpt.cli.main import main
from healthgpt.data.shards import load_manifest
from healthgpt.record import read_records
from healthgpt.tasks import GENERATION_TASKS, MODALITIES


@pytest.mark.parametrize("arguments", [["data"], ["data", "sources"]])
def test_sources_are_listed_with_their_licences(arguments: list[str], capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("vl-phantom", "vqa_rad", "CC0", "CC BY 4.0"))


def test_present_packs_are_marked(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    (tmp_path / "vqa_rad").mkdir()
    assert main(["data", "sources", "--from", str(tmp_path)]) == 0
    rows = {line.split("│")[1].strip(): line for line in capsys.readouterr().out.splitlines() if line.startswith("│")}
    assert rows["vqa_rad"].rstrip(" │").endswith("yes")
    assert rows["slake"].rstrip(" │").endswith("no")


def test_built_folder_reads_back(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "set"
    assert main(["data", "phantom", str(folder), "--cases", "1", "--pairs", "1", "--split", "test"]) == 0
    records = list(read_records(folder / "records.jsonl"))
    assert {record.task for record in records} == {*MODALITIES, *GENERATION_TASKS}
    assert {record.split for record in records} == {"test"}
    for record in records:
        for name in (record.image, record.target_image):
            assert name is None or (folder / name).is_file()
    assert f"{len(records)} records" in capsys.readouterr().err


def test_unknown_split(tmp_path: Path, capsys) -> None:
    assert main(["data", "phantom", str(tmp_path / "set"), "--split", "tset"]) == 2
    assert "did you mean 'test'" in capsys.readouterr().err


def test_a_source_in_full_says_how_to_get_it(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["data", "sources", "mimic_cxr"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("PhysioNet", "licence", "splits", "file"))


def test_mixtures_have_the_papers_totals(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["data", "mixtures"]) == 0
    out = capsys.readouterr().out
    assert "47,000" in out
    assert "783,045" in out


def test_an_export_becomes_a_data_set_whose_records_are_shown(tmp_path: Path, capsys) -> None:
    export = tmp_path / "export"
    export.mkdir()
    for n in range(3):
        PillowImage.fromarray(np.random.default_rng(n).integers(0, 256, (40, 40), dtype=np.uint8)).save(
            export / f"{n}.png"
        )
    rows = "".join(f"{n % 3}.png,What is item {n}?,thing {n}\n" for n in range(30))
    (export / "questions.csv").write_text("image,question,answer\n" + rows)
    folder = tmp_path / "set"
    assert main(["data", "build", str(folder), "--source", f"folder={export}", "--choice-share", "0"]) == 0
    manifest = load_manifest(folder)
    assert sum(sum(own.values()) for own in manifest.counts.values()) == 30
    capsys.readouterr()
    assert main(["data", "show", str(folder), "--limit", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(json.loads(line)["provenance"]["source"] == "folder" for line in lines)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "no sources named"),
        (["--source", "vqa_rda=x"], "did you mean 'vqa_rad'"),
        (["--source", "vqa_rad"], "does not say where it lies"),
        (["--source", "vqa_rad=nowhere"], "no data set 'vqa_rad' at"),
        (["--from", "nowhere"], "no folder of downloads"),
        (["--from", "."], "none of the known data sets"),
        (["--source", "folder=.", "--words-only", "slake"], "--words-only slake is not one of the sources"),
        (["--source", "folder=.", "--splits", "cleen"], "did you mean 'clean'"),
        (["--source", "folder=.", "--images", "embedded"], "did you mean 'embed'"),
        (["--source", "folder=.", "--mixture", "mixed-48k"], "did you mean 'mixed-47k'"),
        (["--source", "folder=.", "--mixture", "none.yaml"], "cannot be read"),
        (["--source", "folder=."], "holds none of the files of 'folder'"),
    ],
)
def test_what_cannot_be_built_is_told_in_one_line(
    arguments: list[str], told: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "build", "set", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("error:") == 1
    assert told in error
    assert not (tmp_path / "set").exists()

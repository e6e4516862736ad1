"""``evaluate``: figures are written whole and told in short, with the measuring itself faked."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fake_session import FakeSession

from healthgpt.cli.main import main

RATES = {"closed_accuracy": 71.5, "open_exact_match": 62.5, "closed_questions": 4, "open_questions": 4}
FIGURES = {
    "model": "nano",
    "phantom": {
        "reading": {"all": {"model": RATES, "blind": RATES | {"closed_accuracy": 50.5}, "majority": RATES}},
        "drawing": {"report-to-cxr": {"model": {"ssim": 55.25}, "codec_ceiling": {"ssim": 90.75}}},
    },
    "real": {"skipped": "no real data packs on this machine"},
}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, fake_session: type[FakeSession]) -> list[dict[str, Any]]:
    """The measuring modules replaced; what they were asked for is returned."""
    asked: list[dict[str, Any]] = []

    def evaluate_nano(session: FakeSession, work: Path, **settings: Any) -> dict[str, Any]:
        (work / "data" / "images").mkdir(parents=True)
        (work / "data" / "images" / "a.png").touch()
        settings.pop("say")("half way")
        asked.append({"work": work, **settings})
        return json.loads(json.dumps(FIGURES))

    for name, content in (
        ("nano", {"evaluate_nano": evaluate_nano}),
        ("card", {"write_card": lambda path, figures, packs, size: None}),
        ("cost", {"measure_cost": lambda model, image: {"ask_seconds": 0.5}}),
    ):
        module = ModuleType(f"healthgpt.evaluation.{name}")
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return asked


def test_figures_are_written_and_told(
    measured: list[dict[str, Any]], tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "nano", "--questions", "14", "--pictures", "3"]) == 0
    written = json.loads((tmp_path / "benchmarks" / "results" / "nano.json").read_text())
    assert written == FIGURES | {"cost": {"ask_seconds": 0.5}}
    assert measured == [
        {"work": Path("runs/evaluate-nano"), "questions": 14, "pictures": 3, "packs": None, "workers": 2}
    ]
    out, err = capsys.readouterr()
    assert all(figure in out for figure in ("71.5", "50.5 / 62.5", "55.25", "90.75"))
    assert "half way" in err


def test_unmakeable_folder_is_told_before_the_model_loads(
    measured: list[dict[str, Any]], fake_session: type[FakeSession], tmp_path: Path, capsys
) -> None:
    (tmp_path / "file").touch()
    assert main(["evaluate", "--output", str(tmp_path / "file" / "inner" / "nano.json")]) == 2
    assert str(tmp_path / "file" / "inner") in capsys.readouterr().err
    assert fake_session.loads == []

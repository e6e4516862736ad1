"""``ask``, ``generate`` and ``chat`` with a fake session: what goes in, what comes out, on which stream."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from fake_session import REPLY, FakeSession
from PIL import Image

from healthgpt.cli.console import RESEARCH_ONLY
from healthgpt.cli.main import main


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "scan.png"
    Image.fromarray(np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))).save(path)
    return path


def test_answer_alone_on_stdout(picture: Path, fake_session: type[FakeSession], capsys) -> None:
    assert main(["ask", str(picture), "What is shown?"]) == 0
    out, err = capsys.readouterr()
    assert out == REPLY + "\n"
    assert RESEARCH_ONLY in err
    call = fake_session.calls[0]
    assert call["question"] == "What is shown?"
    assert call["image"].pixels.shape == (64, 64)


def test_json_is_one_object_with_the_promised_fields(picture: Path, fake_session, capsys) -> None:
    assert main(["ask", str(picture), "What?", "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == {
        "task": "ask",
        "model": "nano",
        "answer": REPLY,
        "confidence": 0.875,
        "token_ids": [5, 6, 7],
        "seconds": 0.25,
    }
    assert out.count("\n") == 1


def test_lone_word_is_the_question(fake_session: type[FakeSession], capsys) -> None:
    assert main(["ask", "What is a CT?"]) == 0
    assert fake_session.calls[0]["image"] is None


def test_settings_reach_the_session(picture: Path, fake_session: type[FakeSession], capsys) -> None:
    line = ["ask", str(picture), "Why?", "--temperature", "0.5", "--top-k", "3", "--top-p", "0.9", "--seed", "7"]
    assert main([*line, "--max-new-tokens", "9", "--model", "somewhere"]) == 0
    call = fake_session.calls[0]
    asked = {name: call[name] for name in ("temperature", "top_k", "top_p", "seed", "max_new_tokens")}
    assert asked == {"temperature": 0.5, "top_k": 3, "top_p": 0.9, "seed": 7, "max_new_tokens": 9}
    assert fake_session.loads == ["somewhere"]


def test_drawing_is_written_and_marked_synthetic(picture: Path, tmp_path: Path, fake_session, capsys) -> None:
    target = tmp_path / "sharp.png"
    assert main(["generate", "super-resolution", str(picture), "-o", str(target)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{target}\n"
    assert RESEARCH_ONLY in err
    with Image.open(target) as drawn:
        assert drawn.size == (128, 128)
        assert any("ynthetic" in text for text in drawn.text.values())


def test_drawing_json(tmp_path: Path, fake_session, capsys) -> None:
    target = tmp_path / "chest.png"
    assert main(["generate", "report-to-cxr", "--text", "Clear lungs.", "-o", str(target), "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert set(fields) == {"task", "model", "output", "codes", "confidence", "seconds", "fitted"}
    assert fields["output"] == str(target)
    assert np.asarray(fields["codes"]).shape == (16, 16)


def test_chat_remembers_what_was_said(
    picture: Path, fake_session: type[FakeSession], capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("What is it?\n\nAnd where?\n/quit\nnever asked\n"))
    assert main(["chat", str(picture)]) == 0
    out, err = capsys.readouterr()
    assert [call["question"] for call in fake_session.calls] == ["What is it?", "And where?"]
    assert fake_session.calls[1]["history"][0][0] == "What is it?"
    assert out.count(REPLY) == 2
    assert RESEARCH_ONLY in err

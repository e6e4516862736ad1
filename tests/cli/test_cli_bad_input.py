"""Everything a caller can get wrong ends in exit code 2 and one ``error:`` line, before the model is loaded."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from fake_session import FakeSession
from PIL import Image

from healthgpt.cli.main import main


def picture(path: Path) -> Path:
    Image.fromarray(np.arange(1024, dtype=np.uint16).astype(np.uint8).reshape(32, 32)).save(path)
    return path


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def missing(folder: Path) -> Path:
    return folder / "nothing.png"


def empty(folder: Path) -> Path:
    path = folder / "empty.png"
    path.touch()
    return path


def truncated(folder: Path) -> Path:
    path = picture(folder / "cut.png")
    path.write_bytes(path.read_bytes()[:-40])
    return path


def words(folder: Path) -> Path:
    path = folder / "words.png"
    path.write_text("This is a letter, not a picture.\n")
    return path


def huge(folder: Path) -> Path:
    path = folder / "huge.png"
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path


def error_line(capsys) -> str:
    """The only line on stderr, nothing on stdout."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    return err


def refused(arguments: list[str], capsys) -> str:
    assert main(arguments) == 2
    return error_line(capsys)


@pytest.mark.parametrize("make", [missing, empty, truncated, words, huge])
@pytest.mark.parametrize("command", ["ask", "generate", "chat"])
def test_unreadable_image(make, command: str, tmp_path: Path, fake_session: type[FakeSession], capsys) -> None:
    path = make(tmp_path)
    line = {
        "ask": ["ask", str(path), "What is shown?", "--json"],
        "generate": ["generate", "reconstruct", str(path), "-o", str(tmp_path / "out.png")],
        "chat": ["chat", str(path)],
    }[command]
    assert path.name in refused(line, capsys)
    assert fake_session.loads == []
    assert not (tmp_path / "out.png").exists()


def test_misspelt_task_names_the_closest(tmp_path: Path, fake_session, capsys) -> None:
    line = refused(["generate", "ct-to-mir", "-o", str(tmp_path / "o.png")], capsys)
    assert "'ct-to-mir'" in line
    assert "did you mean 'ct-to-mri'" in line


def test_reading_task_points_to_ask(tmp_path: Path, fake_session, capsys) -> None:
    assert "healthgpt ask" in refused(["generate", "ct", "-o", str(tmp_path / "o.png")], capsys)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["ct-to-mri"], "needs an input image"),
        (["report-to-cxr"], "needs a report"),
        (["report-to-cxr", "--text", "  "], "needs a report"),
        (["report-to-cxr", "scan.png", "--text", "Clear."], "takes no input image"),
        (["reconstruct", "scan.png", "--text", "Clear."], "takes no text"),
    ],
)
def test_inputs_that_do_not_fit_the_task(line: list[str], said: str, tmp_path: Path, fake_session, capsys) -> None:
    assert said in refused(["generate", *line, "-o", str(tmp_path / "o.png")], capsys)
    assert fake_session.loads == []


@pytest.mark.parametrize("question", ["", "   "])
def test_empty_question(question: str, tmp_path: Path, fake_session, capsys) -> None:
    assert "question is empty" in refused(["ask", str(picture(tmp_path / "a.png")), question], capsys)
    assert "question is empty" in refused(["ask", question], capsys)


def test_file_without_question(tmp_path: Path, fake_session, capsys) -> None:
    path = picture(tmp_path / "a.png")
    line = refused(["ask", str(path)], capsys)
    assert "question is missing" in line
    assert str(path) in line


def test_question_longer_than_a_file_name_is_a_question(fake_session, capsys) -> None:
    assert main(["ask", "why " * 2000]) == 0


def test_unquoted_question(fake_session, capsys) -> None:
    assert "quotes" in refused(["ask", "a.png", "what", "is", "it"], capsys)


def test_output_folder_missing(tmp_path: Path, fake_session: type[FakeSession], capsys) -> None:
    target = tmp_path / "nowhere" / "out.png"
    line = refused(["generate", "reconstruct", str(picture(tmp_path / "a.png")), "-o", str(target)], capsys)
    assert "nowhere" in line
    assert fake_session.loads == []


def test_output_not_writable(tmp_path: Path, fake_session: type[FakeSession], capsys) -> None:
    """A folder no file can be made in; the kernel's own read-only tree, for root may write anywhere else."""
    if not Path("/proc/self").is_dir():
        pytest.skip("no /proc on this system")
    line = refused(
        ["generate", "reconstruct", str(picture(tmp_path / "a.png")), "-o", "/proc/self/fdinfo/out.png"], capsys
    )
    assert "/proc/self/fdinfo/out.png" in line
    assert fake_session.loads == []


def test_output_of_another_kind(tmp_path: Path, fake_session, capsys) -> None:
    path = str(picture(tmp_path / "a.png"))
    assert ".png" in refused(["generate", "reconstruct", path, "-o", str(tmp_path / "out.exe")], capsys)


def test_model_folder_with_a_missing_file(tmp_path: Path, fake_session, capsys) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    line = refused(["ask", "What is a CT?", "--model", str(folder)], capsys)
    assert "model.safetensors" in line


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["ask"], "Missing argument"),
        (["ask", "What?", "--colour"], "--colour"),
        (["paint"], "paint"),
        (["ask", "What?", "--top-p", "7"], "found 7"),
        (["ask", "What?", "--temperature=-1"], "found -1"),
        (["ask", "What?", "--max-new-tokens", "0"], "found '0'"),
        (["ask", "What?", "--seed", "many"], "found 'many'"),
        (["ask", "What?", "--slice", "3"], "--slice 3"),
        (["generate", "reconstruct", "a.png"], "--output"),
        (["generate", "report-to-cxr", "--text", "Clear.", "-o", "a.png", "--guidance", "30"], "found 30"),
        (["generate", "ct-to-mri", "a.png", "-o", "b.png", "--guidance", "2"], "draws from no words"),
        (["train", "nanno"], "did you mean 'nano'"),
        (["train", "nano", "--resume", "--output", "no-such-run"], "no-such-run"),
        (["train", "nano", "--packs", "no-such-packs"], "no-such-packs"),
        (["train", "nano", "--plan"], "recipes of one stage"),
        (["train", "nano-stage2", "--packs", "."], "give --data"),
        (["train", "nano-stage2"], "no folder data/phantom"),
        (["train", "m3-stage2", "--plan", "--gpu", "H1000"], "H100"),
        (["recipes", "copy", "m3-stage4", "x.yaml"], "did you mean 'm3-stage"),
        (["models", "show", "nanno"], "did you mean 'nano'"),
        (["demo", "--samples", "no-such-folder"], "no-such-folder"),
    ],
)
def test_usage(line: list[str], said: str, fake_session: type[FakeSession], capsys) -> None:
    assert said in refused(line, capsys)
    assert fake_session.loads == []


def test_our_own_fault_is_one_line_and_exit_1(fake_session, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(fake_session, "ask", broken)
    assert main(["ask", "What?"]) == 1
    line = error_line(capsys)
    assert "internal fault" in line
    assert "HEALTHGPT_DEBUG=1" in line
    assert "two lines" in line


def test_debug_shows_the_traceback(fake_session, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(fake_session, "ask", broken)
    monkeypatch.setenv("HEALTHGPT_DEBUG", "1")
    assert main(["ask", "What?"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_is_no_fault(fake_session, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fake_session, "ask", stopped)
    assert main(["ask", "What?"]) == 130
    assert "Traceback" not in capsys.readouterr().err

"""Sample images and the demo on them: made, read back, shown, with a fake session."""

import json
from pathlib import Path

import pytest
from fake_session import REPLY, FakeSession
from PIL import Image

from healthgpt.cli.console import RESEARCH_ONLY
from healthgpt.cli.main import main
from healthgpt.cli.samples import FIRST_SEED, make_samples, read_samples
from healthgpt.errors import DataError
from healthgpt.phantoms.case import SEED_RANGES
from healthgpt.tasks import GENERATION_TASKS, MODALITIES, TASKS


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    assert make_samples(folder) == len(list(folder.glob("*.png")))
    return folder


def test_every_modality_and_task_is_there(samples: Path) -> None:
    images, drawings = read_samples(samples)
    assert [image.modality for image in images] == list(MODALITIES)
    assert [drawing.task for drawing in drawings] == list(GENERATION_TASKS)
    for image in images:
        with Image.open(samples / image.file) as picture:
            assert picture.size == (128, 128)
        assert len(image.questions) >= 3
        assert all(line.question and line.answer for line in image.questions)
    for drawing in drawings:
        assert (drawing.input is not None) is TASKS[drawing.task].takes_image
        assert (drawing.text is not None) is TASKS[drawing.task].takes_text
        assert (samples / drawing.reference).is_file()


def test_samples_are_unseen_and_always_the_same(samples: Path, tmp_path: Path) -> None:
    assert FIRST_SEED in SEED_RANGES["test"]
    make_samples(tmp_path)
    names = sorted(path.name for path in samples.iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir())
    assert all((samples / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": [{"file": "a.png"}], "drawings": []}', "\x00"])
def test_damaged_index_is_a_data_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "samples.json").write_text(text)
    with pytest.raises(DataError, match="healthgpt data samples"):
        read_samples(tmp_path)


def test_demo_shows_and_writes_everything(
    samples: Path, tmp_path: Path, fake_session: type[FakeSession], capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    output = tmp_path / "demo"
    assert main(["demo", "--samples", str(samples), "--output", str(output)]) == 0
    out, err = capsys.readouterr()
    assert RESEARCH_ONLY in err
    assert "healthgpt ask" in out
    assert REPLY in " ".join(out.split())
    images, _ = read_samples(samples)
    written = {path.name for path in output.iterdir()}
    assert {image.file for image in images} <= written
    assert {f"{task}-drawn.png" for task in GENERATION_TASKS} <= written
    with Image.open(output / "contact_sheet.png") as sheet:
        assert sheet.width > 600
        assert sheet.height > 1000
    assert fake_session.loads == ["nano"]
    assert sum("task" in call for call in fake_session.calls) == len(GENERATION_TASKS)


def test_samples_command_says_where(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "new" / "samples"
    assert main(["data", "samples", str(folder)]) == 0
    assert str(folder) in capsys.readouterr().err
    assert json.loads((folder / "samples.json").read_text())["images"]

"""PNG files appear whole, marked, or not at all."""

import numpy as np
import pytest
from PIL import Image as Pillow

from healthgpt.errors import OutputError
from healthgpt.imaging.read import read_image
from healthgpt.imaging.write import NOTICE_KEY, check_output, write_png

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)


@pytest.mark.parametrize("pixels", [GREY, np.dstack([GREY, GREY // 2, 255 - GREY])])
def test_written_pixels_are_read_back(tmp_path, pixels):
    path = write_png(tmp_path / "x.png", pixels)
    np.testing.assert_array_equal(np.rint(read_image(path).pixels * 255), pixels)


def test_synthetic_pictures_say_so(tmp_path):
    path = write_png(tmp_path / "x.png", GREY, {"Task": "ct-to-mri", "Prompt": "Größe → 5 mm"}, synthetic=True)
    with Pillow.open(path) as picture:
        picture.load()
        text = picture.text
    assert text[NOTICE_KEY].startswith("Synthetic image")
    assert "research use only" in text[NOTICE_KEY]
    assert (text["Task"], text["Prompt"]) == ("ct-to-mri", "Größe → 5 mm")


def test_acquired_pictures_do_not(tmp_path):
    with Pillow.open(write_png(tmp_path / "x.png", GREY, {})) as picture:
        assert NOTICE_KEY not in picture.text


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    for path, found in [
        (tmp_path / "x.jpg", "suffix '.jpg'"),
        (tmp_path / "x", "no suffix"),
        (tmp_path / "folder.png", "a folder"),
        (tmp_path / "absent" / "x.png", "no folder"),
        (tmp_path / "file" / "x.png", "no folder"),
        (tmp_path / ("x" * 300 + ".png"), "name too long"),
        ("", "a folder"),
    ]:
        with pytest.raises(OutputError) as caught:
            check_output(path)
        assert found in caught.value.found.lower()
        assert caught.value.next_step
        assert caught.value.allowed


def test_a_folder_without_permission(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.touch", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        check_output(tmp_path / "x.png")


def test_checking_leaves_nothing_behind(tmp_path):
    assert check_output(tmp_path / "x.PNG") == tmp_path / "x.PNG"
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = write_png(tmp_path / "x.png", GREY)
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_png(path, 255 - GREY)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("pixels", [GREY.astype(float), GREY[0], np.zeros((4, 4, 4), np.uint8)])
def test_other_arrays_are_a_programming_fault(tmp_path, pixels):
    with pytest.raises(ValueError, match="uint8"):
        write_png(tmp_path / "x.png", pixels)

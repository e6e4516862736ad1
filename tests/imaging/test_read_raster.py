"""PNG, JPEG and TIFF: every mode lands on the grey or colour it shows."""

import struct
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image as Pillow

from healthgpt.errors import ImageError
from healthgpt.imaging.read import read_image

GREY = (np.arange(12 * 10).reshape(12, 10) * 2).astype(np.uint8)
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)


def test_eight_bit_grey_is_exact(tmp_path):
    for name in ("g.png", "g.tif"):
        Pillow.fromarray(GREY).save(tmp_path / name)
        image = read_image(tmp_path / name)
        assert image.units == "display"
        np.testing.assert_array_equal(np.rint(image.pixels * 255), GREY)


def test_colour_is_exact_in_lossless_files(tmp_path):
    Pillow.fromarray(COLOUR).save(tmp_path / "c.png")
    np.testing.assert_array_equal(np.rint(read_image(tmp_path / "c.png").pixels * 255), COLOUR)


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_sixteen_bit_grey_keeps_its_values(tmp_path, name):
    deep = GREY.astype(np.uint16) * 257
    Pillow.fromarray(deep).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.units == "arbitrary"
    np.testing.assert_array_equal(image.pixels, deep)


def test_float_tiff_keeps_its_values(tmp_path):
    values = GREY.astype(np.float32) - 40.5
    Pillow.fromarray(values).save(tmp_path / "f.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "f.tif").pixels, values)


def test_palette_shows_its_colours(tmp_path):
    picture = Pillow.fromarray(GREY // 64, mode=None)
    indexed = picture.convert("P")
    indexed.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9] + [0] * (256 * 3 - 12))
    indexed.save(tmp_path / "p.png")
    pixels = read_image(tmp_path / "p.png").pixels
    expected = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]])[GREY // 64]
    np.testing.assert_array_equal(np.rint(pixels * 255), expected)


def test_transparency_is_laid_over_black(tmp_path):
    alpha = np.where(np.arange(10) < 5, 0, 255).astype(np.uint8) * np.ones((12, 1), np.uint8)
    Pillow.fromarray(np.dstack([COLOUR, alpha])).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert (image.pixels[:, :5] == 0).all()
    np.testing.assert_array_equal(np.rint(image.pixels[:, 5:] * 255), COLOUR[:, 5:])
    assert "alpha" in image.notes


def test_cmyk_jpeg_shows_what_it_prints(tmp_path):
    Pillow.new("RGB", (16, 16), (200, 40, 40)).convert("CMYK").save(tmp_path / "k.jpg", quality=95)
    picture = Pillow.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan: red on paper
    picture.paste((255, 255, 255, 255), (0, 0, 8, 16))
    picture.save(tmp_path / "k.jpg", quality=95)
    pixels = read_image(tmp_path / "k.jpg").pixels
    assert (pixels[:, :6] < 0.1).all()
    assert (pixels[:, 10:, 0] > 0.9).all()
    assert (pixels[:, 10:, 1:] < 0.1).all()


def test_one_bit_pictures(tmp_path):
    Pillow.fromarray(GREY > 100).save(tmp_path / "b.png")
    assert set(np.unique(read_image(tmp_path / "b.png").pixels)) == {0.0, 1.0}


def test_exif_orientation_is_obeyed(tmp_path):
    sideways = Pillow.fromarray(GREY)
    exif = sideways.getexif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to view
    sideways.save(tmp_path / "o.jpg", exif=exif, quality=100)
    image = read_image(tmp_path / "o.jpg")
    assert image.pixels.shape == (10, 12)
    np.testing.assert_allclose(image.pixels * 255, np.rot90(GREY, -1), atol=3)
    assert "orientation" in image.notes


def test_white_is_zero_deep_tiff_is_inverted(tmp_path):
    deep = GREY.astype(np.uint16) * 100
    Pillow.fromarray(deep).save(tmp_path / "w.tif", tiffinfo={262: 0})
    np.testing.assert_array_equal(read_image(tmp_path / "w.tif").pixels, deep.max() - deep)


def test_pages_of_a_tiff(tmp_path):
    pages = [Pillow.fromarray(np.roll(GREY, shift)) for shift in range(3)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    first, last = read_image(tmp_path / "pages.tif"), read_image(tmp_path / "pages.tif", 2)
    np.testing.assert_array_equal(np.rint(first.pixels * 255), GREY)
    np.testing.assert_array_equal(np.rint(last.pixels * 255), np.roll(GREY, 2))
    assert last.notes["page"] == "page 2 of 0..2"


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits", "group4", "jpeg"])
def test_compressed_tiff_never_writes_to_the_terminal(tmp_path, capfd, compression):
    picture = Pillow.fromarray(GREY)
    picture = picture.convert("1") if compression == "group4" else picture
    path = tmp_path / "x.tif"
    picture.save(path, compression=compression)
    whole = path.read_bytes()
    assert read_image(path).pixels.shape == GREY.shape
    for position in range(8, len(whole), 3):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        with suppress(ImageError):
            read_image(path)
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "")


def test_what_pillow_logs_stays_off_the_terminal(tmp_path):
    path = tmp_path / "x.tif"
    Pillow.fromarray(COLOUR).save(path)
    content = path.read_bytes()
    at = content.index(struct.pack("<HHI", 277, 3, 1))  # SamplesPerPixel
    path.write_bytes(content[: at + 8] + struct.pack("<H", 999) + content[at + 10 :])
    program = (
        "import sys\nfrom healthgpt.errors import ImageError\nfrom healthgpt.imaging.read import read_image\n"
        "try:\n    read_image(sys.argv[1])\nexcept ImageError:\n    print('refused')"
    )
    # A process of its own: under pytest every logger has a handler, so the fault would not show.
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("refused\n", "")

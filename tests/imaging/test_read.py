"""Kinds are told by content, and every bad file ends in one ImageError that says what to do."""

import gzip
import struct
import warnings
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image as Pillow
from sample_files import VOLUME, write_dicom, write_itk, write_samples

from healthgpt.errors import ImageError
from healthgpt.imaging.read import READERS, read_image


def fault(path: str | Path, slice_index: int | None = None) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_image(path, slice_index)
    error = caught.value
    assert error.what
    assert error.found
    assert error.allowed
    assert error.next_step
    assert "\n" not in error.line()
    return error


def test_every_kind_is_read_whatever_its_name(tmp_path):
    for name, path in write_samples(tmp_path).items():
        renamed = path.rename(tmp_path / f"{name[0]}-renamed.bin")
        pixels = read_image(renamed).pixels
        assert pixels.dtype == np.float32
        assert pixels.ndim == 2 or pixels.shape[2] == 3
        assert np.isfinite(pixels).all()


def test_samples_cover_every_reader(tmp_path):
    suffixes = {path.suffix for path in write_samples(tmp_path).values()}
    assert suffixes == {".png", ".jpg", ".tif", ".dcm", ".nii", ".gz", ".mgz", ".mha", ".nrrd"}
    assert len(READERS) == 8


def test_missing_folder_and_empty(tmp_path):
    assert "there is no file" in fault(tmp_path / "absent.png").what
    assert "is a folder" in fault(tmp_path).what
    (tmp_path / "empty.png").touch()
    assert "is empty" in fault(tmp_path / "empty.png").what


@pytest.mark.parametrize("name", ["x" * 5000 + ".png", "nul\0byte.png"])
def test_names_no_file_system_takes(tmp_path, name):
    assert len(fault(f"{tmp_path}/{name}").line()) < 1000


def test_a_device_is_not_read():
    assert "not a regular file" in fault("/dev/zero").what


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"Patient is well.\nNo findings.\n", "text starting with 'Patient is well.'"),
        (b"GIF89a" + bytes(40), "a GIF picture"),
        (b"PK\x03\x04" + bytes(40), "a ZIP archive"),
        (b"\x80\x03]q\x00(}q", "bytes starting with 80 03 5d 71"),
        (gzip.compress(b"just text"), "gzip data that is neither NIfTI nor MGH"),
        (b"\x1f\x8b\x08\x00broken", "gzip data that is neither NIfTI nor MGH"),
        (b"\x5c\x01\x00\x00" + bytes(344), "the header of a two-file NIfTI or Analyze image"),
    ],
)
def test_another_kind_of_file_named_png_is_named(tmp_path, content, found):
    path = tmp_path / "report.png"
    path.write_bytes(content)
    assert found in fault(path).found


def test_every_sample_cut_in_half_is_refused_without_a_word_on_the_terminal(tmp_path, capfd):
    for path in write_samples(tmp_path).values():
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        fault(path)
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "")


def test_compressed_volumes_cut_behind_the_wanted_slice_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 1000, (40, 40, 40)).astype(np.int16)
    nifti = tmp_path / "v.nii.gz"
    nifti.write_bytes(gzip.compress(nibabel.Nifti1Image(noise, np.eye(4)).to_bytes()))
    for path in (nifti, write_itk(tmp_path / "v.mha", noise, True), write_itk(tmp_path / "v.nrrd", noise, True)):
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * 0.9)])
        assert read_error_is_about_length(fault(path, slice_index=1))


def read_error_is_about_length(error: ImageError) -> bool:
    return "truncated" in error.what or "bytes" in error.found


def png_declaring(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_declared_sizes_are_refused_before_decoding(tmp_path):
    png = tmp_path / "bomb.png"
    png.write_bytes(png_declaring(60_000, 60_000))
    assert "60000 x 60000" in fault(png).found

    small = np.zeros((4, 4), np.uint16)
    dicom = write_dicom(tmp_path / "bomb.dcm", small, Rows=60_000, Columns=60_000)
    assert "60000 x 60000" in fault(dicom).found
    frames = write_dicom(tmp_path / "frames.dcm", small, Rows=2_000, Columns=2_000, NumberOfFrames=100_000)
    assert "2000 x 2000 x 100000" in fault(frames).found

    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header["dim"] = [3, 30_000, 30_000, 30_000, 1, 1, 1, 1]
    header["magic"], header["vox_offset"] = b"n+1", 352
    nifti = tmp_path / "bomb.nii.gz"
    nifti.write_bytes(gzip.compress(header.binaryblock + bytes(4) + bytes(100_000)))
    assert "30000 x 30000" in fault(nifti).found

    metaimage = tmp_path / "bomb.mha"
    metaimage.write_bytes(
        b"ObjectType = Image\nNDims = 3\nDimSize = 900 900 900\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    assert "900 x 900 x 900" in fault(metaimage).found

    tiff = tmp_path / "bomb.tif"
    Pillow.fromarray(np.eye(8, dtype=np.uint8)).save(tiff)
    content = bytearray(tiff.read_bytes())
    for tag in (256, 257):
        at = content.index(struct.pack("<HH", tag, 4)) if struct.pack("<HH", tag, 4) in content else -1
        at = at if at >= 0 else content.index(struct.pack("<HH", tag, 3))
        content[at : at + 12] = struct.pack("<HHII", tag, 4, 1, 60_000)
    tiff.write_bytes(content)
    assert "60000 x 60000" in fault(tiff).found


@pytest.mark.parametrize("index", [5, -1, 10**12])
def test_slices_out_of_range_say_the_range(tmp_path, index):
    path = write_samples(tmp_path)["l.nii.gz"]
    assert fault(path, index).allowed == "0..4"


def test_a_slice_of_a_2d_image_is_refused(tmp_path):
    samples = write_samples(tmp_path)
    for name in ("a.png", "b.jpg", "c.tif", "g.dcm"):
        error = fault(samples[name], 0)
        assert "2D image" in error.what
        assert "--slice" in error.next_step


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_volume_without_contrast_holds_no_picture(tmp_path, value):
    path = tmp_path / "flat.nii"
    nibabel.Nifti1Image(np.full((6, 6, 3), value, np.float32), np.eye(4)).to_filename(path)
    error = fault(path)
    assert "holds no picture" in error.what
    assert "axial slice 1 of 0..2" in error.what


def test_one_flat_colour_holds_no_picture(tmp_path):
    Pillow.new("RGB", (9, 7), (200, 30, 40)).save(tmp_path / "flat.png")
    assert "holds no picture" in fault(tmp_path / "flat.png").what


def test_a_few_bad_values_are_replaced_and_noted(tmp_path):
    values = VOLUME.astype(np.float32)
    values[0, 0, 2], values[1, 1, 2] = np.nan, np.inf
    nibabel.Nifti1Image(values, np.eye(4)).to_filename(tmp_path / "v.nii")
    image = read_image(tmp_path / "v.nii")
    assert np.isfinite(image.pixels).all()
    assert image.notes["replaced"].startswith("2 pixels")


def test_colour_without_colour_comes_back_grey(tmp_path):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Pillow.fromarray(np.dstack([grey] * 3)).save(tmp_path / "grey.png")
    np.testing.assert_allclose(read_image(tmp_path / "grey.png").pixels, grey / 255, rtol=1e-6)


def test_warnings_of_decoders_become_notes(tmp_path, monkeypatch):
    path = write_samples(tmp_path)["a.png"]
    original = READERS["PNG"]

    def warning_reader(file: Path, slice_index: int | None):
        warnings.warn("odd\n chunk", UserWarning, stacklevel=1)
        return original(file, slice_index)

    monkeypatch.setitem(READERS, "PNG", warning_reader)
    assert read_image(path).notes["warnings"] == "odd chunk"

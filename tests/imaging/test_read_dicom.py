"""DICOM: stored numbers become physical values, and every transfer syntax the same ones."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless
from sample_files import dicom_dataset, write_dicom

from healthgpt.errors import ImageError
from healthgpt.imaging.image import Window
from healthgpt.imaging.intensity import to_display
from healthgpt.imaging.read import read_image
from healthgpt.imaging.read_dicom import MODALITY_OF_TAG
from healthgpt.tasks import MODALITIES

SAMPLES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "dicom_samples"
STORED = (np.arange(40 * 36).reshape(40, 36) % 1201).astype(np.int16)


@pytest.fixture
def samples() -> Path:
    if not SAMPLES.is_dir():
        pytest.skip(f"the real DICOM samples are not at {SAMPLES}")
    return SAMPLES


def item(**attributes) -> Sequence:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return Sequence([dataset])


def test_every_tag_leads_to_a_modality_of_the_task_table():
    assert set(MODALITY_OF_TAG.values()) == set(MODALITIES)


def test_ct_is_hounsfield_with_the_first_window_and_spacing(tmp_path):
    path = write_dicom(
        tmp_path / "ct.dcm", STORED, Modality="CT", RescaleSlope=2, RescaleIntercept=-1024,
        WindowCenter=[40, 300], WindowWidth=[400, 1500], PixelSpacing=[0.7, 0.5],
    )  # fmt: skip
    image = read_image(path)
    assert (image.units, image.modality, image.spacing_mm) == ("hounsfield", "ct", (0.7, 0.5))
    assert image.window == Window(40, 400)
    np.testing.assert_array_equal(image.pixels, STORED * 2.0 - 1024)


def test_ct_values_of_another_quantity_are_not_hounsfield(tmp_path):
    path = write_dicom(
        tmp_path / "map.dcm", STORED, Modality="CT", RescaleSlope=1, RescaleIntercept=0, RescaleType="US"
    )
    assert read_image(path).units == "arbitrary"


@pytest.mark.parametrize("tag", ["CR", "DX", "MR", "US", "OPT", "OP", "SM", "NM"])
def test_modality_tag(tmp_path, tag):
    assert read_image(write_dicom(tmp_path / "m.dcm", STORED, Modality=tag)).modality == MODALITY_OF_TAG.get(tag)


def test_detector_spacing_serves_where_there_is_no_other(tmp_path):
    path = write_dicom(tmp_path / "x.dcm", STORED, Modality="DX", ImagerPixelSpacing=[0.14, 0.15])
    assert read_image(path).spacing_mm == (0.14, 0.15)


def test_monochrome1_is_turned_with_its_window(tmp_path):
    attributes = {"WindowCenter": 300, "WindowWidth": 200}
    plain = read_image(write_dicom(tmp_path / "2.dcm", STORED, **attributes))
    turned = read_image(write_dicom(tmp_path / "1.dcm", STORED, PhotometricInterpretation="MONOCHROME1", **attributes))
    shown, negative = to_display(plain, plain.window), to_display(turned, turned.window)
    assert np.abs(shown.astype(int) + negative - 255).max() <= 1


def test_bare_eight_bit_grey_is_already_a_display(tmp_path):
    stored = (STORED % 256).astype(np.uint8)
    image = read_image(write_dicom(tmp_path / "us.dcm", stored, Modality="US"))
    assert image.units == "display"
    np.testing.assert_array_equal(to_display(image), stored)


def test_bits_above_the_stored_ones_are_not_the_picture(tmp_path):
    stored = STORED.astype(np.uint16)
    overlaid = stored | np.uint16(0x8000)
    path = write_dicom(tmp_path / "o.dcm", overlaid, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(read_image(path).pixels, stored)


def test_padding_is_dark(tmp_path):
    stored = STORED.copy()
    stored[:5] = -2000
    image = read_image(write_dicom(tmp_path / "p.dcm", stored, PixelPaddingValue=-2000))
    assert image.pixels.min() == stored[5:].min()
    assert "180 padding pixels" in image.notes["padding"]


def lookup_table(first: int, entries: np.ndarray) -> Sequence:
    return item(
        LUTDescriptor=[len(entries), first, 16], LUTData=entries.astype(np.uint16).tobytes(), ModalityLUTType="US"
    )


def test_modality_table_replaces_the_values(tmp_path):
    stored = (STORED % 256).astype(np.uint8)
    entries = np.arange(256) ** 2 // 2
    path = write_dicom(tmp_path / "l.dcm", stored, ModalityLUTSequence=lookup_table(0, entries))
    np.testing.assert_array_equal(read_image(path).pixels, entries[stored])


def test_voi_table_makes_a_display(tmp_path):
    stored = (STORED % 256).astype(np.uint16)
    entries = 65535 - np.arange(256) * 257
    path = write_dicom(tmp_path / "v.dcm", stored, Modality="DX", VOILUTSequence=lookup_table(0, entries))
    image = read_image(path)
    assert image.units == "display"
    np.testing.assert_allclose(image.pixels, entries[stored] / 65535, atol=1e-6)


def test_a_window_without_width_is_left_out(tmp_path):
    image = read_image(write_dicom(tmp_path / "w.dcm", STORED, WindowCenter=40, WindowWidth=0))
    assert image.window is None
    assert "ignored" in image.notes["window"]


def test_frames(tmp_path):
    frames = np.stack([STORED + shift for shift in (0, 1000, 2000)])
    path = write_dicom(tmp_path / "f.dcm", frames)
    np.testing.assert_array_equal(read_image(path).pixels, frames[1])
    np.testing.assert_array_equal(read_image(path, 2).pixels, frames[2])
    with pytest.raises(ImageError, match=r"0\.\.2"):
        read_image(path, 3)


def test_frames_cut_behind_the_wanted_one_are_refused(tmp_path):
    path = write_dicom(tmp_path / "f.dcm", np.stack([STORED, STORED + 1, STORED + 2]))
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(ImageError):
        read_image(path, 0)


def test_enhanced_objects_keep_their_scale_in_functional_groups(tmp_path):
    shared = item(
        PixelMeasuresSequence=item(PixelSpacing=[0.9, 0.8]),
        PixelValueTransformationSequence=item(RescaleSlope=1, RescaleIntercept=-1000, RescaleType="HU"),
    )
    per_frame = Sequence([item(FrameVOILUTSequence=item(WindowCenter=c, WindowWidth=80))[0] for c in (10, 20)])
    path = write_dicom(
        tmp_path / "e.dcm", np.stack([STORED, STORED[::-1]]), Modality="CT",
        SharedFunctionalGroupsSequence=shared, PerFrameFunctionalGroupsSequence=per_frame,
    )  # fmt: skip
    image = read_image(path, 0)
    assert (image.units, image.spacing_mm, image.window) == ("hounsfield", (0.9, 0.8), Window(10, 80))
    np.testing.assert_array_equal(image.pixels, STORED - 1000.0)


def test_colour(tmp_path):
    colour = np.stack([STORED % 256, STORED // 5, 255 - STORED % 256], axis=-1).astype(np.uint8)
    image = read_image(write_dicom(tmp_path / "rgb.dcm", colour))
    np.testing.assert_array_equal(np.rint(image.pixels * 255), colour)


def test_ybr_is_turned_into_rgb(tmp_path):
    ybr = np.full((8, 8, 3), 128, np.uint8)
    ybr[:4] = (76, 85, 255)  # red in BT.601, PS3.3 C.7.6.3.1.2
    image = read_image(write_dicom(tmp_path / "ybr.dcm", ybr, PhotometricInterpretation="YBR_FULL"))
    np.testing.assert_allclose(image.pixels[0, 0], [1, 0, 0], atol=0.02)


def test_palette_is_looked_up(tmp_path):
    stored = np.array([[0, 1], [2, 0]], np.uint8)
    tables = {}
    for name, entries in (("Red", [0, 65535, 0]), ("Green", [0, 0, 65535]), ("Blue", [65535, 0, 0])):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [3, 0, 16]
        tables[f"{name}PaletteColorLookupTableData"] = np.array(entries, np.uint16).tobytes()
    path = write_dicom(tmp_path / "pal.dcm", stored, PhotometricInterpretation="PALETTE COLOR", **tables)
    assert read_image(path).pixels.tolist() == [[[0, 0, 1], [1, 0, 0]], [[0, 1, 0], [0, 0, 1]]]


def test_a_preamble_is_not_required(tmp_path):
    dataset = dicom_dataset(STORED)
    del dataset.file_meta
    path = tmp_path / "bare"
    dataset.save_as(path, implicit_vr=True, little_endian=True)
    assert path.read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_image(path).pixels, STORED)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, DeflatedExplicitVRLittleEndian])
def test_lossless_syntaxes_hold_the_same_pixels(tmp_path, syntax):
    dataset = dicom_dataset(STORED.astype(np.uint16))
    if syntax == DeflatedExplicitVRLittleEndian:
        dataset.file_meta.TransferSyntaxUID = syntax
    else:
        dataset.compress(syntax)
    dataset.save_as(tmp_path / "c.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(read_image(tmp_path / "c.dcm").pixels, STORED)


def refused(path: Path) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_image(path)
    return caught.value


def test_a_compressed_frame_of_another_size_is_not_decoded(tmp_path):
    dataset = dicom_dataset(STORED.astype(np.uint16))
    dataset.compress(JPEG2000Lossless)
    dataset.Rows = 41
    dataset.save_as(tmp_path / "c.dcm", enforce_file_format=True)
    assert refused(tmp_path / "c.dcm").found == "36 x 40 pixels in the compressed frame, 36 x 41 declared"


def test_missing_decoders_are_named(tmp_path, monkeypatch):
    dataset = dicom_dataset(STORED.astype(np.uint16))
    dataset.compress(JPEG2000Lossless)
    dataset.save_as(tmp_path / "c.dcm", enforce_file_format=True)
    monkeypatch.setattr(get_decoder(JPEG2000Lossless), "_available", {})
    assert "pip install pylibjpeg" in refused(tmp_path / "c.dcm").next_step

    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    dataset.save_as(tmp_path / "v.dcm", enforce_file_format=True)
    assert "MPEG2" in refused(tmp_path / "v.dcm").found


def test_an_inflating_data_set_is_measured_first(tmp_path, monkeypatch):
    monkeypatch.setattr("healthgpt.imaging.read_dicom.MAX_STACK_PIXELS", 10_000)
    dataset = dicom_dataset(np.zeros((400, 400), np.uint8))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "bomb.dcm", enforce_file_format=True)
    assert (tmp_path / "bomb.dcm").stat().st_size < 2_000
    assert "inflates" in refused(tmp_path / "bomb.dcm").what


def test_files_without_a_picture(tmp_path, samples):
    assert "Basic Text SR" in refused(samples / "cornerstone" / "no-pixel-data.dcm").found
    dataset = dicom_dataset(STORED)
    del dataset.PixelData
    dataset.save_as(tmp_path / "header.dcm", enforce_file_format=True)
    assert "without pixel data" in refused(tmp_path / "header.dcm").what


def test_one_slice_is_the_same_in_seven_syntaxes(samples):
    copies = sorted((samples / "cornerstone").glob("CTImage*.dcm"))
    images = [read_image(path) for path in copies]
    assert len(images) == 7
    for path, image in zip(copies, images, strict=True):
        np.testing.assert_array_equal(image.pixels, images[0].pixels, err_msg=path.name)
        assert (image.units, image.window) == ("hounsfield", Window(40, 400))


def test_rle_frames_equal_plain_ones(samples):
    for frame in range(10):
        plain = read_image(samples / "pydicom" / "emri_small.dcm", frame)
        packed = read_image(samples / "pydicom" / "emri_small_RLE.dcm", frame)
        np.testing.assert_array_equal(plain.pixels, packed.pixels)


def test_the_real_oddities(samples):
    folder = samples / "pydicom"
    leg = read_image(folder / "RG3_J2KI.dcm")
    assert leg.modality == "x-ray"
    assert "MONOCHROME1" in leg.notes["photometric"]
    stored = dcmread(folder / "RG3_J2KI.dcm").pixel_array
    assert np.corrcoef(leg.pixels.ravel(), stored.ravel())[0, 1] == pytest.approx(-1, abs=1e-4)
    assert read_image(folder / "US1_J2KR.dcm").pixels.shape == (480, 640, 3)
    assert read_image(folder / "OBXXXX1A_rle.dcm").units == "display"
    assert read_image(folder / "mlut_18.dcm").notes["modality_lut"] == "applied"
    assert "mosaic" in read_image(samples / "mr_siemens_mosaic" / "ax_asc_35.dcm").notes

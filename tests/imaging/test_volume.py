"""Whole scans: every format and series gives the same volume; what is broken is refused with its reason."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from sample_files import VOLUME, write_dicom, write_itk, write_samples
from scan_files import affine_of, write_nifti

from healthgpt.errors import ImageError
from healthgpt.imaging.volume import read_volume

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture
def data() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"the real data packs are not at {DATA}")
    return DATA


def write_series(folder: Path, values: np.ndarray, *, places: list[int] | None = None, **attributes) -> list[Path]:
    """(x, y, z) RAS+ values as axial DICOM slices of 0.5 x 0.75 mm, 2 mm apart; ``places``: which z to write."""
    folder.mkdir(exist_ok=True)
    paths = []
    for z in range(values.shape[2]) if places is None else places:
        # Columns run to the patient's left and rows to the back: LPS.
        stored = np.ascontiguousarray(values[::-1, ::-1, z].T).astype(np.int16)
        fields = {
            "Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -100, "PixelSpacing": [0.75, 0.5],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [-3, -5, 2 * z + 7],
            "SeriesInstanceUID": "1.2.3", "SeriesDescription": "thin", "InstanceNumber": z + 1,
        }  # fmt: skip
        paths.append(write_dicom(folder / f"s{(z * 7) % 100:02d}-{z}.dcm", stored, **(fields | attributes)))
    return paths


@pytest.mark.parametrize("name", ["k.nii", "l.nii.gz", "m.mgz"])
def test_formats_give_the_same_values(tmp_path, name):
    volume = read_volume(write_samples(tmp_path)[name])
    np.testing.assert_array_equal(volume.values, VOLUME)
    assert volume.values.dtype == np.float32
    assert volume.spacing_mm == pytest.approx((1, 2, 3))
    assert (volume.modality, volume.units) == (None, "arbitrary")


@pytest.mark.parametrize("name", ["n.mha", "o.mha", "p.nrrd", "q.nrrd"])
def test_lps_files_are_turned_to_ras(tmp_path, name):
    volume = read_volume(write_samples(tmp_path)[name])
    np.testing.assert_array_equal(volume.values, VOLUME[::-1, ::-1])
    assert volume.spacing_mm == pytest.approx((0.5, 0.75, 2))
    # The first voxel of the file lies at LPS (0, 0, 0): the last along both turned axes.
    np.testing.assert_allclose(volume.affine @ [6, 5, 0, 1], [0, 0, 0, 1], atol=1e-9)


def test_agrees_with_nibabel_on_scaled_voxels(tmp_path):
    image = nibabel.Nifti1Image(VOLUME * 0.37 - 3.3, affine_of((1, 2, 3)))
    image.set_data_dtype(np.uint8)
    nibabel.save(image, tmp_path / "v.nii.gz")
    theirs = np.asarray(nibabel.load(tmp_path / "v.nii.gz").dataobj, dtype=np.float32)
    np.testing.assert_array_equal(read_volume(tmp_path / "v.nii.gz").values, theirs)


@pytest.mark.parametrize("kept", [30, 200, 0.5, -9, -1])
def test_a_cut_gzip_is_refused(tmp_path, kept):
    """Cut in the header, in the voxels, and in the checksum that ends the file."""
    noise = np.random.default_rng(0).integers(0, 999, (30, 20, 10))
    whole = gzip.compress(nibabel.Nifti1Image(noise.astype(np.int16), np.eye(4)).to_bytes(), mtime=0)
    end = int(len(whole) * kept) if isinstance(kept, float) else kept
    (tmp_path / "cut.nii.gz").write_bytes(whole[:end])
    with pytest.raises(ImageError, match=r"cut\.nii\.gz"):
        read_volume(tmp_path / "cut.nii.gz")


def test_a_wrong_checksum_is_refused(tmp_path):
    whole = bytearray(gzip.compress(nibabel.Nifti1Image(VOLUME, np.eye(4)).to_bytes(), mtime=0))
    whole[-6] ^= 1
    (tmp_path / "v.nii.gz").write_bytes(whole)
    with pytest.raises(ImageError, match="damaged"):
        read_volume(tmp_path / "v.nii.gz")


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_zero_spacing_is_refused(tmp_path, axis):
    image = nibabel.Nifti1Image(VOLUME, affine_of((1, 2, 3)))
    content = bytearray(image.to_bytes())
    content[76 + 4 * axis : 80 + 4 * axis] = bytes(4)  # pixdim, NIfTI-1 offset 76
    (tmp_path / "v.nii").write_bytes(content)
    with pytest.raises(ImageError, match=r"no usable voxel size; found a spacing of .*\b0\b.*; next: "):
        read_volume(tmp_path / "v.nii")


@pytest.mark.parametrize(
    ("broken", "told"),
    [(np.nan, "not finite"), (np.inf, "not finite"), (0.0, "no length"), ("parallel", "the same way")],
)
def test_an_unusable_affine_is_refused(tmp_path, broken, told):
    affine = affine_of((1, 2, 3))
    affine[:3, 1] = affine[:3, 0] if broken == "parallel" else broken
    image = nibabel.Nifti1Image(VOLUME, affine_of((1, 2, 3)))
    content = bytearray(image.to_bytes())
    content[280:328] = affine[:3].astype("<f4").tobytes()  # srow_x to srow_z
    (tmp_path / "v.nii").write_bytes(content)
    with pytest.raises(ImageError, match=f"affine that says nothing.*{told}.*next: "):
        read_volume(tmp_path / "v.nii")


def test_zero_spacing_of_other_formats_is_refused(tmp_path):
    path = write_itk(tmp_path / "v.mha", VOLUME, False)
    path.write_bytes(path.read_bytes().replace(b"ElementSpacing = 0.5 0.75 2", b"ElementSpacing = 0.5 0.00 2"))
    with pytest.raises(ImageError, match=r"a spacing of 0\.5 x 0 x 2 mm"):
        read_volume(path)


def test_values_that_are_not_finite_become_the_lowest(tmp_path):
    values = VOLUME.astype(np.float32) + 5
    values[1, 2, 3], values[2, 0, 0] = np.nan, np.inf
    volume = read_volume(write_nifti(tmp_path / "v.nii", values, np.eye(4)))
    assert volume.values[1, 2, 3] == volume.values[2, 0, 0] == volume.values.min() == 5 + VOLUME.min()
    assert "2 voxels" in volume.notes[-1]
    with pytest.raises(ImageError, match="no finite value"):
        read_volume(write_nifti(tmp_path / "n.nii", np.full((3, 3, 3), np.nan), np.eye(4)))


def test_what_is_no_scan_is_refused(tmp_path):
    paths = write_samples(tmp_path)
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 3, 2), np.float32), np.eye(4)), tmp_path / "4d.nii.gz")
    for path, told in (
        (paths["a.png"], "one PNG picture"), (paths["g.dcm"], "name the folder of its series"),
        (tmp_path / "4d.nii.gz", "4D image.*extract one"), (tmp_path / "none.nii", "no file"),
    ):  # fmt: skip
        with pytest.raises(ImageError, match=told):
            read_volume(path)


def test_air_and_bone_make_hounsfield_units(tmp_path):
    volume = read_volume(write_nifti(tmp_path / "v.nii", VOLUME * 10.0 - 1000, np.eye(4)))
    assert (volume.modality, volume.units) == ("ct", "hounsfield")


def test_a_series_is_sorted_along_its_normal(tmp_path):
    write_series(tmp_path / "series", VOLUME)
    (tmp_path / "series" / "README.txt").write_text("not a slice")
    volume = read_volume(tmp_path / "series")
    np.testing.assert_array_equal(volume.values, VOLUME - 100)
    assert volume.spacing_mm == pytest.approx((0.5, 0.75, 2))
    assert (volume.modality, volume.units) == ("ct", "hounsfield")
    # The stored corner, LPS (-3, -5, 7), is the last voxel along x and y.
    np.testing.assert_allclose(volume.affine @ [6, 5, 0, 1], [3, 5, 7, 1], atol=1e-9)


def test_missing_slices_are_counted_and_placed(tmp_path):
    values = np.repeat(VOLUME, 3, axis=2)
    write_series(tmp_path / "series", values, places=[0, 1, 2, 3, 6, 7, 8, 10, 11])
    with pytest.raises(ImageError, match=r"lacks 3 slices.*6\.00 mm between s21-3\.dcm and s42-6\.dcm.*every 2\.00 mm"):
        read_volume(tmp_path / "series")


def test_every_other_slice_missing_is_seen_when_header_and_numbers_say_so(tmp_path):
    places = list(range(0, 14, 2))
    values = np.repeat(VOLUME, 3, axis=2)
    write_series(tmp_path / "holes", values, places=places, SpacingBetweenSlices=2)
    with pytest.raises(ImageError, match="lacks 6 slices"):
        read_volume(tmp_path / "holes")
    write_series(tmp_path / "thin", values, places=places, SliceThickness=4)
    assert read_volume(tmp_path / "thin").values.shape[2] == 7


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"SeriesInstanceUID": "1.2.4", "SeriesDescription": "thick"}, r"mixes 2 DICOM series.*'thin' \(1\.2\.3, 5"),
        ({"ImagePositionPatient": [-3, -5, 9]}, "two slices at one place"),
        ({"ImagePositionPatient": [-3, -5, 17.6]}, "uneven distances"),
        ({"ImagePositionPatient": None}, "no ImagePositionPatient"),
        ({"PixelSpacing": [0.0, 0.5]}, "sizes above 0"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, 1]}, "ImageOrientationPatient"),
    ],
)
def test_a_slice_that_does_not_belong_is_named(tmp_path, attributes, told):
    write_series(tmp_path / "series", VOLUME)
    write_series(tmp_path / "other", np.zeros((7, 6, 6)), places=[5], **attributes)
    (tmp_path / "other" / "s35-5.dcm").rename(tmp_path / "series" / "other.dcm")
    with pytest.raises(ImageError, match=told):
        read_volume(tmp_path / "series")


def test_a_damaged_slice_and_folders_without_a_series_are_refused(tmp_path):
    paths = write_series(tmp_path / "series", VOLUME)
    content = paths[2].read_bytes()
    paths[2].write_bytes(content[:-20])
    with pytest.raises(ImageError):
        read_volume(tmp_path / "series")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no DICOM picture"):
        read_volume(tmp_path / "empty")
    write_series(tmp_path / "single", VOLUME, places=[1])
    with pytest.raises(ImageError, match="1 slice"):
        read_volume(tmp_path / "single")


def test_the_real_series_lies_where_its_volume_does(data):
    series = read_volume(data / "mri_t1_fnndsc" / "dicom")
    whole = read_volume(data / "mri_t1_fnndsc" / "sag_mprage_t1.nii.gz")
    assert series.modality == "mri"
    inside = np.linalg.inv(whole.affine) @ series.affine
    start = np.rint(inside[:3, 3]).astype(int)
    np.testing.assert_allclose(inside[:3, 3], start, atol=1e-4)
    np.testing.assert_array_equal(series.values, whole.values[start[0] : start[0] + series.values.shape[0]])


def test_the_real_series_without_a_slice_is_refused(data, tmp_path):
    for path in (data / "mri_t1_fnndsc" / "dicom").iterdir():
        if not path.name.startswith(("0091", "0092")):
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(ImageError, match=r"lacks 2 slices.*0090.*0093|lacks 2 slices.*0093.*0090"):
        read_volume(tmp_path)


def test_one_small_scan_in_four_formats(data):
    formats = data / "mri_misc" / "formats"
    volumes = [read_volume(formats / name) for name in ("mha.mha", "nrrd.nhdr", "mgh.mgz")]
    for volume in volumes[1:]:
        np.testing.assert_array_equal(volume.values, volumes[0].values)
        np.testing.assert_allclose(volume.affine, volumes[0].affine, atol=1e-3)

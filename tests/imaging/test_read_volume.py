"""Volumes: whatever way the voxels lie in the file, the slice on the screen is the same."""

import gzip
import io
import itertools
import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from nibabel.orientations import axcodes2ornt, ornt_transform
from sample_files import VOLUME, write_itk

from healthgpt.errors import ImageError
from healthgpt.imaging.read import read_image
from healthgpt.imaging.volume_layout import Inflated

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
ORIENTATIONS = [
    "".join(codes) for order in itertools.permutations(("RL", "AP", "SI")) for codes in itertools.product(*order)
]


@pytest.fixture
def data() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"the real data packs are not at {DATA}")
    return DATA


def reoriented(codes: str) -> nibabel.Nifti1Image:
    """The same body, VOLUME in RAS+ with voxels of 1 x 2 x 3 mm, stored along other axes."""
    body = nibabel.Nifti1Image(VOLUME, np.diag([1.0, 2.0, 3.0, 1.0]))
    return body.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes)))


def expected_slice(z: int) -> np.ndarray:
    """Rows from anterior down, columns from the patient's right."""
    return VOLUME[::-1, ::-1, z].T


@pytest.mark.parametrize("codes", ORIENTATIONS)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mgz"])
def test_all_48_orientations_show_one_picture(tmp_path, codes, suffix):
    image = reoriented(codes)
    path = tmp_path / f"v{suffix}"
    kind = nibabel.MGHImage if suffix == ".mgz" else nibabel.Nifti1Image
    kind(np.asarray(image.dataobj), image.affine).to_filename(path)
    shown = read_image(path, 1)
    z = 1 if "S" in codes else VOLUME.shape[2] - 2
    np.testing.assert_array_equal(shown.pixels, expected_slice(z))
    assert shown.spacing_mm == pytest.approx((2, 1))


def test_all_orientations_are_tried():
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_number_type(tmp_path, kind, dtype, order):
    dtype = np.dtype(dtype).newbyteorder(order)
    header = kind.header_class(endianness=order)
    image = kind(VOLUME.astype(dtype), np.eye(4), header)
    image.set_data_dtype(dtype)
    image.to_filename(tmp_path / "v.nii")
    np.testing.assert_array_equal(read_image(tmp_path / "v.nii").pixels, expected_slice(2))


def test_the_scale_of_the_header_is_applied(tmp_path):
    values = VOLUME * 0.25 - 3.5
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.set_data_dtype(np.uint8)
    image.to_filename(tmp_path / "v.nii.gz")
    read = nibabel.load(tmp_path / "v.nii.gz").get_fdata(dtype=np.float32)
    np.testing.assert_allclose(read_image(tmp_path / "v.nii.gz").pixels, read[::-1, ::-1, 2].T, rtol=1e-5)


def test_hounsfield_is_told_by_range_even_on_a_slice_of_air(tmp_path):
    values = VOLUME.astype(np.int16) * 15 - 1000
    values[:, :, 0] = -1000 + VOLUME[:, :, 0] % 3
    nibabel.Nifti1Image(values, np.eye(4)).to_filename(tmp_path / "ct.nii")
    for index in (0, 2):
        image = read_image(tmp_path / "ct.nii", index)
        assert (image.units, image.modality) == ("hounsfield", "ct")
    nibabel.Nifti1Image(VOLUME, np.eye(4)).to_filename(tmp_path / "mr.nii")
    image = read_image(tmp_path / "mr.nii")
    assert (image.units, image.modality) == ("arbitrary", None)


def test_four_dimensions_are_refused_with_the_shape(tmp_path):
    series = np.stack([VOLUME] * 9, axis=-1)
    nibabel.Nifti1Image(series, np.eye(4)).to_filename(tmp_path / "bold.nii.gz")
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "bold.nii.gz")
    assert "4D" in caught.value.what
    assert "7 x 6 x 5 x 9" in caught.value.found
    assert "volumes (0..8)" in caught.value.next_step
    nibabel.Nifti1Image(series[..., :1], np.eye(4)).to_filename(tmp_path / "one.nii.gz")
    assert read_image(tmp_path / "one.nii.gz").pixels.shape == (6, 7)


def test_a_volume_one_voxel_thick_is_that_picture(tmp_path):
    nibabel.Nifti1Image(VOLUME[3:4], np.eye(4)).to_filename(tmp_path / "sagittal.nii")
    image = read_image(tmp_path / "sagittal.nii")
    np.testing.assert_array_equal(image.pixels, VOLUME[3, ::-1, ::-1].T)  # superior up, anterior left


def test_colour_voxels(tmp_path):
    colour = np.zeros((7, 6, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colour["R"], colour["B"] = VOLUME, 255 - VOLUME
    nibabel.Nifti1Image(colour, np.eye(4)).to_filename(tmp_path / "rgb.nii.gz")
    image = read_image(tmp_path / "rgb.nii.gz")
    assert image.units == "display"
    np.testing.assert_array_equal(np.rint(image.pixels[..., 0] * 255), expected_slice(2))
    np.testing.assert_array_equal(np.rint(image.pixels[..., 2] * 255), 255 - expected_slice(2))


def test_complex_voxels_are_refused(tmp_path):
    nibabel.Nifti1Image(VOLUME.astype(np.complex64), np.eye(4)).to_filename(tmp_path / "c.nii")
    with pytest.raises(ImageError, match="magnitude"):
        read_image(tmp_path / "c.nii")


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd", ".nhdr"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.float32, np.float64])
def test_metaimage_and_nrrd_as_simpleitk_writes_them(tmp_path, suffix, compressed, dtype):
    voxels = VOLUME.astype(dtype)
    path = write_itk(tmp_path / f"v{suffix}", voxels, compressed)
    image = read_image(path)
    # SimpleITK's world is LPS+: index 0 is right and anterior already, so the slice stands as it is stored.
    np.testing.assert_array_equal(image.pixels, voxels[:, :, 2].T)
    assert image.spacing_mm == pytest.approx((0.75, 0.5))


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
@pytest.mark.parametrize("codes", ["RAS", "PIR", "ASL", "SLP"])
def test_directions_of_metaimage_and_nrrd(tmp_path, suffix, codes):
    body = reoriented(codes)
    lps = np.diag([-1, -1, 1]) @ body.affine[:3, :3]
    direction = tuple((lps / np.linalg.norm(lps, axis=0)).ravel())
    path = write_itk(tmp_path / f"v{suffix}", np.asarray(body.dataobj), True, direction)
    z = 2  # the middle one, the same from either end
    np.testing.assert_array_equal(read_image(path).pixels, expected_slice(z))


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_flat_and_colour_metaimage_and_nrrd(tmp_path, suffix):
    flat = VOLUME[:, :, 0]
    np.testing.assert_array_equal(read_image(write_itk(tmp_path / f"2d{suffix}", flat, False)).pixels, flat.T)
    colour = np.stack([VOLUME, VOLUME[::-1], 255 - VOLUME], axis=-1).astype(np.uint8)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(colour.transpose(2, 1, 0, 3)), isVector=True)
    SimpleITK.WriteImage(image, str(tmp_path / f"rgb{suffix}"))
    pixels = read_image(tmp_path / f"rgb{suffix}").pixels
    np.testing.assert_array_equal(np.rint(pixels * 255), colour[:, :, 2].transpose(1, 0, 2))


@pytest.mark.parametrize("name", ["../secret.raw", "/etc/passwd", "a/../../secret.raw", "LIST", "image%03d.raw 1 5 1"])
def test_no_file_outside_the_folder_is_opened(tmp_path, name):
    (tmp_path / "secret.raw").write_bytes(VOLUME.tobytes())
    folder = tmp_path / "inner"
    folder.mkdir()
    header = f"NDims = 3\nDimSize = 7 6 5\nElementType = MET_SHORT\nElementDataFile = {name}\n"
    (folder / "v.mhd").write_text(header)
    nrrd = f"NRRD0004\ntype: short\ndimension: 3\nsizes: 7 6 5\nendian: little\nencoding: raw\ndata file: {name}\n"
    (folder / "v.nhdr").write_text(nrrd)
    (folder / "link.raw").symlink_to(tmp_path / "secret.raw")
    (folder / "link.mhd").write_text(header.replace(name, "link.raw"))
    for path in ("v.mhd", "v.nhdr", "link.mhd"):
        with pytest.raises(ImageError, match=r"data file|missing"):
            read_image(folder / path)


def test_the_real_containers_hold_one_picture(data):
    folder = data / "mri_misc" / "formats"
    images = [read_image(folder / name) for name in ("mha.mha", "nrrd.nhdr", "mgh.mgz")]
    for image in images[1:]:
        np.testing.assert_array_equal(image.pixels, images[0].pixels)
        assert image.spacing_mm == pytest.approx(images[0].spacing_mm)


@pytest.mark.parametrize("name", ["ct_volumes/3DCT_lung_baseline_small.mha", "mri_misc/formats/mha.mha"])
def test_real_metaimages_equal_simpleitk(data, name):
    reference = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(data / name)), "LPS")
    middle = reference.GetSize()[2] // 2
    np.testing.assert_array_equal(
        read_image(data / name).pixels, SimpleITK.GetArrayFromImage(reference)[middle].astype(np.float32)
    )


def test_the_liver_is_on_the_left_of_the_picture(data):
    """The patient's right is on the left of the picture, in a CT stored RAS+."""
    pixels = read_image(data / "ct_volumes" / "example_ct_sm.nii.gz").pixels
    liver = (pixels > 40) & (pixels < 80)
    half = pixels.shape[1] // 2
    assert liver[:, :half].sum() > 1.5 * liver[:, half:].sum()


def test_a_slice_of_a_large_volume_takes_the_memory_of_a_slice(tmp_path):
    volume = np.zeros((128, 128, 200), np.int16)
    volume[::2] = 5
    for name, codes in (("axial", "RAS"), ("sagittal", "ASR")):
        image = nibabel.Nifti1Image(volume, np.eye(4))
        image = image.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes)))
        path = tmp_path / f"{name}.nii.gz"
        path.write_bytes(gzip.compress(image.to_bytes(), 1))
        read_image(path)
        tracemalloc.start()
        read_image(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < volume.nbytes / 2


def test_inflating_across_gzip_members():
    content = bytes(range(256)) * 50
    members = b"".join(gzip.compress(content[at : at + 700]) for at in range(0, len(content), 700))
    stream = Inflated(io.BytesIO(members))
    assert stream.skip(1000) == 1000
    assert stream.read(5000) == content[1000:6000]
    assert stream.read(10**6) == content[6000:]
    assert stream.read(1) == b""


def test_an_affine_that_says_nothing_is_survived(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(VOLUME.shape)
    header["magic"], header["vox_offset"], header["sform_code"] = b"n+1", 352, 1
    header["srow_x"] = header["srow_y"] = header["srow_z"] = np.nan
    content = header.binaryblock + bytes(4) + VOLUME.tobytes(order="F")
    (tmp_path / "nan.nii").write_bytes(content)
    image = read_image(tmp_path / "nan.nii")
    assert image.spacing_mm is None
    np.testing.assert_array_equal(image.pixels, expected_slice(2))


def test_unstated_orientation_is_noted(tmp_path):
    nibabel.Nifti1Image(VOLUME, None).to_filename(tmp_path / "v.nii")
    assert "not stated" in read_image(tmp_path / "v.nii").notes["orientation"]

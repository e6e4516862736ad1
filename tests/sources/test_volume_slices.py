"""Volume slices: one orientation whatever the file's axes, empty slices dropped, real volumes."""

from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from healthgpt.errors import ImageError
from healthgpt.imaging.image import Window
from healthgpt.imaging.intensity import to_display
from healthgpt.imaging.read import read_image
from healthgpt.imaging.volume import Volume, read_volume
from healthgpt.sources.volume_slices import axial_pixels, axial_slices

WINDOW = Window(centre=50.0, width=100.0)


def body() -> np.ndarray:
    """RAS volume of 2 mm voxels: grey body, bright marker at the patient's left front, top slices empty."""
    values = np.zeros((20, 24, 12), np.float32)
    values[4:16, 4:20, :8] = 50.0
    values[4:7, 16:20, :8] = 100.0
    return values


def check_shown(pixels: np.ndarray) -> None:
    assert pixels.shape == (24, 20)
    rows, columns = np.nonzero(pixels == 255)
    assert rows.max() < 12, "anterior is up"
    assert columns.min() >= 10, "the patient's left is on the right of the picture"


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_axes_of_the_file_do_not_matter(order: tuple[int, int, int], signs: tuple[int, int, int], tmp_path: Path):
    image = nibabel.Nifti1Image(body(), np.diag([2.0, 2.0, 2.0, 1.0]))
    wanted = np.array([[axis, sign] for axis, sign in zip(order, signs, strict=True)], float)
    path = tmp_path / "body.nii.gz"
    nibabel.save(image.as_reoriented(wanted), path)
    volume = read_volume(path)
    assert volume.values.shape == (20, 24, 12)
    check_shown(axial_pixels(volume, 3, modality="mri", units="arbitrary", window=WINDOW))


def test_meta_image_positions_are_lps(tmp_path: Path) -> None:
    # In LPS the first axis runs to the patient's left and the second to the back.
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(body()[::-1, ::-1].transpose(2, 1, 0)))
    image.SetSpacing((2.0, 2.0, 3.0))
    path = tmp_path / "body.mha"
    SimpleITK.WriteImage(image, str(path))
    volume = read_volume(path)
    assert volume.spacing_mm == (2.0, 2.0, 3.0)
    check_shown(axial_pixels(volume, 3, modality="ct", units="hounsfield", window=WINDOW))


def test_slices_keep_their_distance_and_leave_out_empty_ones() -> None:
    volume = Volume(body(), (2.0, 2.0, 2.0), np.eye(4))
    planes = list(axial_slices(volume, 4.0, modality="mri", units="arbitrary", window=WINDOW))
    assert [plane.index for plane in planes] == [1, 3, 5, 7]
    # Numbers go on counting through the empty slices, so that a slab keeps its height.
    lifted = Volume(np.roll(body(), 4, axis=2), (2.0, 2.0, 2.0), np.eye(4))
    planes = list(axial_slices(lifted, 4.0, modality="mri", units="arbitrary", window=WINDOW))
    assert [(plane.number, plane.index) for plane in planes] == [(2, 5), (3, 7), (4, 9), (5, 11)]


def test_pixels_are_made_square() -> None:
    volume = Volume(body(), (1.0, 2.0, 2.0), np.eye(4))
    assert axial_pixels(volume, 3, modality="mri", units="arbitrary", window=WINDOW).shape == (48, 20)


def test_what_is_no_volume_is_refused(tmp_path: Path) -> None:
    for name in ("broken.nii.gz", "broken.mha"):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(ImageError, match="broken"):
            read_volume(tmp_path / name)
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 3, 2), np.float32), np.eye(4)), tmp_path / "series.nii.gz")
    with pytest.raises(ImageError, match="4D image"):
        read_volume(tmp_path / "series.nii.gz")


def test_agrees_with_reading_one_slice(packs: Path) -> None:
    for path in (packs / "ct_volumes" / "example_ct.nii.gz", packs / "ct_volumes" / "3DCT_lung_baseline_small.mha"):
        ours = axial_pixels(read_volume(path), 40, modality="ct", units="hounsfield", window=Window(40.0, 400.0))
        assert np.array_equal(ours, to_display(read_image(path, 40), Window(40.0, 400.0)))

"""The CT and MR atlas: units, common grid, alignment, splits."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthgpt.imaging.volume import Volume, read_volume
from healthgpt.record import Sample
from healthgpt.sources import ct_mr_atlas


@settings(deadline=None)
@given(st.lists(st.floats(-1024, 3000), min_size=1))
def test_cormack_units_turn_back_to_hounsfield(values: list[float]) -> None:
    hounsfield = np.array(values)
    cormack = hounsfield + 1024 + 10 * np.clip(hounsfield + 124, 0, 200)
    assert np.allclose(ct_mr_atlas.cormack_to_hounsfield(cormack), hounsfield, atol=1e-2)


def test_resampling_goes_through_the_affine() -> None:
    # A volume whose values are its own millimetres must show the grid's millimetres.
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -96.0, -132.0, -74.0
    x, y, z = np.meshgrid(*(np.arange(100) * 2.0 + start for start in affine[:3, 3]), indexing="ij")
    for values, axis in ((x, 0), (y, 1), (z, 2)):
        grid = ct_mr_atlas.on_common_grid(Volume(values.astype(np.float32), (2.0, 2.0, 2.0), affine))
        wanted = (ct_mr_atlas.X_MM, ct_mr_atlas.Y_MM, ct_mr_atlas.Z_MM)[axis]
        inside = np.moveaxis(grid.values, axis, 0)[:, 50, 20]
        assert np.allclose(inside[10:60], wanted[10:60], atol=1e-3)


def test_real_pack(packs: Path, lawful: Callable[[list[Sample]], None]) -> None:
    samples = list(ct_mr_atlas.samples(packs))
    lawful(samples)
    pairs = [s for s in samples if s.record.task == "ct-to-mri"]
    assert len(pairs) == sum(s.record.task == "mri-to-ct" for s in samples)
    assert {s.record.split for s in pairs} == {"train", "validation", "test"}
    for sample in pairs:
        assert sample.image is not None
        assert sample.target is not None
        assert sample.image.shape == sample.target.shape == (217, 181)
    # The stripped pair shows the same brain outline: the two averages overlap slice by slice.
    overlaps = [
        (2 * ((s.image > 25) & (s.target > 25)).sum()) / ((s.image > 25).sum() + (s.target > 25).sum())
        for s in pairs
        if s.record.provenance.original_id.startswith("scct_stripped") and s.image is not None and s.target is not None
    ]
    assert np.median(overlaps) > 0.9
    assert min(overlaps) > 0.7


def test_brain_is_brain_in_hounsfield_units(packs: Path) -> None:
    volume = read_volume(packs / "ct_mr_atlas" / "scct_stripped.nii.gz")
    hounsfield = ct_mr_atlas.cormack_to_hounsfield(volume.values[volume.values > 900])
    assert np.median(hounsfield) == pytest.approx(30, abs=10)

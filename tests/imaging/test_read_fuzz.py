"""Whatever is done to the bytes of a file, an Image or an ImageError comes out, and nothing else."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_files import write_samples

from healthgpt.errors import ImageError
from healthgpt.imaging.intensity import to_display
from healthgpt.imaging.read import read_image

FUZZ = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def samples() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return {name: path.read_bytes() for name, path in write_samples(Path(folder)).items()}


NAMES = ["a.png", "b.jpg", "c.tif", "d.tif", "e.png", "f.png", "g.dcm", "h.dcm", "i.dcm", "j.dcm"]
NAMES += ["k.nii", "l.nii.gz", "m.mgz", "n.mha", "o.mha", "p.nrrd", "q.nrrd"]


def image_or_fault(content: bytes, slice_index: int | None = None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzzed"
        path.write_bytes(content)
        try:
            image = read_image(path, slice_index)
        except ImageError:
            return
    assert image.pixels.dtype == np.float32
    assert np.isfinite(image.pixels).all()
    assert image.pixels.ndim == 2 or image.pixels.shape[2] == 3
    assert to_display(image).dtype == np.uint8


@FUZZ
@given(st.sampled_from(NAMES), st.floats(0, 1))
def test_cut_anywhere(samples, name, where):
    content = samples[name]
    image_or_fault(content[: int(where * len(content))])


@FUZZ
@given(
    st.sampled_from(NAMES),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8),
    st.one_of(st.none(), st.integers(-2, 9)),
)
def test_bytes_overwritten(samples, name, changes, slice_index):
    content = bytearray(samples[name])
    for position, value in changes:
        content[position % len(content)] = value
    image_or_fault(bytes(content), slice_index)


@FUZZ
@given(st.sampled_from(NAMES), st.integers(0, 10**6), st.binary(max_size=40), st.integers(0, 60))
def test_a_piece_replaced(samples, name, position, piece, removed):
    content = samples[name]
    at = position % len(content)
    image_or_fault(content[:at] + piece + content[at + removed :])


@FUZZ
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\x08\x00\x05\x00CS", bytes(128) + b"DICM", b"NRRD0004\n", b"NDims = 3\n"]),
)
def test_any_bytes(content, start):
    image_or_fault(start + content)

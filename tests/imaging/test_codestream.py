"""The size a compressed picture declares is read without decoding it."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from healthgpt.imaging.codestream import declared_size


@pytest.mark.parametrize(("kind", "options"), [
    ("JPEG", {}), ("JPEG", {"progressive": True}), ("JPEG2000", {"no_jp2": True}), ("JPEG2000", {}),
])  # fmt: skip
def test_size_of_real_streams(kind, options):
    stream = io.BytesIO()
    Pillow.fromarray(np.zeros((70, 45), np.uint8)).save(stream, format=kind, **options)
    assert declared_size(stream.getvalue()) == (70, 45)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\xff\x4f\xff\x51"]))
def test_any_bytes_have_a_size_or_none(content, start):
    size = declared_size(start + content)
    assert size is None or len(size) == 2

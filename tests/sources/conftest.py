"""What the tests of sources share: where the real packs lie, and the laws every source's samples obey."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from healthgpt.record import Sample
from healthgpt.tasks import TASKS

PACKS = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture
def packs() -> Path:
    """The folder of real packs beside the repository; the test is skipped where it is missing."""
    if not PACKS.is_dir():
        pytest.skip(f"no real data packs: {PACKS.name} folder of the repository's sibling 'shared' is missing")
    return PACKS


@pytest.fixture
def lawful() -> Callable[[list[Sample]], None]:
    """Asserts what holds for the samples of any source."""
    return check_laws


def check_laws(samples: list[Sample]) -> None:
    """Unique ids, one split a group, pictures and words where the task needs them."""
    assert samples
    ids = [sample.record.id for sample in samples]
    assert len(set(ids)) == len(ids)
    split_of_group: dict[str, str] = {}
    group_of_pixels: dict[bytes, str] = {}
    pixels_of_file: dict[str, bytes] = {}
    for record, image, target in samples:
        task = TASKS[record.task]
        assert split_of_group.setdefault(record.provenance.group, record.split) == record.split
        assert record.provenance.licence
        assert record.instruction.strip()
        assert (image is not None) == task.takes_image
        assert (target is not None) == (task.draws is not None)
        for file, pixels in ((record.image, image), (record.target_image, target)):
            assert (file is None) == (pixels is None)
            if file is not None and pixels is not None:
                assert re.fullmatch(r"images/[A-Za-z0-9._/+-]+\.png", file)
                assert ".." not in file
                assert pixels_of_file.setdefault(file, pixels.tobytes()) == pixels.tobytes()
                assert pixels.dtype == np.uint8
                assert pixels.ndim == 2 or pixels.shape[2] == 3
                assert max(pixels.shape[:2]) <= 256
                assert pixels.min() < pixels.max()
        if image is not None and target is not None:
            assert image.shape == target.shape
        if task.family == "comprehension":
            assert record.response == record.response.strip() != ""
            assert record.kind == "report" or record.response == record.response.lower()
            assert 2 <= len(record.options) <= 4 or not record.options
            assert image is not None
            # The same pixels in two groups would put one picture in two splits.
            key = image.tobytes()
            assert group_of_pixels.setdefault(key, record.provenance.group) == record.provenance.group

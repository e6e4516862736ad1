"""BUSI: names with brackets, a second lesion's mask, normal breasts, sides."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from healthgpt.errors import DataError, ImageError
from healthgpt.record import Sample
from healthgpt.sources import busi


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """One picture of each class; the malignant one has two lesions, on both sides."""
    folder = tmp_path / "busi_ultrasound" / "Dataset_BUSI_with_GT"
    speckle = np.random.default_rng(1).integers(0, 200, (50, 60), dtype=np.uint8)
    left, right, none = (np.zeros((50, 60), np.uint8) for _ in range(3))
    left[20:30, 5:15] = 255
    right[20:30, 45:55] = 255
    for seed, (kind, masks) in enumerate((("benign", [left]), ("malignant", [left, right]), ("normal", [none]))):
        write(folder / kind / f"{kind} (7).png", speckle + seed)
        for number, mask in enumerate(masks):
            write(folder / kind / f"{kind} (7)_mask{f'_{number}' if number else ''}.png", mask)
    return tmp_path


def answers(samples: list[Sample], name: str) -> dict[str, str]:
    return {s.record.id.split("/")[-1]: s.record.response for s in samples if s.record.provenance.original_id == name}


def test_layout_with_brackets_and_two_masks(tiny: Path, lawful: Callable[[list[Sample]], None]) -> None:
    samples = list(busi.samples(tiny))
    lawful(samples)
    benign, malignant, normal = (answers(samples, f"{kind} (7)") for kind in busi.CLASSES)
    assert benign["side-open"] == benign["side-choice"] == "left"
    assert benign["malignant-open"] == "no"
    # Two lesions, one on each side: no side to ask for.
    assert "side-open" not in malignant
    assert malignant["malignant-open"] == "yes"
    assert normal["lesion-open"] == "no"
    assert "malignant-open" not in normal
    assert normal["report"] == "Breast ultrasound without a lesion."
    assert benign["report"] == "Breast ultrasound with a benign lesion on the left of the image."


def test_missing_and_unfitting_masks_are_named(tiny: Path) -> None:
    mask = tiny / "busi_ultrasound" / "Dataset_BUSI_with_GT" / "malignant" / "malignant (7)_mask_1.png"
    write(mask, np.zeros((9, 9), np.uint8))
    with pytest.raises(DataError, match=r"_mask_1\.png"):
        list(busi.samples(tiny))
    mask.write_bytes(b"not a picture")
    with pytest.raises(ImageError, match=r"_mask_1\.png"):
        list(busi.samples(tiny))
    mask.unlink()
    mask.with_name("malignant (7)_mask.png").unlink()
    with pytest.raises(DataError, match=r"malignant \(7\)_mask\.png"):
        list(busi.samples(tiny))


@settings(deadline=None)
@given(st.integers(0, 39), st.integers(1, 40), st.integers(0, 5))
def test_side_turns_with_the_picture(start: int, width: int, row: int) -> None:
    mask = np.zeros((6, 40), bool)
    mask[row, start : start + width] = True
    turned = {"left": "right", "right": "left", None: None}
    assert busi.side_of(mask[:, ::-1]) == turned[busi.side_of(mask)]


def test_real_pack(packs: Path, lawful: Callable[[list[Sample]], None]) -> None:
    samples = list(busi.samples(packs))
    lawful(samples)
    classes = Counter(s.record.response for s in samples if s.record.id.endswith("diagnosis-open"))
    assert classes == {"benign": 14, "malignant": 10, "normal": 8}
    assert {s.record.split for s in samples} == {"train", "validation", "test"}

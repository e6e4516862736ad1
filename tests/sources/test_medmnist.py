"""MedMNIST: files with some of the arrays, balance, published splits."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthgpt.errors import DataError
from healthgpt.record import Sample
from healthgpt.sources import medmnist


@settings(deadline=None)
@given(st.lists(st.integers(0, 2), max_size=60), st.integers(0, 20))
def test_balanced_takes_equally_many_of_each(labels: list[int], per_class: int) -> None:
    indices = medmnist.balanced(np.array(labels, int), per_class)
    counts = Counter(labels[i] for i in indices)
    assert len(set(indices)) == len(indices)
    assert len(set(counts.values())) <= 1
    if labels and per_class:
        assert set(counts) == set(labels)
        assert max(counts.values()) == min(per_class, *Counter(labels).values(), 60)


def test_a_file_may_lack_arrays(tmp_path: Path, lawful: Callable[[list[Sample]], None]) -> None:
    folder = tmp_path / "medmnist_subsets"
    folder.mkdir()
    draw = np.random.default_rng(0)
    grey, colour = draw.integers(0, 256, (6, 28, 28), np.uint8), draw.integers(0, 256, (5, 28, 28, 3), np.uint8)
    labels = np.array([[0], [1], [1], [1], [0], [1]], np.uint8)
    np.savez(folder / "pneumoniamnist.npz", val_images=grey, val_labels=labels)
    np.savez(folder / "pathmnist.npz", test_images=colour, test_labels=np.array([[0], [8], [3], [3], [1]], np.uint8))
    samples = list(medmnist.samples(tmp_path))
    lawful(samples)
    ill = [s.record for s in samples if s.record.kind == "presence"]
    assert Counter(record.response for record in ill) == {"yes": 2, "no": 2}
    assert {record.split for record in ill} == {"validation"}
    tissues = [s.record.response for s in samples if s.record.id.endswith("tissue-open")]
    assert tissues[1] == "colorectal adenocarcinoma epithelium"
    np.savez(folder / "pathmnist.npz", test_images=colour, test_labels=labels[:2])
    with pytest.raises(DataError, match="5 images, 2 labels"):
        list(medmnist.samples(tmp_path))


def test_real_pack(packs: Path, lawful: Callable[[list[Sample]], None]) -> None:
    samples = list(medmnist.samples(packs))
    lawful(samples)
    pneumonia = Counter((s.record.split, s.record.response) for s in samples if s.record.kind == "presence")
    assert pneumonia == {
        ("train", "yes"): 280, ("train", "no"): 280, ("validation", "yes"): 40, ("validation", "no"): 40,
        ("test", "yes"): 80, ("test", "no"): 80,
    }  # fmt: skip
    assert sum(s.record.id.endswith("tissue-open") for s in samples) == 400
    assert sum(s.record.task == "report-to-cxr" for s in samples) == 800

"""MedMNIST archives as published: the largest size alone, labels in the official words."""

import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from published_rows import read_all

from healthgpt.errors import DataError
from healthgpt.sources import medmnist_sets
from healthgpt.sources.medmnist_sets import SETS
from healthgpt.tasks import READING_TASKS


def write_set(folder: Path, name: str, labels: dict[str, list], side: int = 28) -> None:
    """An archive with black images and these labels by split."""
    arrays: dict[str, np.ndarray] = {}
    for split, values in labels.items():
        array = np.array(values, np.uint8)
        arrays[f"{split}_labels"] = array.reshape(len(array), -1)
        arrays[f"{split}_images"] = np.zeros((len(array), side, side), np.uint8)
    np.savez_compressed(folder / f"{name}.npz", **arrays)  # type: ignore[arg-type]


def test_real_pack(packs: Path) -> None:
    folder = packs / "medmnist_subsets"
    entries, damaged, oddities = read_all(medmnist_sets.SOURCE, folder)
    expected: Counter = Counter()
    for name in ("pathmnist", "pneumoniamnist"):
        with np.load(folder / f"{name}.npz") as arrays:
            for split, told in (("train", "train"), ("val", "validation"), ("test", "test")):
                for label in arrays[f"{split}_labels"].reshape(-1) if f"{split}_labels" in arrays else ():
                    expected[name, told, SETS[name].labels[label]] += 1
    assert Counter((one.original_id.split("/")[0], one.split, one.answer) for one in entries) == expected
    assert expected.total() == len(entries) > 4_000
    assert len({one.original_id for one in entries}) == len(entries)
    assert (damaged, oddities) == ([], {})
    first = next(one for one in entries if one.original_id == "pneumoniamnist/train-0")
    assert first.images == ("pneumoniamnist.npz#train_images/0",)
    assert first.options == ("normal", "pneumonia")
    assert first.task == "x-ray"


def test_only_the_largest_size_is_read(tmp_path: Path) -> None:
    for ending, side in (("", 28), ("_64", 64), ("_128", 128)):
        write_set(tmp_path, f"dermamnist{ending}", {"train": [4, 6], "val": [0]}, side)
    entries, damaged, oddities = read_all(medmnist_sets.SOURCE, tmp_path)
    assert [(one.images[0], one.answer, one.split, one.licence, one.group) for one in entries] == [
        ("dermamnist_128.npz#train_images/0", "melanoma", "train", "CC BY-NC 4.0", "dermamnist/train-0"),
        ("dermamnist_128.npz#train_images/1", "vascular lesions", "train", "CC BY-NC 4.0", "dermamnist/train-1"),
        (
            "dermamnist_128.npz#val_images/0", "actinic keratoses and intraepithelial carcinoma", "validation",
            "CC BY-NC 4.0", "dermamnist/val-0",
        ),
    ]  # fmt: skip
    # More classes than a choice has letters: the builder draws wrong options from the set's other answers.
    assert {one.options for one in entries} == {()}
    assert damaged == []
    assert oddities == {"smaller size of a set that is read": 6}


def test_several_labels_are_listed_and_asked_for(tmp_path: Path) -> None:
    several, none = [0] * 14, [0] * 14
    several[0] = several[13] = 1
    write_set(tmp_path, "chestmnist", {"test": [several, several, none, none]})
    entries, damaged, _ = read_all(medmnist_sets.SOURCE, tmp_path)
    told = {one.original_id.removeprefix("chestmnist/test-"): (one.question, one.answer) for one in entries}
    assert [told[f"{index}"][1] for index in range(4)] == ["atelectasis, hernia"] * 2 + ["no finding"] * 2
    assert told["0/presence"] == ("Does this chest X-ray show cardiomegaly?", "no")
    assert told["1/presence"] == ("Does this chest X-ray show hernia?", "yes")
    assert told["2/presence"] == ("Does this chest X-ray show effusion?", "no")
    assert (len(told), damaged) == (8, [])


@pytest.mark.parametrize(
    ("labels", "reason"), [([9], "outside"), ([[1, 1]], "2 labels"), ([], "without a label")]
)  # fmt: skip
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, labels: list, reason: str) -> None:
    arrays = {"train_images": np.zeros((1, 28, 28), np.uint8), "train_labels": np.array(labels, np.uint8)}
    np.savez(tmp_path / "octmnist.npz", **arrays)  # type: ignore[arg-type]
    entries, damaged, _ = read_all(medmnist_sets.SOURCE, tmp_path)
    assert entries == []
    assert reason in damaged[0]


def test_archives_that_are_none_or_lie_about_their_labels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bloodmnist.npz"
    path.write_bytes(b"PK not an archive")
    with pytest.raises(DataError, match="bloodmnist"):
        read_all(medmnist_sets.SOURCE, tmp_path)
    np.savez(path, train_labels=np.array([{}], object), train_images=np.zeros((1, 28, 28), np.uint8))
    with pytest.raises(DataError, match="bloodmnist"):
        read_all(medmnist_sets.SOURCE, tmp_path)
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999, 1), }"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_labels.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(DataError, match="9999999999"):
        read_all(medmnist_sets.SOURCE, tmp_path)


def test_the_table_of_sets_is_whole() -> None:
    assert len(SETS) == 12
    # The paper counts 708,069; release 3 took 107 out of the three organ sets.
    assert medmnist_sets.SOURCE.published_images == 708_069 - 107
    for one in SETS.values():
        assert one.task in READING_TASKS
        assert len(set(one.labels)) == len(one.labels)
        assert len(one.md5) == 32

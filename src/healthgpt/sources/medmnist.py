"""MedMNIST excerpts at 28 pixels: PneumoniaMNIST (children's chest X-rays) and PathMNIST (colon tissue).

A file may hold only some of the official arrays. PneumoniaMNIST keeps its published split and is thinned to
as many normal as pneumonia images, so that the answer cannot be guessed. PathMNIST is here as a test excerpt
only and is divided by image: its patients are not told, so its test part may share patients with training.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from healthgpt.errors import DataError
from healthgpt.record import Sample, Split
from healthgpt.sources.base import Source, required_file, split_of
from healthgpt.sources.picture import Picture

TISSUES = (
    "adipose tissue",
    "background",
    "debris",
    "lymphocytes",
    "mucus",
    "smooth muscle",
    "normal colon mucosa",
    "cancer-associated stroma",
    "colorectal adenocarcinoma epithelium",
)
"""PathMNIST labels 0 to 8 (NCT-CRC-HE-100K; Kather et al. 2019)."""

PNEUMONIA_PER_CLASS: dict[Split, int] = {"train": 280, "validation": 40, "test": 80}
"""Images taken of each class: 800 in all, as many normal as pneumonia in each split."""
PATH_IMAGES = 400
ARRAY_NAMES: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}


def samples(root: Path) -> Iterator[Sample]:
    """Both files' pictures with their questions."""
    folder = SOURCE.folder_in(root)
    yield from _pneumonia(required_file(folder / "pneumoniamnist.npz", SOURCE.name))
    yield from _pathology(required_file(folder / "pathmnist.npz", SOURCE.name))


def read_arrays(path: Path, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (N, 28, 28[, 3]), and labels, int (N,); empty where the file lacks the split."""
    name = ARRAY_NAMES[split]
    with np.load(path, allow_pickle=False) as arrays:
        if f"{name}_images" not in arrays:
            return np.zeros((0, 28, 28), np.uint8), np.zeros(0, int)
        images, labels = arrays[f"{name}_images"], arrays[f"{name}_labels"].reshape(-1).astype(int)
    if len(images) != len(labels):
        raise DataError(f"{path}: {name} arrays do not fit", found=f"{len(images)} images, {len(labels)} labels")
    return images, labels


def balanced(labels: np.ndarray, per_class: int) -> np.ndarray:
    """Indices with the same number of each class, at most ``per_class``, spread evenly over the file."""
    of_class = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    number = min([per_class, *(len(indices) for indices in of_class)])
    kept = [indices[np.linspace(0, len(indices) - 1, number).astype(int)] for indices in of_class]
    return np.sort(np.concatenate(kept)) if kept else np.zeros(0, int)


def _pneumonia(path: Path) -> Iterator[Sample]:
    splits: tuple[Split, ...] = ("train", "validation", "test")
    for split in splits:
        images, labels = read_arrays(path, split)
        for index in balanced(labels, PNEUMONIA_PER_CLASS[split]):
            name = f"pneumoniamnist/{ARRAY_NAMES[split]}-{index}"
            picture = Picture(SOURCE.name, SOURCE.licence, name, name, split, "x-ray", "chest", images[index])
            ill = bool(labels[index])
            report = f"Chest X-ray of a child. {'Pneumonia.' if ill else 'No pneumonia.'}"
            yield from picture.about()
            yield from picture.ask(
                "presence",
                ("Is there pneumonia?", "Does this chest X-ray show pneumonia?", "Are there signs of pneumonia?"),
                "yes" if ill else "no",
                topic="pneumonia",
            )
            yield picture.described(report)
            yield picture.drawn_from(report)
            yield picture.reconstructed()


def _pathology(path: Path) -> Iterator[Sample]:
    images, labels = read_arrays(path, "test")
    for index in range(min(PATH_IMAGES, len(images))):
        name = f"pathmnist/test-{index}"
        tissue = TISSUES[labels[index]]
        picture = Picture(
            SOURCE.name, SOURCE.licence, name, name, split_of(SOURCE.name, name),
            "microscopy", "tissue section", images[index],
        )  # fmt: skip
        yield from picture.about()
        yield from picture.ask(
            "tissue",
            ("What tissue is shown?", "Which tissue type is this?", "What does this colon histology tile show?"),
            tissue,
            TISSUES,
        )
        yield picture.described(f"Histology tile of the colon: {tissue}.")
        yield picture.reconstructed()


SOURCE = Source(
    name="medmnist_subsets",
    title="MedMNIST: PneumoniaMNIST and PathMNIST",
    licence="CC BY 4.0",
    obtain="https://medmnist.com",
    folder="medmnist_subsets",
    published_images=5_856 + 107_180,
    published_questions=0,
    samples=samples,
)

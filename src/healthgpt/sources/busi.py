"""BUSI: breast ultrasound, benign, malignant or normal, with lesion masks.

File names hold a blank and brackets ("benign (12).png"), a second lesion has the mask "_mask_1.png", and
normal breasts have an all-black mask. Left and right are those of the picture: the data set does not tell
which breast it was or how the probe was held. Patients are not told: each picture is its own group.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from healthgpt.errors import DataError, ImageError
from healthgpt.record import Sample
from healthgpt.sources.base import Source, required_file, split_of
from healthgpt.sources.picture import Picture, load_pixels

CLASSES = ("benign", "malignant", "normal")
IMAGE_NAME = re.compile(r"^(benign|malignant|normal) \(\d+\)$")
OFF_CENTRE = 0.08
"""Share of the width by which a lesion's middle must lie beside the picture's before it has a side."""


def samples(root: Path) -> Iterator[Sample]:
    """All pictures with their questions."""
    folder = SOURCE.folder_in(root) / "Dataset_BUSI_with_GT"
    for kind in CLASSES:
        for path in sorted((folder / kind).glob("*.png")):
            if IMAGE_NAME.match(path.stem):
                picture = Picture(
                    SOURCE.name, SOURCE.licence, path.stem, path.stem, split_of(SOURCE.name, path.stem),
                    "ultrasound", "breast", load_pixels(path),
                )  # fmt: skip
                yield from _sample_one(picture, kind, side_of(lesion_mask(path)))


def lesion_mask(path: Path) -> np.ndarray:
    """All lesions of a picture together: bool, (height, width)."""
    first = required_file(path.with_name(f"{path.stem}_mask.png"), SOURCE.name)
    mask = _read_mask(first)
    for further in sorted(path.parent.glob(f"{path.stem}_mask_*.png")):
        other = _read_mask(further)
        if other.shape != mask.shape:
            raise DataError(f"{further} does not fit its picture", found=str(other.shape), allowed=str(mask.shape))
        mask |= other
    return mask


def _read_mask(path: Path) -> np.ndarray:
    # Not through imaging.read, which refuses a constant picture: the mask of a normal breast is all black.
    try:
        with PillowImage.open(path) as picture:
            return np.asarray(picture.convert("L")) > 127
    except (OSError, UnidentifiedImageError) as fault:
        raise ImageError(f"{path} is not a readable mask", found=str(fault)) from fault


def side_of(mask: np.ndarray) -> str | None:
    """``left`` or ``right`` in the picture; None without a lesion or when it lies about the middle."""
    columns = np.nonzero(mask)[1]
    if columns.size == 0:
        return None
    offset = (columns.mean() + 0.5) / mask.shape[1] - 0.5
    if abs(offset) < OFF_CENTRE:
        return None
    return "left" if offset < 0 else "right"


def _sample_one(picture: Picture, kind: str, side: str | None) -> Iterator[Sample]:
    yield from picture.about()
    yield from picture.ask(
        "presence",
        ("Is there a lesion?", "Does this breast ultrasound show a lesion?", "Is a mass visible?"),
        "no" if kind == "normal" else "yes",
        topic="lesion",
    )
    yield from picture.ask(
        "diagnosis",
        (
            "Is this breast ultrasound benign, malignant or normal?",
            "How is this image classified: normal, benign or malignant?",
            "Which class fits this breast ultrasound: malignant, benign or normal?",
        ),
        kind,
        CLASSES,
    )
    if kind != "normal":
        yield from picture.ask(
            "presence",
            ("Is the lesion malignant?", "Does the lesion look malignant?", "Is this lesion a malignant one?"),
            "yes" if kind == "malignant" else "no",
            topic="malignant",
        )
    if side:
        yield from picture.ask(
            "side",
            (
                "On which side of the image is the lesion?",
                "Is the lesion on the left or the right of the image?",
                "Which half of the image holds the lesion?",
            ),
            side,
            ("left", "right"),
        )
    yield picture.described(_report(kind, side))
    yield picture.reconstructed()


def _report(kind: str, side: str | None) -> str:
    if kind == "normal":
        return "Breast ultrasound without a lesion."
    return f"Breast ultrasound with a {kind} lesion{f' on the {side} of the image' if side else ''}."


SOURCE = Source(
    name="busi_ultrasound",
    title="BUSI: breast ultrasound images with lesion masks",
    licence="CC BY 4.0",
    obtain="https://doi.org/10.1016/j.dib.2019.104863",
    folder="busi_ultrasound",
    published_images=780,
    published_questions=0,
    samples=samples,
)

"""ImageCLEF VQA-Med 2021, task 1: questions about abnormality of 1,000 MedPix images, for validation and testing.

Layout (the README of github.com/abachaa/VQA-Med-2021, its evaluation code and the files it names; Ben Abacha et al.,
CLEF 2021): lines of image|question|answer beside a folder of images for validation; for testing lines of
image|question and, in another file, of image|answer|other answer|..., where any number of answers is accepted.

The edition's training set is the training and validation set of 2020: see ``vqa_med_2020``.
"""

from pathlib import Path

from healthgpt.sources.base import Source
from healthgpt.sources.imageclef import NAMES, Edition, edition_entries, edition_of
from healthgpt.sources.layout import Download, Published, Table

VALIDATION = "VQA-Med-2021-VQAnswering-Task1-New-ValidationSet.txt"
TEST = "Task1-VQA-2021-TestSet-Questions.txt"
ANSWERS = "Task1-VQA-2021-TestSet-ReferenceAnswers.txt"
IMAGE_FOLDERS = {
    VALIDATION: ("ImageCLEF-2021-VQA-Med-New-Validation-Images",),
    # The test images come in an archive of their own, which unpacks to one of these.
    TEST: ("VQA-500-Images", "images/VQA-500-Images", "Task1-VQA-2021-TestSet-Images"),
}
TABLES = (
    Table(f"**/{VALIDATION}", "pipe", "validation", NAMES, NAMES, rows=500),
    Table(f"**/{TEST}", "pipe", "test", NAMES[:2], NAMES[:2], rows=500),
)


def release_context(folder: Path) -> Edition:
    """Techniques, test answers and image folders of the release."""
    return edition_of(folder, TABLES, f"**/{ANSWERS}", IMAGE_FOLDERS)


REPOSITORY = "https://github.com/abachaa/VQA-Med-2021/raw/main"
PUBLISHED = Published(
    tables=TABLES,
    entries=edition_entries,
    expected=(
        (f"**/{VALIDATION}", 0, "500 questions"),
        (f"**/{IMAGE_FOLDERS[VALIDATION][0]}/*.jpg", 0, "500 images"),
        (f"**/{TEST}", 0, "500 questions"),
        (f"**/{ANSWERS}", 0, "500 lines of answers"),
        (f"**/{IMAGE_FOLDERS[TEST][0]}/*.jpg", 0, "500 images"),
    ),
    splits="500 validation and 500 test questions, one an image; for training the 4,500 of 2020 were given",
    yields="what is abnormal in radiology images",
    downloads=(
        Download(f"{REPOSITORY}/VQA-Med-2021-Tasks-1-2-NewValidationSets.zip"),
        Download(f"{REPOSITORY}/Task1-VQA-2021-TestSet-w-GroundTruth.zip"),
    ),
    prepare=release_context,
    citation="Ben Abacha et al., CLEF 2021 Working Notes, CEUR 2936",
    notes=(
        "Task1-VQA-2021-TestSet-Images.zip inside the archive holds the test images; unpack it where it lies",
        "the repository states no licence; the edition of 2020 is CC BY 4.0",
        "the technique of an image is known only where its question tells it",
        "images are from MedPix like those of VQA-RAD and of the other editions, and some are in several",
    ),
)

SOURCE = Source(
    name="vqa_med_2021",
    title="ImageCLEF VQA-Med 2021, task 1",
    licence="not stated",
    obtain="https://github.com/abachaa/VQA-Med-2021",
    folder="vqa_med_2021",
    published_images=1_000,
    published_questions=1_000,
    published=PUBLISHED,
)

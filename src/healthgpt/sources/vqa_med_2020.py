"""ImageCLEF VQA-Med 2020, task 1: one question about abnormality for each of 5,000 MedPix images.

Layout (the README of github.com/abachaa/VQA-Med-2020 and the files it names; Ben Abacha et al., CLEF 2020): lines of
image|question|answer beside a folder of images for training and validation; for testing lines of image|question and,
in another file, of image|answer. The training part is to be had from AIcrowd, the others from the repository.
"""

from pathlib import Path

from healthgpt.sources.base import Source
from healthgpt.sources.imageclef import NAMES, Edition, edition_entries, edition_of
from healthgpt.sources.layout import Download, Published, Table

TRAINING = "VQAnswering_2020_Train_QA_pairs.txt"
VALIDATION = "VQAnswering_2020_Val_QA_Pairs.txt"
TEST = "VQAMed2020-Task1-VQAnswering-Test-Questions.txt"
ANSWERS = "VQAMed2020-Task1-VQAnswering-Test-ReferenceAnswers.txt"
IMAGE_FOLDERS = {
    TRAINING: ("VQAnswering_2020_Train_images",),
    VALIDATION: ("VQAnswering_2020_Val_images",),
    TEST: ("Task1-2020-VQAnswering-Test-Images",),
}
TABLES = (
    Table(f"**/{TRAINING}", "pipe", "train", NAMES, NAMES, rows=4_000),
    Table(f"**/{VALIDATION}", "pipe", "validation", NAMES, NAMES, rows=500),
    Table(f"**/{TEST}", "pipe", "test", NAMES[:2], NAMES[:2], rows=500),
)


def release_context(folder: Path) -> Edition:
    """Techniques, test answers and image folders of the release."""
    return edition_of(folder, TABLES, f"**/{ANSWERS}", IMAGE_FOLDERS)


REPOSITORY = "https://github.com/abachaa/VQA-Med-2020/raw/main"
PUBLISHED = Published(
    tables=TABLES,
    entries=edition_entries,
    expected=(
        (f"**/{TRAINING}", 0, "4,000 questions"),
        (f"**/{IMAGE_FOLDERS[TRAINING][0]}/*.jpg", 0, "4,000 images"),
        (f"**/{VALIDATION}", 0, "500 questions"),
        (f"**/{IMAGE_FOLDERS[VALIDATION][0]}/*.jpg", 0, "500 images"),
        (f"**/{TEST}", 0, "500 questions"),
        (f"**/{ANSWERS}", 0, "500 answers"),
        (f"**/{IMAGE_FOLDERS[TEST][0]}/*.jpg", 0, "500 images"),
    ),
    splits="4,000 training, 500 validation and 500 test questions, one an image",
    yields="what is abnormal in radiology images, and whether anything is",
    access="validation and test part public; the training part after signing up for the challenge at AIcrowd",
    downloads=(
        Download(f"{REPOSITORY}/VQA-ValidationSet-VQAMed2020-Task1.zip"),
        Download(f"{REPOSITORY}/VQA-TestSet-ReferenceAnswers-VQAMed2020-Task1.zip"),
    ),
    prepare=release_context,
    citation="Ben Abacha et al., CLEF 2020 Working Notes, CEUR 2696, paper 106",
    notes=(
        "archives inside the archives hold the images; unpack them where they lie",
        "the technique of an image is known only where its question tells it",
        "images are from MedPix like those of VQA-RAD and of the other editions, and some are in several",
    ),
)

SOURCE = Source(
    name="vqa_med_2020",
    title="ImageCLEF VQA-Med 2020, task 1",
    licence="CC BY 4.0",
    obtain="https://github.com/abachaa/VQA-Med-2020",
    folder="vqa_med_2020",
    published_images=5_000,
    published_questions=5_000,
    published=PUBLISHED,
)

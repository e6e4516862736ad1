"""A small download of the source ``folder``, with pictures, and the bytes of a data set, for tests of its building."""

import csv
import hashlib
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

ANSWERS = ("left lung", "Right Lung.", "heart", "LIVER", "yes", "no", "2", "spleen")


def write_downloads(folder: Path, files: int, rows: int = 30) -> Path:
    """``files`` tables of questions about a dozen pictures, each a chunk of a build; returns the folder."""
    folder.mkdir(parents=True)
    for number in range(12):
        coarse = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
        picture = PillowImage.fromarray(coarse).resize((48, 48), PillowImage.Resampling.BICUBIC)
        picture.save(folder / f"picture{number}.{'png' if number % 2 else 'tif'}")
    for table in range(files):
        with (folder / f"table{table}.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["id", "image", "question", "answer", "modality", "split", "type"])
            for row in range(rows):
                number = (row + table) % 12
                split = ("train", "train", "validation", "test")[number // 3]
                picture = f"picture{number}.{'png' if number % 2 else 'tif'}"
                question, answer = f"What is at place {row}?", ANSWERS[(row + table) % len(ANSWERS)]
                writer.writerow([f"q{table}-{row}", picture, question, answer, "X-ray", split, "organ"])
    return folder


def files_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below ``folder`` by its relative name."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }

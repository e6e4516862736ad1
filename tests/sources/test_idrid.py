"""IDRiD: the blank in the header, empty trailing columns, equal names in both folders, the published test set."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from healthgpt.errors import DataError
from healthgpt.record import Sample
from healthgpt.sources import idrid

TABLES = {
    "train": "Image name,Retinopathy grade,Risk of macular edema ,,,,,,,,,\nIDRiD_001,4,2,,,,,,,,,\n",
    "test": "Image name,Retinopathy grade,Risk of macular edema \nIDRiD_001,0,0\n",
}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    folder = tmp_path / "idrid_fundus" / "B. Disease Grading"
    (folder / "2. Groundtruths").mkdir(parents=True)
    for seed, (part, images, table) in enumerate(idrid.FOLDERS):
        (folder / "2. Groundtruths" / table).write_text(TABLES[part])
        place = folder / "1. Original Images" / images
        place.mkdir(parents=True)
        colours = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        PillowImage.fromarray(colours).save(place / "IDRiD_001.jpg")
    return tmp_path


def test_equal_names_are_two_pictures(tiny: Path, lawful: Callable[[list[Sample]], None]) -> None:
    samples = list(idrid.samples(tiny))
    lawful(samples)
    grades = {s.record.provenance.original_id: s.record.response for s in samples if s.record.kind == "grade"}
    assert grades == {"train/IDRiD_001": "proliferative", "test/IDRiD_001": "no retinopathy"}
    assert {s.record.split for s in samples if s.record.provenance.original_id == "test/IDRiD_001"} == {"test"}
    reports = {s.record.response for s in samples if s.record.kind == "report"}
    assert "Fundus photograph with proliferative diabetic retinopathy and high risk of macular edema." in reports


def test_other_tables_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("name,grade\nIDRiD_001,4\n")
    with pytest.raises(DataError, match="Retinopathy grade"):
        idrid.read_grades(table)


def test_real_pack(packs: Path, lawful: Callable[[list[Sample]], None]) -> None:
    samples = list(idrid.samples(packs))
    lawful(samples)
    pictures = {(s.record.provenance.original_id, s.record.split) for s in samples}
    assert len(pictures) == 48
    assert sum(split == "test" for _, split in pictures) == 12
    assert all((split == "test") == name.startswith("test/") for name, split in pictures)

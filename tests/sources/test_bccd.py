"""BCCD: counts and halves from the boxes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from healthgpt.errors import DataError
from healthgpt.record import Sample
from healthgpt.sources import bccd


def write_smear(root: Path, cells: list[tuple[str, int]]) -> Path:
    """A 100-pixel smear with boxes of 10 pixels whose left edges are given."""
    folder = root / "bccd_microscopy" / "BCCD"
    (folder / "Annotations").mkdir(parents=True)
    (folder / "JPEGImages").mkdir()
    boxes = "".join(
        f"<object><name>{kind}</name><bndbox><xmin>{left}</xmin><ymin>1</ymin><xmax>{left + 10}</xmax>"
        "<ymax>9</ymax></bndbox></object>"
        for kind, left in cells
    )
    annotation = folder / "Annotations" / "BloodImage_00001.xml"
    annotation.write_text(f"<annotation><size><width>100</width></size>{boxes}</annotation>")
    colours = np.random.default_rng(0).integers(0, 256, (60, 100, 3), dtype=np.uint8)
    PillowImage.fromarray(colours).save(folder / "JPEGImages" / "BloodImage_00001.jpg")
    return annotation


def test_boxes_become_answers(tmp_path: Path, lawful: Callable[[list[Sample]], None]) -> None:
    write_smear(tmp_path, [("WBC", 5), ("Platelets", 80), ("Platelets", 85), *[("RBC", 70 + i) for i in range(4)]])
    samples = list(bccd.samples(tmp_path))
    lawful(samples)
    answers = {s.record.id.split("/")[-1]: s.record.response for s in samples}
    assert answers["white-cell-open"] == "yes"
    assert (answers["white-cell-left-open"], answers["white-cell-right-open"]) == ("yes", "no")
    assert answers["platelet-count-open"] == answers["platelet-count-choice"] == "2"
    assert answers["comparison-open"] == "right"
    assert answers["report"] == "Stained blood smear with red blood cells, 1 white blood cell and 2 platelets."


def test_halves_are_not_asked_where_they_are_not_clear(tmp_path: Path) -> None:
    write_smear(tmp_path, [("WBC", 46), ("RBC", 10), ("RBC", 20), ("RBC", 80)])
    asked = {s.record.id.split("/")[-1] for s in bccd.samples(tmp_path)}
    assert not asked & {"comparison-open", "white-cell-left-open", "white-cell-right-open"}
    assert "platelets-open" in asked


def test_damaged_annotation_is_named(tmp_path: Path) -> None:
    annotation = write_smear(tmp_path, [])
    annotation.write_text("<annotation>")
    with pytest.raises(DataError, match=r"BloodImage_00001\.xml"):
        bccd.read_cells(annotation)


def test_real_pack(packs: Path, lawful: Callable[[list[Sample]], None]) -> None:
    samples = list(bccd.samples(packs))
    lawful(samples)
    assert len({s.record.provenance.original_id for s in samples}) == 50
    halves = [s.record.response for s in samples if s.record.id.endswith(("white-cell-left-open", "cell-right-open"))]
    assert halves.count("yes") == pytest.approx(halves.count("no"), abs=4)

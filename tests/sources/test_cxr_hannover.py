"""Hannover chest X-rays: unknown cells, reports from the table, patients kept together."""

from collections.abc import Callable
from pathlib import Path

import pytest

from healthgpt.errors import DataError
from healthgpt.record import Sample
from healthgpt.sources import cxr_hannover


def test_reports_say_what_the_row_says() -> None:
    row = {"sex": "f", "projection": "ap"}
    assert cxr_hannover.report_of(row) == "Frontal chest X-ray, AP projection. Female patient with COVID-19."
    assert cxr_hannover.report_of({"sex": "", "projection": ""}) == "Frontal chest X-ray. Patient with COVID-19."


def test_other_tables_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "data.csv"
    table.write_text("patient_id,image_id,sex\na,b,m\n")
    with pytest.raises(DataError, match="projection"):
        cxr_hannover.read_table(table)


def test_missing_picture_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "cxr_hannover"
    folder.mkdir()
    (folder / "data.csv").write_text("patient_id,image_id,sex,projection\na,0b0b0b0b,m,ap\n")
    with pytest.raises(DataError, match=r"0b0b0b0b\.png"):
        list(cxr_hannover.samples(tmp_path))


def test_real_pack(packs: Path, lawful: Callable[[list[Sample]], None]) -> None:
    samples = list(cxr_hannover.samples(packs))
    lawful(samples)
    assert len({s.record.provenance.original_id for s in samples}) == 140
    assert len({s.record.provenance.group for s in samples}) == 36
    drawn = [s for s in samples if s.record.task == "report-to-cxr"]
    assert len(drawn) == 140
    assert all("projection." in s.record.instruction for s in drawn)
    projections = [s.record.response for s in samples if s.record.id.endswith("projection-open")]
    assert (projections.count("ap"), projections.count("pa")) == (119, 21)

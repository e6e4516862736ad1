"""The COVID X-ray collection as published: frontal X-rays with notes, the licence of each image."""

import csv
from collections import Counter
from pathlib import Path

import pytest
from published_rows import read_all

from healthgpt.sources import covid_cxr_notes

HEADER = "patientid,offset,view,modality,folder,filename,license,clinical notes\n"


def test_real_pack(packs: Path) -> None:
    folder = packs / "nc_covid_cxr_notes"
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    frontal = [row for row in rows if row["view"] != "L"]
    entries, damaged, oddities = read_all(covid_cxr_notes.SOURCE, folder)
    assert (len(rows), len(frontal), len(entries), damaged) == (110, 96, 96, [])
    assert [(one.text, one.group, one.licence) for one in entries] == [
        (row["clinical_notes"], row["patientid"], row["license"]) for row in frontal
    ]
    assert all((folder / one.images[0]).is_file() for one in entries)
    licences = Counter(f"licence: {row['license']}" for row in frontal)
    assert oddities == {"view not frontal": 14, **licences}


@pytest.mark.parametrize(
    ("row", "oddity"),
    [
        ("7,0,PA,CT,images,a.png,CC BY,Notes", "not an X-ray"),
        ("7,0,PA,X-ray,images,a.png,CC BY, ", "no clinical notes"),
        ("7,0,L,X-ray,images,a.png,CC BY,Notes", "view not frontal"),
        ("7,0,PA,X-ray,images,a.png,,Notes", "no licence stated: left out"),
    ],
)
def test_what_is_left_out_is_counted(tmp_path: Path, row: str, oddity: str) -> None:
    (tmp_path / "metadata.csv").write_text(f"{HEADER}{row}\n7,0,AP,X-ray,,b.png,CC BY,Kept\n7,0,AP,X-ray,,,CC BY,x\n")
    entries, damaged, oddities = read_all(covid_cxr_notes.SOURCE, tmp_path)
    assert [(one.original_id, one.images, one.text, one.group) for one in entries] == [
        ("b.png", ("images/b.png",), "Kept", "7")
    ]
    assert oddities == {oddity: 1, "licence: CC BY": 1}
    assert len(damaged) == 1
    assert "no filename" in damaged[0]

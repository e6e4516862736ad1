"""Open-i as published and twice re-packaged: no study is read twice, the split and the projections are found."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from published_rows import read_all

from healthgpt.sources import openi

FIRST_IMAGE = "projection not told: first image taken"


def xml_report(study: int, images: list[str], findings: str = "Clear lungs.", impression: str = "Normal.") -> str:
    """A report with the elements of the published ones that are read."""
    shown = "".join(f'<parentImage id="{name}"><figureId>F1</figureId></parentImage>' for name in images)
    return f"""<?xml version="1.0" encoding="utf-8"?><eCitation><uId id="CXR{study}"/>
        <licenseURL>http://creativecommons.org/licenses/by-nc-nd/4.0/</licenseURL><MedlineCitation><Article><Abstract>
        <AbstractText Label="COMPARISON">None.</AbstractText><AbstractText Label="INDICATION"/>
        <AbstractText Label="FINDINGS">{findings}</AbstractText>
        <AbstractText Label="IMPRESSION">{impression}</AbstractText>
        </Abstract></Article></MedlineCitation>{shown}</eCitation>"""


def write_xml(folder: Path, study: int, text: str) -> None:
    (folder / "ecgen-radiology").mkdir(exist_ok=True)
    (folder / "ecgen-radiology" / f"{study}.xml").write_text(text)


def write_tables(folder: Path) -> None:
    (folder / "indiana_reports.csv").write_text(
        "uid,MeSH,Problems,image,indication,comparison,findings,impression\n"
        "1,normal,normal,Chest,Cough.,None.,Heart normal.,Clear.\n2,normal,normal,Chest,,,,XXXX old.\n"
        "3,normal,normal,Chest,,,,\nx,,,,,,a,b\n"
    )
    (folder / "indiana_projections.csv").write_text(
        "uid,filename,projection\n1,1_IM-0001-4001.dcm.png,Frontal\n1,1_IM-0001-3001.dcm.png,Lateral\n"
        "2,2_IM-0652-1001.dcm.png,Frontal\n2,2_IM-0652-2001.dcm.png,Frontal\n"
    )


def write_annotation(folder: Path) -> None:
    def study(number: int, split: str) -> dict:
        name = f"CXR{number}_IM-0001-1001"
        return {"id": name, "report": "Lungs clear.", "image_path": [f"{name}/0.png", f"{name}/1.png"], "split": split}

    (folder / "annotation.json").write_text(
        json.dumps({"train": [study(1, "train")], "val": [study(2, "val")], "test": [study(9, "test"), {"id": 7}]})
    )


def test_real_reports(packs: Path) -> None:
    folder = packs / "nc_openi_reports"
    documents = [ElementTree.parse(path).getroot() for path in (folder / "ecgen-radiology").glob("*.xml")]
    texts = [{one.get("Label"): one.text or "" for one in root.iter("AbstractText")} for root in documents]
    images = [len(list(root.iter("parentImage"))) for root in documents]
    entries, damaged, oddities = read_all(openi.SOURCE, folder)
    assert (len(documents), damaged) == (120, [])
    assert len(entries) == sum(number > 0 for number in images) == 118
    assert len({one.group for one in entries}) == len(entries)
    assert {(one.findings, one.impression) for one in entries} <= {(t["FINDINGS"], t["IMPRESSION"]) for t in texts}
    assert oddities == {
        "no image to read": images.count(0),
        FIRST_IMAGE: sum(number > 1 for number in images),
        "no findings": sum(not one["FINDINGS"].strip() for one in texts),
        "words replaced by XXXX": sum("XXXX" in one["FINDINGS"] + one["IMPRESSION"] for one in texts),
    }
    one = next(one for one in entries if one.group == "CXR798")
    assert one.images == ("NLMCXR_png/CXR798_IM-2332-1001.png",)
    assert one.findings == "The heart is not enlarged. Lungs are clear. No pleural effusion."
    assert (one.impression, one.split) == ("No acute abnormality.", None)


def test_tables_give_every_frontal_image(tmp_path: Path) -> None:
    write_tables(tmp_path)
    entries, damaged, oddities = read_all(openi.SOURCE, tmp_path)
    assert [(one.original_id, one.images[0], one.findings, one.impression) for one in entries] == [
        ("CXR1/1_IM-0001-4001", "images/images_normalized/1_IM-0001-4001.dcm.png", "Heart normal.", "Clear."),
        ("CXR2/2_IM-0652-1001", "images/images_normalized/2_IM-0652-1001.dcm.png", "", "XXXX old."),
        ("CXR2/2_IM-0652-2001", "images/images_normalized/2_IM-0652-2001.dcm.png", "", "XXXX old."),
    ]
    assert oddities == {"no findings": 1, "no findings and no impression": 1, "words replaced by XXXX": 1}
    assert len(damaged) == 1
    assert "no uid" in damaged[0]


def test_annotation_gives_the_customary_split(tmp_path: Path) -> None:
    write_annotation(tmp_path)
    entries, damaged, oddities = read_all(openi.SOURCE, tmp_path)
    assert [(one.group, one.split, one.images[0]) for one in entries] == [
        ("CXR1", "train", "images/CXR1_IM-0001-1001/0.png"),
        ("CXR2", "validation", "images/CXR2_IM-0001-1001/0.png"),
        ("CXR9", "test", "images/CXR9_IM-0001-1001/0.png"),
    ]
    assert oddities == {FIRST_IMAGE: 3}
    assert len(damaged) == 1


def test_all_layouts_together_give_each_study_once(tmp_path: Path) -> None:
    write_tables(tmp_path)
    write_annotation(tmp_path)
    write_xml(tmp_path, 1, xml_report(1, ["CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001"]))
    entries, _, oddities = read_all(openi.SOURCE, tmp_path)
    # The table tells that the second image of study 1 is the frontal one, and the annotation the split of all.
    assert [(one.group, one.images[0], one.split) for one in entries] == [
        ("CXR1", "NLMCXR_png/CXR1_1_IM-0001-4001.png", "train"),
        ("CXR2", "images/images_normalized/2_IM-0652-1001.dcm.png", "validation"),
        ("CXR2", "images/images_normalized/2_IM-0652-2001.dcm.png", "validation"),
        ("CXR9", "images/CXR9_IM-0001-1001/0.png", "test"),
    ]
    assert oddities["study read from another layout"] == 3
    # Where only the re-packaged images are there, the words come from beside them.
    (tmp_path / "images" / "images_normalized").mkdir(parents=True)
    entries, _, _ = read_all(openi.SOURCE, tmp_path)
    assert entries[0].images == ("images/images_normalized/1_IM-0001-4001.dcm.png",)
    assert sum(one.group == "CXR1" for one in entries) == 1


@pytest.mark.parametrize(
    "text",
    [
        "", "<eCitation>", "not xml at all", '<!DOCTYPE a [<!ENTITY b "c">]><eCitation>&b;</eCitation>',
        '<?xml version="1.0" encoding="no-such-encoding"?><eCitation/>',
    ],
)  # fmt: skip
def test_damaged_and_hostile_reports_are_refused(tmp_path: Path, text: str) -> None:
    write_xml(tmp_path, 1, text)
    write_xml(tmp_path, 2, xml_report(2, ["CXR2_IM-1-1001"]))
    entries, damaged, _ = read_all(openi.SOURCE, tmp_path)
    assert [one.group for one in entries] == ["CXR2"]
    assert len(damaged) == 1


@pytest.mark.parametrize("value", [{"image_path": "0.png"}, {"image_path": [1]}, {"report": None}])
def test_annotation_of_the_wrong_type_is_refused(tmp_path: Path, value: dict) -> None:
    entry = {"id": "CXR5_IM-1", "report": "Clear.", "image_path": ["a/0.png"], "split": "train"} | value
    (tmp_path / "annotation.json").write_text(json.dumps({"train": [entry]}))
    entries, damaged, _ = read_all(openi.SOURCE, tmp_path)
    assert entries == []
    assert "wrong type" in damaged[0]

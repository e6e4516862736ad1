"""Original downloads to a data set: nothing is lost unsaid, splits do not leak, the same input gives the same bytes."""

import io
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from made_up_source import NAME, SOURCE, questions, write_picture, write_rows
from PIL import Image as PillowImage

from healthgpt.data import plan
from healthgpt.data.build import LocalWorkers, build
from healthgpt.data.dataset import load_examples
from healthgpt.data.mixture import Mixture, MixturePart
from healthgpt.data.settings import BuildSettings
from healthgpt.data.shards import Manifest, load_manifest, record_by_id, records_of
from healthgpt.errors import DataError, OutputError
from healthgpt.record import Record
from healthgpt.sources.catalog import SOURCES
from healthgpt.vision.preprocess import Preprocessing


@pytest.fixture(autouse=True)
def _made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, NAME, SOURCE)


def built(tmp_path: Path, rows: list[dict[str, Any]], **settings: Any) -> tuple[Path, Manifest]:
    """A data set of those rows."""
    originals = write_rows(tmp_path / NAME, rows)
    folder = tmp_path / "set"
    return folder, build(folder, BuildSettings(sources={NAME: originals}, **settings), LocalWorkers())


def by_id(folder: Path) -> dict[str, Record]:
    return {record.id: record for record in records_of(folder)}


def test_every_row_is_a_record_or_is_accounted_for(tmp_path: Path) -> None:
    rows = questions(40, split="train")
    rows[3]["answer"] = "NULL"
    rows[4]["broken"] = True
    rows[5]["images"] = ["a.png", "b.png"]
    rows[6]["answer"] = 7
    rows[7]["id"] = "q8"
    folder, manifest = built(tmp_path, rows, max_quarantined=0.1)
    records = by_id(folder)
    own = manifest.sources[NAME]
    assert own["rows"] == 40
    assert own["quarantined"] == 2
    assert own["dropped"] == {"several images": 1}
    assert manifest.left_out == {"repeated id": 1, "withheld": 0}
    assert len(records) == 40 - 2 - 1 - 1
    assert records[f"{NAME}/q6"].response == "7"
    refused = [json.loads(line) for line in (folder / "quarantine.jsonl").read_text().splitlines()]
    assert [(row["line"], row["file"]) for row in refused] == [(4, "rows.jsonl"), (5, "rows.jsonl")]
    assert refused[0]["reason"] == "no answer"
    assert refused[1]["reason"] == "broken on purpose"
    assert own["oddities"]["NULL"] == 1
    assert own["oddities"]["integer value"] == 1


def test_too_many_malformed_rows_stop_the_build_and_can_be_looked_at(tmp_path: Path) -> None:
    rows = questions(20)
    for row in rows[:3]:
        row["broken"] = True
    with pytest.raises(DataError, match="3 of 20") as caught:
        built(tmp_path, rows)
    assert "broken on purpose (3)" in caught.value.line()
    assert len((tmp_path / "set" / "work" / "quarantine.jsonl").read_text().splitlines()) == 3
    assert not (tmp_path / "set" / "manifest.json").exists()


def test_missing_images_are_quarantined_and_the_way_out_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--words-only made_up"):
        built(tmp_path, questions(3, images=["nowhere.png"]))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd", "image path is absolute"),
        ("C:\\pictures\\a.png", "image path is absolute"),
        ("../secret.png", "image path leads out of the folder ('..')"),
        ("a/../../secret.png", "image path leads out of the folder ('..')"),
        ("..\\secret.png", "image path leads out of the folder ('..')"),
        ("nowhere.png", "image missing"),
    ],
)
def test_image_paths_that_lead_out_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    write_picture(tmp_path / "secret.png", 1)
    rows = [*questions(1, images=[name]), *questions(3)[1:]]
    folder, _ = built(tmp_path, rows, max_quarantined=0.5)
    assert json.loads((folder / "quarantine.jsonl").read_text())["reason"] == reason


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "secret.png", 1)
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "link.png").symlink_to(tmp_path / "secret.png")
    folder, _ = built(tmp_path, [*questions(1, images=["link.png"]), *questions(3)[1:]], max_quarantined=0.5)
    assert "leads out" in json.loads((folder / "quarantine.jsonl").read_text())["reason"]


def test_a_damaged_image_is_quarantined(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "text.png").write_text("no picture")
    folder, _ = built(tmp_path, [*questions(1, images=["text.png"]), *questions(3)[1:]], max_quarantined=0.5)
    assert "image unreadable" in json.loads((folder / "quarantine.jsonl").read_text())["reason"]


def test_a_training_row_that_shares_an_image_with_test_is_withheld(tmp_path: Path) -> None:
    write_picture(tmp_path / NAME / "shared.png", 1)
    write_picture(tmp_path / NAME / "own.png", 2)
    with PillowImage.open(tmp_path / NAME / "shared.png") as picture:
        picture.resize((80, 80)).save(tmp_path / NAME / "resaved.jpg", quality=85)
    rows = [
        {"id": "a", "images": ["shared.png"], "split": "test", "question": "What?", "answer": "x"},
        {"id": "b", "images": ["resaved.jpg"], "split": "train", "question": "Where?", "answer": "y"},
        {"id": "c", "images": ["own.png"], "split": "train", "question": "Who?", "answer": "z"},
    ]
    folder, manifest = built(tmp_path, rows)
    assert {one.id: one.split for one in records_of(folder)} == {f"{NAME}/a": "test", f"{NAME}/c": "train"}
    assert manifest.left_out["withheld"] == 1
    assert json.loads((folder / "withheld.jsonl").read_text())["id"] == f"{NAME}/b"


def test_the_published_split_can_be_kept_and_a_disjoint_one_stands_beside_it(tmp_path: Path) -> None:
    write_picture(tmp_path / NAME / "shared.png", 1)
    rows = [
        {"id": "a", "images": ["shared.png"], "split": "test", "question": "What?", "answer": "x"},
        {"id": "b", "images": ["shared.png"], "split": "train", "question": "Where?", "answer": "y"},
    ]
    folder, _ = built(tmp_path, rows, splits="published")
    records = by_id(folder)
    assert [records[f"{NAME}/{name}"].split for name in "ab"] == ["test", "train"]
    assert len({record.provenance.disjoint_split for record in records.values()}) == 1


@pytest.mark.parametrize("one_line", [False, True])
def test_cutting_a_file_into_chunks_changes_nothing(
    tmp_path: Path, one_line: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = questions(50, split="train", kind="organ")
    rows[20]["broken"] = True
    told = []
    for size in (1000, 7):
        monkeypatch.setattr(plan, "ROWS_PER_CHUNK", size)
        originals = write_rows(tmp_path / str(size) / NAME, rows)
        if one_line:
            (originals / "rows.jsonl").write_text(json.dumps(rows))
        folder = tmp_path / str(size) / "set"
        manifest = build(folder, BuildSettings(sources={NAME: originals}, max_quarantined=0.1), LocalWorkers())
        told.append(([*records_of(folder)], (folder / "quarantine.jsonl").read_text(), manifest.sources))
    assert len(told[0][0]) == 49
    assert told[0] == told[1]


def test_forms_follow_from_seed_and_id_and_options_come_from_the_same_type(tmp_path: Path) -> None:
    rows = questions(200, split="train", kind="organ")
    for number, row in enumerate(rows):
        row["answer"] = ("liver", "spleen", "left kidney", "heart", "bladder", "stomach")[number % 6]
    rows += [
        {**row, "id": f"s{row['id']}", "kind": "side", "answer": ("left", "right")[n % 2]} for n, row in enumerate(rows)
    ]
    folder, _ = built(tmp_path, rows, choice_share=0.5)
    records = list(records_of(folder))
    chosen = [record for record in records if record.options]
    assert 0.35 < len(chosen) / len(records) < 0.65
    for record in chosen:
        assert record.response in record.options
        assert ("left" in record.options) == (record.kind == "side")
        assert "Options: A. " in record.instruction


def test_a_mixture_takes_exactly_what_it_says_of_training_and_keeps_held_out(tmp_path: Path) -> None:
    rows = questions(60, split="train", kind="organ")
    rows += [{**row, "id": f"t{row['id']}", "kind": "side"} for row in questions(50, split="train")]
    rows += [{**row, "id": f"h{row['id']}"} for row in questions(10, split="test")]
    mixture = Mixture(
        name="some",
        parts=(MixturePart(sources=(NAME,), kinds=("organ",), count=25), MixturePart(sources=(NAME,), count=70)),
    )
    folder, manifest = built(tmp_path, rows, mixture=mixture)
    records = list(records_of(folder))
    training = [record for record in records if record.split == "train"]
    assert sum(record.kind == "organ" for record in training) == 25
    assert sum(record.kind == "side" for record in training) == 50
    assert sum(record.split == "test" for record in records) == 10
    assert [(part["wanted"], part["found"], part["taken"]) for part in manifest.mixture["parts"]] == [
        (25, 60, 25),
        (70, 50, 50),
    ]


def test_another_seed_takes_other_records(tmp_path: Path) -> None:
    mixture = Mixture(name="some", parts=(MixturePart(sources=(NAME,), count=10),))
    taken = []
    for seed in (0, 1):
        folder, _ = built(tmp_path / str(seed), questions(100, split="train"), mixture=mixture, seed=seed)
        taken.append({record.id for record in records_of(folder)})
    assert len(taken[0]) == len(taken[1]) == 10
    assert taken[0] != taken[1]


@pytest.mark.parametrize("images", ["files", "embed"])
def test_what_is_built_loads_as_examples_and_with_the_datasets_library(tmp_path: Path, images: str) -> None:
    for number in range(6):
        write_picture(tmp_path / NAME / f"p{number}.png", number)
    rows = [
        {"id": f"q{n}", "images": [f"p{n}.png"], "question": "What?", "answer": "x", "split": "train"} for n in range(3)
    ]
    rows.append({"id": "pair", "task": "ct-to-mri", "image": "p4.png", "target": "p5.png", "split": "train"})
    folder, manifest = built(tmp_path, rows, images=images)
    examples = load_examples(folder, "train", Preprocessing(size=32))
    assert len(examples.readings) == 3
    assert len(examples.drawings) == 1
    assert examples.drawings[0].image != examples.drawings[0].target
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert {split: len(loaded[split]) for split in loaded} == {"train": 4}
    assert loaded["train"][0]["source"] == NAME
    if images == "embed":
        assert loaded["train"][0]["image"].size == (96, 96)
        assert not (folder / "images").exists()
    else:
        assert (folder / loaded["train"][0]["image"]).is_file()
    assert manifest == load_manifest(folder)


def test_an_image_of_a_foreign_form_becomes_a_png_and_a_plain_one_stays_as_it_is(tmp_path: Path) -> None:
    write_picture(tmp_path / NAME / "a.png", 1)
    with PillowImage.open(tmp_path / NAME / "a.png") as picture:
        picture.save(tmp_path / NAME / "b.tif")
    rows = questions(2, split="train")
    rows[0]["images"], rows[1]["images"] = ["a.png"], ["b.tif"]
    folder, _ = built(tmp_path, rows)
    records = by_id(folder)
    first, second = (folder / str(records[f"{NAME}/q{n}"].image) for n in range(2))
    assert first.read_bytes() == (tmp_path / NAME / "a.png").read_bytes()
    assert second.suffix == ".png"
    with PillowImage.open(io.BytesIO(second.read_bytes())) as one, PillowImage.open(tmp_path / NAME / "b.tif") as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))


def test_a_file_of_another_layout_names_the_closest_known_one(tmp_path: Path) -> None:
    row = {name: "x" for name in SOURCES["vqa_rad"].published.tables[0].columns}  # type: ignore[union-attr]
    with pytest.raises(DataError, match="closest to those of 'vqa_rad'"):
        built(tmp_path, [row])


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        built(tmp_path, questions(2))
    assert (tmp_path / "set" / "mine.txt").read_text() == "mine"


def test_a_build_is_not_continued_with_other_settings_or_other_files(tmp_path: Path) -> None:
    rows = questions(10)
    rows[0]["broken"] = True
    with pytest.raises(DataError):
        built(tmp_path, rows, max_quarantined=0.05)
    with pytest.raises(OutputError, match="other settings"):
        built(tmp_path, rows, max_quarantined=0.2)
    with pytest.raises(OutputError, match="originals have changed"):
        built(tmp_path, questions(11), max_quarantined=0.05)


def test_words_of_one_patient_are_not_parted_by_a_split(tmp_path: Path) -> None:
    rows = questions(8, split="train", group="patient")
    rows[3]["split"] = "test"
    folder, manifest = built(tmp_path, rows)
    assert [record.split for record in records_of(folder)] == ["test"]
    assert manifest.left_out["withheld"] == 7


def test_a_record_is_found_by_its_id_and_unused_pictures_are_gone(tmp_path: Path) -> None:
    for number in range(2):
        write_picture(tmp_path / NAME / f"p{number}.png", number)
    rows = questions(2, group="patient")
    rows[0] |= {"images": ["p0.png"], "split": "test"}
    rows[1] |= {"images": ["p1.png"], "split": "train"}
    folder, manifest = built(tmp_path, rows)
    record = record_by_id(folder, f"{NAME}/q0")
    assert record == next(records_of(folder))
    assert manifest.images == 1
    assert [path.relative_to(folder).as_posix() for path in (folder / "images").rglob("*.png")] == [record.image]
    with pytest.raises(DataError, match="no record 'q9'"):
        record_by_id(folder, "q9")


def test_what_no_record_could_hold_is_a_malformed_row_and_not_the_end_of_the_build(tmp_path: Path) -> None:
    rows = questions(10, split="train")
    rows[1]["answer"] = "."
    rows[2]["task"] = "xray"
    rows[3] = {"id": "q3"}
    rows[4]["images"] = [7]
    folder, _ = built(tmp_path, rows, max_quarantined=0.5)
    assert len(list(records_of(folder))) == 6
    refused = {
        row["line"]: row["reason"] for row in map(json.loads, (folder / "quarantine.jsonl").read_text().splitlines())
    }
    assert refused[2] == "no answer"
    assert refused[3] == "'xray' is not a reading task"
    assert all("not of the published shape" in refused[line] for line in (4, 5))

"""Checking a data set: a sound one is clean, every kind of damage is found, and several at once."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up_source import NAME, SOURCE, questions, write_picture, write_rows
from PIL import Image as PillowImage

from healthgpt.data import scattered
from healthgpt.data.build import LocalWorkers, build
from healthgpt.data.check import check_data
from healthgpt.data.codes import SCHEMA, EncodedWith
from healthgpt.data.findings import KINDS, CheckReport
from healthgpt.data.sample_folder import build as build_lines
from healthgpt.data.sample_folder import plan_jobs
from healthgpt.data.settings import BuildSettings
from healthgpt.data.shards import file_digest, load_manifest, write_manifest
from healthgpt.errors import DataError
from healthgpt.sources.catalog import SOURCES
from healthgpt.vision.preprocess import Preprocessing

CODEC = "c0dec"
TRAIN, TEST = "data/train-00000.parquet", "data/test-00000.parquet"


def rows() -> list[dict[str, Any]]:
    """Questions with and without images in all splits, a pair, a row to be refused."""
    asked = [
        {"id": f"i{n}", "images": [f"p{n}.png"], "question": "What is it?", "answer": f"thing {n}", "split": split}
        for n, split in enumerate(["train", "train", "train", "validation", "test", "test"])
    ]
    asked[0]["options"], asked[0]["answer"] = ["left", "right"], "left"
    asked.append({"id": "pair", "task": "ct-to-mri", "image": "p6.png", "target": "p7.png", "split": "train"})
    asked.append({"id": "other", "task": "ct-to-mri", "image": "p8.png", "target": "p9.png", "split": "test"})
    asked += [{**row, "id": f"w{row['id']}"} for row in questions(30, split="train")]
    asked.append({"id": "bad", "broken": True})
    return asked


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A sound data set with images in files, and one with images embedded."""
    place = tmp_path_factory.mktemp("sound")
    originals = write_rows(place / NAME, rows())
    for number in range(10):
        write_picture(originals / f"p{number}.png", number)
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES, NAME, SOURCE)
        for images in ("files", "embed"):
            folders[images] = place / images
            settings = BuildSettings(sources={NAME: originals}, images=images, max_quarantined=0.1)  # type: ignore[arg-type]
            build(folders[images], settings, LocalWorkers())
    return folders


@pytest.fixture
def folder(sound: dict[str, Path], tmp_path: Path) -> Path:
    """A copy to damage, with images in files."""
    return Path(shutil.copytree(sound["files"], tmp_path / "set"))


def kinds(report: CheckReport) -> dict[str, int]:
    return {problem.kind: problem.count for problem in report.problems}


def resealed(folder: Path, file: str, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change the rows of a shard as someone would who then mends the manifest, all but its counts."""
    path = folder / file
    table = pq.read_table(path)
    values = table.to_pylist()
    change(values)
    pq.write_table(pa.Table.from_pylist(values, table.schema), path)
    manifest = load_manifest(folder)
    shards = tuple(
        shard.model_copy(
            update={"rows": len(values), "size": path.stat().st_size, "sha256": file_digest(path)}
            if shard.file == file
            else {}
        )
        for shard in manifest.shards
    )
    write_manifest(folder, manifest.model_copy(update={"shards": shards}))


def picture_files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "images").rglob("*") if path.is_file())


@pytest.mark.parametrize("images", ["files", "embed"])
def test_a_sound_data_set_is_clean(sound: dict[str, Path], images: str) -> None:
    told: list[tuple[str, int, int]] = []
    report = check_data(sound[images], lambda *progress: told.append(progress))
    assert kinds(report) == {}
    assert report.clean
    assert (report.records, report.images, report.shards) == (38, 10, 3)
    assert ("reading records", 38, 38) in told
    if images == "files":
        assert told[-1] == ("looking at images", 10, 10)


def test_much_damage_is_told_at_once_with_counts_and_few_examples(folder: Path) -> None:
    (folder / TEST).unlink()
    (folder / "leaks.json").write_text("{")
    pictures = picture_files(folder)
    for path in pictures[:7]:
        path.unlink()
    pictures[7].write_bytes(pictures[8].read_bytes())
    pictures[8].write_text("no picture")
    (folder / "images" / "stray.png").write_bytes(pictures[9].read_bytes())
    report = check_data(folder)
    found = kinds(report)
    assert {"shard missing", "side file", "image missing", "image changed", "counts"} <= found.keys()
    missing = next(problem for problem in report.problems if problem.kind == "image missing")
    assert missing.count >= 3
    assert len(missing.examples) == min(missing.count, 5)
    assert [problem.kind for problem in report.problems] == [kind for kind in KINDS if kind in found]


@pytest.mark.parametrize(
    ("change", "kind", "example"),
    [
        (lambda rows: rows[0].update(response="up"), "options", "'up' is not among them"),
        (lambda rows: rows[0].update(options=["left", "left"]), "options", "left, left"),
        (lambda rows: rows[0].update(instruction="Where?"), "options", "not all are in 'Where?'"),
        (lambda rows: rows[0].update(task="dental"), "record", "unknown task 'dental'"),
        (lambda rows: rows[1].update(response=None, options=[]), "record", "needs a response"),
        (lambda rows: rows[0].update(id=rows[1]["id"]), "repeated id", f"{NAME}/i1 (2 times)"),
        (lambda rows: rows[0].update(split="test"), "split", "test, but its shard says train"),
        (lambda rows: rows[0].update(published_split="test"), "split", "train, but its origin says test"),
        (lambda rows: rows[0].update(image="../secret.png"), "image outside", "../secret.png"),
        (lambda rows: rows[0].update(image="/etc/passwd"), "image outside", "/etc/passwd"),
        (lambda rows: rows[0].update(image="images/none.png"), "image missing", "images/none.png"),
        (lambda rows: rows[0].update(image="a\0b"), "image missing", "a\\x00b"),
        (lambda rows: rows[0].update(group=f"{NAME}/p4.png"), "group in several splits", "1 test, 1 train"),
        (lambda rows: rows.pop(), "counts", "train"),
        (lambda rows: rows.pop(), "manifest", "rows became"),
        (lambda rows: [row.update(target_image=None) for row in rows], "images of a task", "without target_image"),
    ],
)
def test_damaged_rows_are_found(
    folder: Path, change: Callable[[list[dict[str, Any]]], None], kind: str, example: str
) -> None:
    resealed(folder, TRAIN, change)
    report = check_data(folder)
    examples = [one for problem in report.problems if problem.kind == kind for one in problem.examples]
    assert any(example in one for one in examples), report.problems


def test_a_picture_in_two_splits_is_found_by_its_bytes(folder: Path) -> None:
    held_out = next(row["image"] for row in pq.read_table(folder / TEST).to_pylist() if row["image"])
    again = f"images/elsewhere/{Path(held_out).stem[:2]}/{Path(held_out).name}"
    (folder / again).parent.mkdir(parents=True)
    shutil.copy(folder / held_out, folder / again)
    resealed(folder, TRAIN, lambda rows: rows[1].update(image=again))
    report = check_data(folder)
    shared = next(problem for problem in report.problems if problem.kind == "picture in several splits")
    assert shared.count == 1
    assert held_out in shared.examples[0]
    assert again in shared.examples[0]


def test_what_a_published_split_shares_is_no_fault(folder: Path) -> None:
    held_out = next(row["image"] for row in pq.read_table(folder / TEST).to_pylist() if row["image"])
    resealed(folder, TRAIN, lambda rows: rows[1].update(image=held_out, group=f"{NAME}/p4.png"))
    manifest = load_manifest(folder)
    write_manifest(folder, manifest.model_copy(update={"settings": manifest.settings | {"splits": "published"}}))
    report = check_data(folder)
    assert kinds(report) == {}
    assert report.notes == ("1 image files are of records that the build left out or withheld",)


def test_changed_shards_are_found(folder: Path) -> None:
    content = (folder / TRAIN).read_bytes()
    middle = len(content) // 2
    (folder / TRAIN).write_bytes(content[:middle] + bytes(64) + content[middle + 64 :])
    (folder / TEST).write_bytes((folder / TEST).read_bytes()[:-9])
    shutil.copy(folder / "data" / "validation-00000.parquet", folder / "data" / "train-00077.parquet")
    found = kinds(check_data(folder))
    assert found["shard changed"] == 2
    assert found["shard unreadable"] >= 1
    assert found["shard unknown"] == 1


def test_other_columns_and_rows_are_found(folder: Path) -> None:
    table = pq.read_table(folder / TRAIN)
    pq.write_table(table.drop_columns(["licence"]).slice(2), folder / TRAIN)
    found = kinds(check_data(folder))
    assert found["shard columns"] == 1
    assert found["shard rows"] == 1
    assert found["record"] == table.num_rows - 2


def test_damaged_pictures_are_found(folder: Path) -> None:
    pictures = picture_files(folder)
    with PillowImage.open(pictures[0]) as picture:
        picture.convert("RGBA").save(pictures[0])
    pictures[1].write_bytes(pictures[1].read_bytes()[:60])
    pictures[2].write_bytes(b"")
    pictures[3].unlink()
    pictures[3].symlink_to("/etc/passwd")
    found = kinds(check_data(folder))
    assert found == {"image form": 1, "image changed": 3, "image unreadable": 2, "image outside": 1}


def test_files_beside_the_records_are_looked_at(folder: Path) -> None:
    write_picture(folder / "images" / NAME / "stray.png", 77)
    (folder / "README.md").unlink()
    (folder / "quarantine.jsonl").write_text("")
    (folder / "withheld.jsonl").write_text("not JSON\n")
    report = check_data(folder)
    assert kinds(report) == {"side file": 3, "counts": 1, "image of no record": 1}
    assert [problem.examples for problem in report.problems if problem.kind == "image of no record"] == [
        (f"images/{NAME}/stray.png",)
    ]


def test_damaged_embedded_pictures_are_found(sound: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound["embed"], tmp_path / "set"))

    def change(rows: list[dict[str, Any]]) -> None:
        rows[0]["image"]["bytes"] = rows[1]["image"]["bytes"]
        rows[2]["image"]["bytes"] = None

    resealed(folder, TRAIN, change)
    found = kinds(check_data(folder))
    assert found == {"image changed": 1, "image missing": 1}


def test_a_data_set_without_its_manifest_is_looked_at_all_the_same(folder: Path) -> None:
    (folder / "manifest.json").write_text("{}")
    resealed_rows = pq.read_table(folder / TRAIN).to_pylist()
    assert kinds(check_data(folder)) == {"manifest": 1}
    (folder / resealed_rows[0]["image"]).unlink()
    assert kinds(check_data(folder)) == {"manifest": 1, "image missing": 1}
    with pytest.raises(DataError, match="not a finished data set"):
        check_data(folder / "data")


def encoded(folder: Path, shift: int = 0) -> Path:
    """Codes of every target of the set, as if a codec of 4 codes had made them."""
    targets = sorted(
        {row["target_image"] for file in (TRAIN, TEST) for row in pq.read_table(folder / file).to_pylist()} - {None}
    )
    place = folder / "codes" / CODEC
    place.mkdir(parents=True)
    codes = [np.arange(4, dtype=np.uint16) + shift for _ in targets]
    pq.write_table(pa.table([targets, codes], SCHEMA), place / "codes-00000.parquet")
    made = EncodedWith(
        codec=CODEC, grid=(2, 2), code_count=4, preprocessing=Preprocessing(size=32), images=len(targets), shards=1
    )
    (place / "codec.json").write_text(made.model_dump_json())
    return place


def test_target_codes_are_checked(folder: Path) -> None:
    place = encoded(folder)
    assert check_data(folder).clean
    table = pq.read_table(place / "codes-00000.parquet")
    pq.write_table(table.slice(1), place / "codes-00000.parquet")
    assert kinds(check_data(folder)) == {"codes": 1, "target without codes": 1}
    pq.write_table(pa.concat_tables([table, table.slice(1)]), place / "codes-00000.parquet")
    assert kinds(check_data(folder)) == {"codes": 1, "codes without target": 1}
    (place / "codes-00000.parquet").write_text("cut")
    assert kinds(check_data(folder)) == {"codes": 1}
    (place / "codec.json").unlink()
    assert "unfinished" in check_data(folder).problems[0].examples[0]


def test_indices_beyond_the_codec_are_found(folder: Path) -> None:
    encoded(folder, shift=1)
    report = check_data(folder)
    assert kinds(report) == {"codes": 2}
    assert "index 4 of 4 codes" in report.problems[0].examples[0]


def test_a_folder_of_lines_is_checked_likewise(tmp_path: Path) -> None:
    build_lines(tmp_path, plan_jobs({"oct": 2}, {"reconstruct": 1}, "train"), size=32)
    report = check_data(tmp_path)
    assert report.clean, report.problems
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    lines[0] = "not JSON"
    lines[1] = json.dumps(json.loads(lines[1]) | {"split": "test"})
    lines.append(lines[2])
    lines.append("[]")
    (tmp_path / "records.jsonl").write_bytes("\n".join(lines).encode() + b"\n\xff\n")
    picture_files(tmp_path)[0].write_text("no picture")
    found = kinds(check_data(tmp_path))
    assert found == {
        "record": 3, "repeated id": 1, "group in several splits": 1, "picture in several splits": 1,
        "image unreadable": 1,
    }  # fmt: skip


def test_facts_come_back_whole_whatever_waits_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scattered, "WAITING", 7)
    facts = scattered.ScatteredFacts(tmp_path)
    for number in range(100):
        facts.add(f"key {number % 40}\n\ud800", f"fact {number % 3}")
    merged = {key: own for part in facts.parts() for key, own in part.items()}
    assert len(merged) == 40
    assert sum(own.total() for own in merged.values()) == 100

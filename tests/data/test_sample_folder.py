"""Data folders: deterministic, resumable, splits by seed, records that fit."""

import filecmp

import numpy as np
import pytest
from PIL import Image

from healthgpt.data.dataset import load_examples
from healthgpt.data.sample_folder import build, plan_jobs, run_job
from healthgpt.errors import DataError
from healthgpt.record import read_records
from healthgpt.tasks import TASKS
from healthgpt.vision.preprocess import Preprocessing

JOBS = plan_jobs({"oct": 3}, {"report-to-cxr": 2, "reconstruct": 2}, "train")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    build(folder, JOBS, workers=1)
    return folder


def test_every_record_has_its_images(built):
    records = list(read_records(built / "records.jsonl"))
    assert {record.task for record in records} == {"oct", "report-to-cxr", "reconstruct"}
    for record in records:
        for name in (record.image, record.target_image):
            if name is not None:
                with Image.open(built / name) as picture:
                    assert picture.size == (128, 128)
        assert (record.target_image is None) == (TASKS[record.task].family == "comprehension")


def test_a_killed_build_goes_on_to_the_same_bytes(built, tmp_path):
    (tmp_path / "jobs").mkdir()
    run_job(JOBS[1], tmp_path, 128, None)  # one job done, then killed
    before = (tmp_path / "jobs" / f"{JOBS[1].label}.jsonl").stat().st_mtime_ns
    assert not (tmp_path / "records.jsonl").exists()
    build(tmp_path, JOBS, workers=1)
    assert (tmp_path / "jobs" / f"{JOBS[1].label}.jsonl").stat().st_mtime_ns == before
    assert filecmp.cmp(built / "records.jsonl", tmp_path / "records.jsonl", shallow=False)
    names = sorted(path.name for path in (built / "images").iterdir())
    matched, mismatched, errors = filecmp.cmpfiles(built / "images", tmp_path / "images", names, shallow=False)
    assert sorted(matched) == names
    assert not mismatched
    assert not errors


def test_splits_have_seeds_of_their_own():
    groups = {}
    for split in ("train", "validation", "test"):
        for job in plan_jobs({"oct": 120}, {}, split):
            groups.setdefault(split, set()).add((job.first, job.count))
    assert all(sum(count for _, count in ranges) == 120 for ranges in groups.values())


def test_examples_group_questions_by_image(built):
    examples = load_examples(built, "train", Preprocessing(size=128))
    assert len(examples.readings) == 3
    assert all(len(reading.records) > 5 for reading in examples.readings)
    assert len(examples.drawings) == 4
    drawing = next(d for d in examples.drawings if d.task == "reconstruct")
    assert drawing.image is not None
    assert np.array_equal(examples.square(drawing.image), examples.square(drawing.target))
    assert load_examples(built, "test", Preprocessing(size=128)).readings == []


def test_a_record_cannot_name_an_image_outside(built, tmp_path):
    line = next(iter(read_records(built / "records.jsonl"))).model_copy(update={"image": "../secret.png"})
    (tmp_path / "records.jsonl").write_text(line.model_dump_json(exclude_defaults=True) + "\n")
    with pytest.raises(DataError, match="outside its folder"):
        load_examples(tmp_path, "train", Preprocessing(size=128))


def test_a_line_that_is_no_record_is_named(tmp_path):
    (tmp_path / "records.jsonl").write_text('{"id": "1"}\n')
    with pytest.raises(DataError, match="line 1 is not a record"):
        list(read_records(tmp_path / "records.jsonl"))
    with pytest.raises(DataError, match="no records"):
        list(read_records(tmp_path / "nothing.jsonl"))

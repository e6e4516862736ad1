"""Leaks between splits: each kind is found and named, and after either policy no component spans two sets."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from healthgpt.data.leaks import LeakReport, find_leaks
from healthgpt.data.picture_table import Pictures, link
from healthgpt.data.shards import file_digest
from healthgpt.data.splits import HELD_OUT, image_disjoint, published_without_leaks
from healthgpt.errors import DataError
from healthgpt.imaging.fingerprint import NEAR_DISTANCE, fingerprints
from healthgpt.sources.base import split_of
from healthgpt.sources.vqa_rad import case_groups, read_questions

PACKS = Path(__file__).resolve().parents[2].parent / "shared" / "data"
PRINTS = np.random.default_rng(0).integers(0, 2**64, (40, 4), dtype=np.uint64)
"""Far apart: random bits differ in half of 256."""


def table(*rows: tuple[str, str, str, str, str, np.ndarray]) -> Pictures:
    """Rows of (source, image, split, group, bytes, fingerprint)."""
    sources, images, splits, groups, contents, prints = zip(*rows, strict=True) if rows else ((),) * 6
    return Pictures(sources, images, splits, groups, contents, np.array(prints, np.uint64).reshape(-1, 4))


def changed(print_: np.ndarray, bits: int) -> np.ndarray:
    """The fingerprint with so many of its lowest bits turned."""
    return print_ ^ np.array([(1 << bits) - 1, 0, 0, 0], np.uint64)


LEAKY = table(
    ("a", "1", "test", "p1", "x1", PRINTS[1]),
    ("a", "1", "train", "p1", "x1", PRINTS[1]),
    ("a", "2", "test", "p2", "x2", PRINTS[2]),
    ("b", "3", "train", "p1", "x3", changed(PRINTS[2], NEAR_DISTANCE)),
    ("a", "4", "test", "p4", "x4", PRINTS[4]),
    ("a", "5", "train", "p4", "x5", PRINTS[5]),
    ("a", "6", "test", "p6", "x6", PRINTS[6]),
    ("b", "7", "train", "p6", "x7", changed(PRINTS[6], NEAR_DISTANCE + 1)),
    ("b", "8", "test", "p8", "x8", np.zeros(4, np.uint64)),
    ("a", "9", "train", "p9", "x9", np.zeros(4, np.uint64)),
)
"""Exactly, nearly (across sources), by group; just not near, with a group's name of another source; flat."""


def test_every_kind_of_leak_is_counted_once_and_named():
    report = find_leaks(LEAKY)
    leaks = {source.source: source for source in report.sources}
    assert (leaks["a"].test_images, leaks["a"].exactly, leaks["a"].nearly, leaks["a"].by_group) == (4, 1, 1, 1)
    assert leaks["b"].leaked == 0
    assert [(example.first, example.second, example.how, example.distance) for example in leaks["a"].examples] == [
        ("a/1", "a/1", "exactly", None),
        ("a/2", "b/3", "nearly", NEAR_DISTANCE),
        ("a/4", "a/5", "by group", None),
    ]
    assert [(shared.first, shared.second, shared.exactly, shared.nearly) for shared in report.shared] == [
        ("a", "b", 0, 1)
    ]
    assert (report.images, report.flat_images, report.largest_component) == (9, 2, 2)
    assert report.sentences[0].startswith(
        "a: 3 of 4 test images also occur in training: 1 exactly, 1 nearly, 1 by group"
    )
    assert report.sentences[1:] == (
        "b: none of 1 test images occurs in training, exactly, nearly or by group",
        "a and b share 0 images exactly and 1 nearly",
    )
    assert LeakReport.model_validate_json(report.model_dump_json()) == report


def test_the_published_test_set_stays_and_what_leaks_into_it_is_withheld():
    assert published_without_leaks(LEAKY) == [
        "test", "withheld", "test", "withheld", "test", "withheld", "test", "train", "test", "train",
    ]  # fmt: skip


def test_two_fingerprints_of_one_picture_are_one_picture():
    letterboxed = table(
        ("a", "1", "test", "1", "x1", PRINTS[1]),
        ("a", "1", "test", "1", "x1", PRINTS[2]),
        ("a", "2", "train", "2", "x2", PRINTS[2]),
    )
    report = find_leaks(letterboxed)
    assert (report.sources[0].test_images, report.sources[0].nearly) == (1, 1)


def test_a_picture_tied_to_nothing_has_its_usual_split_and_new_data_do_not_move_it():
    rows = [("a", str(n), "train", f"p{n}", f"x{n}", PRINTS[n]) for n in range(30)]
    alone = image_disjoint(table(*rows), ["a"])
    assert alone == [split_of("a", f"p{n}") for n in range(30)]
    newcomers = [("z", str(n), "train", f"z{n}", f"y{n}", changed(PRINTS[n], 3)) for n in range(30)]
    grown = image_disjoint(table(*rows, *newcomers), ["a", "z"])
    assert grown == alone * 2


def test_a_fresh_split_spares_the_test_sets_of_other_sources():
    train = next(n for n in range(30) if split_of("a", f"p{n}") == "train")
    pictures = table(
        ("a", "1", "test", f"p{train}", "x1", PRINTS[1]),
        ("b", "2", "test", "q", "x1", PRINTS[1]),
    )
    assert image_disjoint(pictures, ["a"]) == ["withheld", "test"]
    assert image_disjoint(pictures, []) == ["test", "test"]


USE = st.tuples(
    st.sampled_from("ab"), st.integers(0, 12), st.sampled_from([*HELD_OUT, "spare"]), st.integers(0, 9),
    st.integers(0, 19), st.integers(0, 14), st.integers(0, 20),
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(USE, max_size=25))
def test_no_component_spans_two_sets_whatever_the_table(uses):
    pictures = table(
        *(
            (source, str(image), split, str(group), str(content), changed(PRINTS[print_], bits))
            for source, image, split, group, content, print_, bits in uses
        )
    )
    links = link(pictures)
    for splits in (published_without_leaks(pictures, links), image_disjoint(pictures, ["a"], links)):
        sets = defaultdict(set)
        for component, split in zip(links.component.tolist(), splits, strict=True):
            sets[component].add(split)
        assert all(len(found & set(HELD_OUT)) <= 1 for found in sets.values())
        columns = pictures.sources, pictures.images, splits, pictures.groups, pictures.sha256, pictures.fingerprints
        assert not sum(source.leaked for source in find_leaks(Pictures(*columns)).sources)
    kept = published_without_leaks(pictures, links)
    assert all(now == "test" for was, now in zip(pictures.splits, kept, strict=True) if was == "test")


def test_columns_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="do not fit together"):
        Pictures(["a"], ["1"], ["test"], ["g"], ["x"], np.zeros((2, 4), np.uint64))


@pytest.fixture(scope="module")
def customary() -> Pictures:
    """VQA-RAD with the split most papers use: by question, so that a picture may have a row in each set."""
    folder = PACKS / "vqa_rad"
    if not folder.is_dir():
        pytest.skip("no real data pack vqa_rad: the folder 'data' of the repository's sibling 'shared' is missing")
    by_image = defaultdict(list)
    for entry in read_questions(folder / "VQA_RAD Dataset Public.json"):
        by_image[entry["image_name"]].append(entry)
    uses = {(image, "test" if entry["phrase_type"].startswith("test") else "train")
            for image, entries in by_image.items() for entry in entries}  # fmt: skip
    frames = json.loads((folder / "data_RAD" / "trainset.json").read_text(encoding="utf-8"))
    uses |= {(entry["image_name"], "train") for entry in frames}
    groups = case_groups(by_image)
    rows = []
    for image, split in sorted(uses):
        path = folder / "VQA_RAD Image Folder" / image
        with PillowImage.open(path) as picture:
            prints = fingerprints(np.asarray(picture.convert("L")))
        rows += [("vqa_rad", image, split, groups[image], file_digest(path), each) for each in prints]
    return table(*rows)


def test_the_customary_split_of_vqa_rad_shares_every_test_image(customary):
    leaks = find_leaks(customary).sources[0]
    assert leaks.test_images > 100
    assert leaks.exactly == leaks.test_images
    assert len(leaks.examples) == 20
    sentence = find_leaks(customary).sentences[0]
    assert f"vqa_rad: all {leaks.test_images} test images also occur in training" in sentence


def test_the_image_disjoint_split_of_vqa_rad_shares_none(customary):
    splits = image_disjoint(customary, ["vqa_rad"])
    columns = customary.sources, customary.images, splits, customary.groups, customary.sha256, customary.fingerprints
    leaks = find_leaks(Pictures(*columns)).sources[0]
    assert leaks.leaked == 0
    assert leaks.test_images > 30
    assert leaks.training_images > 120
    assert find_leaks(customary).sources[0].image_disjoint == {
        split: len({image for image, own in zip(customary.images, splits, strict=True) if own == split})
        for split in sorted(set(splits))
    }

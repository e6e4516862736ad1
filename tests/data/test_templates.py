"""Every task can be asked for in ten ways or more, and a report is found again behind any of them."""

import re
from collections import Counter
from itertools import combinations

import pytest

from healthgpt.data.templates import SAYINGS, phrasing
from healthgpt.errors import TaskError
from healthgpt.record import Provenance, Record
from healthgpt.tasks import GENERATION_TASKS, MODALITIES, PHRASINGS, TASKS

TABLES = {**PHRASINGS, **SAYINGS}


@pytest.mark.parametrize("name", TABLES)
def test_ten_different_phrasings(name: str) -> None:
    table = TABLES[name]
    assert len(table) >= 10
    for one, other in combinations(table, 2):
        said, also = (set(re.findall(r"\w+", text.lower())) for text in (one, other))
        assert said != also
        assert not one.startswith(other)
        assert not other.startswith(one)
    assert all(text == text.strip() and text[0].isupper() and text[-1] in ".?:" for text in table)


def test_generation_tasks_are_all_there_and_begin_with_their_default() -> None:
    assert tuple(PHRASINGS) == GENERATION_TASKS
    for name, table in PHRASINGS.items():
        assert table[: len(TASKS[name].instructions)] == TASKS[name].instructions


def test_phrasings_of_reading_tasks_are_among_the_sayings() -> None:
    sayings = [text for table in SAYINGS.values() for text in table]
    assert len(set(sayings)) == len(sayings)
    assert set(TASKS["x-ray"].instructions) <= set(sayings)


@pytest.mark.parametrize("task", [*GENERATION_TASKS, MODALITIES[0]])
def test_choice_follows_record_and_seed(task: str) -> None:
    picked = Counter(phrasing(task, f"r{number}", 7) for number in range(1_000))
    table = PHRASINGS.get(task, SAYINGS["caption"])
    assert set(picked) == set(table)
    assert min(picked.values()) > 1_000 / len(table) / 2
    assert phrasing(task, "r1", 7) == phrasing(task, "r1", 7)
    assert len({phrasing(task, "r1", seed) for seed in range(50)}) > 5


def test_what_is_to_be_said() -> None:
    assert phrasing("ct", "r1", 0, saying="impression") in SAYINGS["impression"]
    with pytest.raises(TaskError, match="unknown task"):
        phrasing("pet", "r1", 0)


@pytest.mark.parametrize("asked", PHRASINGS["report-to-cxr"])
def test_the_report_is_found_behind_its_instruction(asked: str) -> None:
    report = "Draw: the heart is large. No effusion."
    provenance = Provenance(source="test", licence="none", original_id="1", group="1")
    common = {"id": "1", "task": "report-to-cxr", "target_image": "a.png", "split": "train", "provenance": provenance}
    assert Record(instruction=f"{asked} {report}", **common).words == report
    assert Record(instruction=asked, **common).words == ""

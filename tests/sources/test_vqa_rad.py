"""VQA-RAD: oddities of the release, images held out whole, modality of head images."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from healthgpt.errors import DataError
from healthgpt.record import Sample
from healthgpt.sources import vqa_rad


def entry(image: int, **given_fields: Any) -> dict[str, Any]:
    fields = {
        "qid": 1, "image_name": f"synpic{image}.jpg", "image_organ": "HEAD", "image_case_url": f"case-{image}",
        "question": "Is it normal?", "answer": "No", "answer_type": "CLOSED", "question_type": "ABN",
    }  # fmt: skip
    return fields | given_fields


def write_release(root: Path, entries: list[dict[str, Any]]) -> None:
    folder = root / "vqa_rad"
    (folder / "VQA_RAD Image Folder").mkdir(parents=True)
    (folder / "VQA_RAD Dataset Public.json").write_text(json.dumps(entries))
    for number, name in enumerate(sorted({one["image_name"] for one in entries})):
        pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        PillowImage.fromarray(pixels).save(folder / "VQA_RAD Image Folder" / name)


def test_oddities_of_the_release(tmp_path: Path, lawful: Callable[[list[Sample]], None]) -> None:
    write_release(
        tmp_path,
        [
            entry(16520, qid="0", answer=2, answer_type="OPEN", question_type="COUNT"),
            entry(16520, qid=1, answer="Yes ", answer_type="CLOSED ", question_type="POS, PRES"),
            entry(16520, qid=2, answer="NULL"),
            entry(16520, qid=3, answer="White\tmatter", answer_type="CLOSED", question_type="PRSE"),
            entry(17153, qid=4),
            entry(99999999, qid=5),
        ],
    )
    samples = list(vqa_rad.samples(tmp_path))
    lawful(samples)
    asked = {
        s.record.id.split("/")[-1]: (s.record.task, s.record.kind, s.record.response)
        for s in samples
        if "qid" in s.record.id
    }
    assert asked == {
        "qid-0": ("ct", "count", "2"),
        "qid-1": ("ct", "presence", "yes"),
        "qid-3": ("ct", "finding", "white matter"),
        "qid-4": ("mri", "presence", "no"),
    }
    assert {s.record.provenance.original_id for s in samples if s.record.task == "super-resolution"} == {"synpic17153"}


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=15))
def test_images_that_share_a_case_share_a_group(pairs: list[tuple[int, int]]) -> None:
    by_image: dict[str, list[dict[str, Any]]] = {}
    for image, case in pairs:
        by_image.setdefault(f"synpic{image}.jpg", []).append(entry(image, image_case_url=f"case-{case}"))
    groups = vqa_rad.case_groups(by_image)
    for image, case in pairs:
        for other, other_case in pairs:
            if case == other_case:
                assert groups[f"synpic{image}.jpg"] == groups[f"synpic{other}.jpg"]
    assert all(groups[group] == group for group in groups.values())


def test_other_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "questions.json"
    for text in ("{", "{}", '[{"qid": 1}]'):
        path.write_text(text)
        with pytest.raises(DataError, match=r"questions\.json"):
            vqa_rad.read_questions(path)


def test_real_pack(packs: Path, lawful: Callable[[list[Sample]], None]) -> None:
    samples = list(vqa_rad.samples(packs))
    lawful(samples)
    pictures = {(s.record.provenance.original_id, s.record.task) for s in samples if s.record.kind == "modality"}
    by_task = {task: sum(one == task for _, one in pictures) for task in ("ct", "mri", "x-ray")}
    assert by_task == {"ct": 101, "mri": 76, "x-ray": 87}
    questions = [s.record for s in samples if "qid-" in s.record.id]
    assert len(questions) == 1883
    assert len({r.response for r in questions if r.kind == "presence"}) == 2
    # Where a clinician's own question names the modality, the tables agree with it.
    for record in questions:
        if record.kind == "modality" and record.response in ("ct", "mri", "x-ray"):
            assert record.task == record.response

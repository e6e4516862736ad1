"""LLaVA-Med: the real evaluation questions; alignment and instruct files built from the published description."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from published_rows import read_all
from test_conversation import talk

from healthgpt.sources import llava_med
from healthgpt.sources.entry import Question
from healthgpt.sources.tables import JSON_LINES


def figure(identity: str = "18063892_F3", words: list[dict[str, str]] | None = None, **given: Any) -> dict[str, Any]:
    """A row of the instruct files; ``conversatons`` is their spelling."""
    flags = dict.fromkeys(("chest_xray", "mri", "ct_scan", "histology", "gross"), False) | {"ct_scan": True}
    row: dict[str, Any] = {"id": identity, "image": f"{identity}.jpg", "domain": flags}
    row["conversatons"] = (
        talk("<image>\nWhat is seen?", "A cyst.", "Where is it?", "In it.") if words is None else words
    )
    return row | given


def write(folder: Path, name: str, rows: list[Any], lines: bool = False) -> None:
    path = folder / "data" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)) if lines else json.dumps(rows))


def test_real_evaluation_questions(packs: Path) -> None:
    folder = packs / "nc_llava_med"
    path = folder / "data" / "eval" / "llava_med_eval_qa50_qa.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    entries, damaged, oddities = read_all(llava_med.EVALUATION, folder)
    assert not damaged
    assert len(entries) == len(rows) == 60
    questions = [entry for entry in entries if isinstance(entry, Question)]
    assert [one.original_id for one in questions] == [str(row["question_id"]) for row in rows]
    assert len({one.original_id for one in questions}) == 60
    assert [(one.question, one.answer) for one in questions] == [(row["text"], row["gpt4_answer"]) for row in rows]
    assert all(one.question.endswith("\n<image>") for one in questions)
    assert {one.split for one in questions} == {"test"}
    assert [one.images for one in questions] == [(f"data/images/{row['image']}",) for row in rows]
    assert Counter(one.kind for one in questions) == Counter(row["type"] for row in rows)
    single = {"chest_xray": "x-ray", "mri": "mri", "ct_scan": "ct", "histology": "microscopy"}
    for one, row in zip(questions, rows, strict=True):
        flagged = [name for name, flag in row["domain"].items() if flag]
        assert one.group == row["pair_id"].split("_")[0]
        if len(flagged) == 1:
            assert one.task == single.get(flagged[0], "other")
    assert oddities["several domains"] == sum(sum(row["domain"].values()) > 1 for row in rows)
    assert oddities["in_text_mention is null"] == sum(row["in_text_mention"] is None for row in rows)
    assert set(oddities) <= {"several domains", "in_text_mention is null"}


def test_instruct_files_share_figures_and_repeat_ids(tmp_path: Path) -> None:
    again = figure(words=talk("Is it large?\n<image>", "No."))
    write(tmp_path, "instruct/llava_med_instruct_10k.json", [figure(), again], lines=True)
    write(tmp_path, "instruct/llava_med_instruct_60k_inline_mention.json", [figure()])
    entries, damaged, oddities = read_all(llava_med.INSTRUCT, tmp_path)
    questions = [entry for entry in entries if isinstance(entry, Question)]
    assert not damaged
    assert len({one.original_id for one in questions}) == len(questions) == 5
    assert questions[0].original_id.startswith("instruct_10k/18063892_F3~")
    assert [one.original_id[-2:] for one in questions] == ["#0", "#1", "#0", "#0", "#1"]
    assert [one.question for one in questions[:2]] == ["<image>\nWhat is seen?", "Where is it?"]
    assert {(one.group, one.images, one.task, one.split, one.kind) for one in questions} == {
        ("18063892", ("data/images/18063892_F3.jpg",), "ct", "train", "conversation")
    }
    assert oddities == {"conversations spelt conversatons": 3, JSON_LINES: 1}


def test_alignment_reads_the_right_spelling_too(tmp_path: Path) -> None:
    rows = [figure(f"1_F{number}", talk("Describe it.\n<image>", "A cyst.")) for number in range(2)]
    rows[1]["conversations"] = rows[1].pop("conversatons")
    write(tmp_path, "alignment/llava_med_alignment_500k.json", rows)
    entries, damaged, oddities = read_all(llava_med.ALIGNMENT, tmp_path)
    assert not damaged
    assert [(one.kind, one.question, one.answer) for one in entries if isinstance(one, Question)] == [
        ("caption", "Describe it.\n<image>", "A cyst.")
    ] * 2
    assert oddities == {"conversations spelt conversatons": 1}


def test_domains() -> None:
    oddities: Counter[str] = Counter()
    for flags, task in (
        ({"histology": True, "gross": True}, "microscopy"),
        ({"mri": True, "ct_scan": True}, "other"),
        ({"gross": True}, "other"),
        ({"chest_xray": True, "mri": False}, "x-ray"),
        ({"mri": False}, "other"),
        (None, "other"),
    ):
        assert llava_med.task_of(flags, oddities) == task
    assert oddities == {"several domains": 2, "no domain": 1}


def test_rows_that_cannot_be_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        "instruct/llava_med_instruct_60k.json",
        [
            figure(),
            figure(words=[]),
            figure(words=talk("a", "b", first="gpt")),
            {"id": "1_F1", "image": "1_F1.jpg", "conversatons": None},
            figure(image=None),
            figure("", image=None),
            figure("", image="2_F2.jpg"),
            [],
        ],
    )
    entries, damaged, oddities = read_all(llava_med.INSTRUCT, tmp_path)
    assert [one.group for one in entries] == ["18063892", "18063892", "2", "2"]
    assert [reason.partition(" ")[2] for reason in damaged] == [
        "the conversation is empty", "the conversation begins with gpt", "the conversation is missing", "no image",
        "neither id nor image", "not an object",
    ]  # fmt: skip
    assert oddities["conversations spelt conversatons"] == 7
    good = {"question_id": 1, "image": "1_F1.jpg", "pair_id": "1_F1", "text": "a", "gpt4_answer": "b", "domain": {}}
    bad = [
        {**good, "question_id": 2, "text": None},
        {**good, "gpt4_answer": None},
        {**good, "image": ""},
        {"image": "a"},
    ]
    write(tmp_path, "eval/llava_med_eval_qa50_qa.jsonl", [good, *bad], lines=True)
    entries, damaged, _ = read_all(llava_med.EVALUATION, tmp_path)
    assert len(entries) == 1
    assert [reason.partition(" ")[2] for reason in damaged] == [
        "no text",
        "no gpt4_answer",
        "no image",
        "no question_id",
    ]

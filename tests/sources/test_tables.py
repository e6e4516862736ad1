"""Rows of published tables: every form, what is damaged in each, and reading that begins again at any mark."""

import csv
import gzip
import io
import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthgpt.errors import DataError
from healthgpt.sources import tables
from healthgpt.sources.layout import Form, Table
from healthgpt.sources.tables import (
    JSON_LINES,
    NOT_UTF8,
    PADDED_HEADER,
    Damaged,
    Mark,
    plain_pickle,
    repaired,
    rows_of,
)


def read(path: Path, form: Form, start: Mark | None = None, **given_fields: Any) -> list[tuple[Mark, Any]]:
    return list(rows_of(path, Table(path.name, form, **given_fields), Counter(), start))


def values(path: Path, form: Form, **given_fields: Any) -> list[Any]:
    return [value for _, value in read(path, form, **given_fields)]


def written(path: Path, content: str | bytes) -> Path:
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["rows.json", "rows.json.gz"])
@pytest.mark.parametrize("indent", [None, 0, 4])
def test_array(name: str, indent: int | None, tmp_path: Path) -> None:
    rows = [{"a": 1}, {"a": "x]}\n", "b": [{"c": None}, {}]}, {"ä": "日本"}]
    path = written(tmp_path / name, json.dumps(rows, indent=indent, ensure_ascii=False))
    assert values(path, "json") == rows


def test_json_lines_are_read_and_a_misleading_name_is_counted(tmp_path: Path) -> None:
    lines = '{"a": 1}\n\n{"a": 2}\r\n{"a": 3}'
    for name, counted in (("rows.jsonl", 0), ("rows.json", 1), ("rows.json.gz", 1)):
        notes: Counter[str] = Counter()
        rows = list(rows_of(written(tmp_path / name, lines), Table(name, "json"), notes))
        assert [value["a"] for _, value in rows] == [1, 2, 3]
        assert [mark.line for mark, _ in rows] == [1, 3, 4]
        assert notes[JSON_LINES] == counted


def test_sections(tmp_path: Path) -> None:
    text = '{"train": [{"a": 1},\n {"a": 2}],\n "a \\"b\\"": [], "test" : [{"a": 3}]}'
    rows = read(written(tmp_path / "rows.json", text), "sections")
    assert [(mark.section, mark.line, value["a"]) for mark, value in rows] == [
        ("train", 1, 1),
        ("train", 2, 2),
        ("test", 3, 3),
    ]
    with pytest.raises(DataError, match="not an object of arrays"):
        read(written(tmp_path / "other.json", '{"version": 1, "train": []}'), "sections")


@pytest.mark.parametrize("text", ["", "  \n", "hello", '"text"', "<html>", "\ufeff"])
def test_what_is_no_json_is_refused_with_its_name(text: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.json"):
        read(written(tmp_path / "rows.json", text), "json")


def test_separated_text(tmp_path: Path) -> None:
    quoted = 'id,words\r\n1,"two\nlines, a comma and a ""quote"""\n\n2,plain\n'
    path = written(tmp_path / "rows.csv", quoted)
    rows = read(path, "csv")
    assert [value for _, value in rows] == [
        {"id": "1", "words": 'two\nlines, a comma and a "quote"'},
        {"id": "2", "words": "plain"},
    ]
    assert [mark.line for mark, _ in rows] == [2, 5]
    assert values(written(tmp_path / "rows.tsv", "a\tb\n1\t2,3\n"), "tsv") == [{"a": "1", "b": "2,3"}]


def test_pipes_know_no_quotes_and_take_their_names_from_the_table(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.txt", '\ufeffa|"what|no\nb|is it?|"yes"\n')
    assert values(path, "pipe", header=("image", "question", "answer")) == [
        {"image": "a", "question": '"what', "answer": "no"},
        {"image": "b", "question": "is it?", "answer": '"yes"'},
    ]


def test_byte_order_marks_and_padded_names(tmp_path: Path) -> None:
    notes: Counter[str] = Counter()
    path = written(tmp_path / "rows.csv", "\ufeffname ,caption\nx,y\n")
    assert [value for _, value in rows_of(path, Table("rows.csv", "csv"), notes)] == [{"name": "x", "caption": "y"}]
    assert notes == {PADDED_HEADER: 1}
    assert values(written(tmp_path / "rows.json", '\ufeff[{"a": 1}]'), "json") == [{"a": 1}]
    assert values(written(tmp_path / "rows.jsonl", '\ufeff{"a": 1}\n{"a": 2}'), "json") == [{"a": 1}, {"a": 2}]


def test_other_bytes_are_windows_1252_and_counted(tmp_path: Path) -> None:
    word = "hodgkin’s".encode("cp1252")
    for name, form, content in (
        ("rows.json", "json", b'[{"a": "' + word + b'"}, {"a": "ascii"}]'),
        ("rows.csv", "csv", b"a\n" + word + b"\nascii\n"),
    ):
        notes: Counter[str] = Counter()
        path = written(tmp_path / name, content)
        rows = [value for _, value in rows_of(path, Table(name, form), notes)]  # type: ignore[arg-type]
        assert rows == [{"a": "hodgkin’s"}, {"a": "ascii"}]
        assert notes[NOT_UTF8] == 1
    # 0x81 is nothing in Windows-1252.
    assert repaired("a\udc81", Counter()) == "a\ufffd"


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_cut_gzip_gives_its_rows_and_says_that_it_is_cut(kept: float, tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 10**9, 20_000).tolist()
    for name, form, text in (
        ("rows.json.gz", "json", json.dumps([{"a": str(number)} for number in numbers])),
        ("rows.csv.gz", "csv", "a,b\n" + "".join(f"{number},\n" for number in numbers)),
    ):
        whole = gzip.compress(text.encode())
        path = tmp_path / name
        path.write_bytes(whole[: int(len(whole) * kept)])
        *rows, (_, last) = read(path, form)  # type: ignore[arg-type]
        assert isinstance(last, Damaged)
        assert "cut short" in last.reason
        good = [int(value["a"]) for _, value in rows if not isinstance(value, Damaged)]
        assert good == numbers[: len(good)]
        assert len(good) > len(numbers) * (kept - 0.1)
        assert len(rows) - len(good) <= 1


def test_cut_json(tmp_path: Path) -> None:
    text = json.dumps([{"a": "one"}, {"a": "two", "b": [1, 2]}])
    for end in range(text.index("two") - 6, len(text) - 2):
        *rows, (mark, last) = read(written(tmp_path / "rows.json", text[:end]), "json")
        assert [value for _, value in rows] == [{"a": "one"}]
        assert isinstance(last, Damaged)
        assert last.reason == "the file ends inside this row"
        assert mark.offset == text.index('{"a": "two')


def test_damaged_rows_in_the_middle(tmp_path: Path) -> None:
    rows = ['{"n": 1, "c": [{"x": 1}]}', '{"n": 2, "c": oops}', '{"n": 3}', '{"n": 4 "c": 5}', '{"n": 5}']
    for name, text in (("rows.json", f"[{', '.join(rows)}]"), ("rows.jsonl", "\n".join(rows))):
        found = values(written(tmp_path / name, text), "json")
        assert [value["n"] if isinstance(value, dict) else None for value in found] == [1, None, 3, None, 5]
        assert {value.reason.split(":")[0] for value in found if isinstance(value, Damaged)} == {"not JSON"}


def test_deep_nesting_is_a_damaged_row(tmp_path: Path) -> None:
    text = '[{"n": 1}, {"n": ' + "[" * 200_000 + "]" * 200_000 + '}, {"n": 3}]'
    first, second, third = values(written(tmp_path / "rows.json", text), "json")
    assert (first, third) == ({"n": 1}, {"n": 3})
    assert isinstance(second, Damaged)


def test_rows_with_too_few_or_too_many_cells(tmp_path: Path) -> None:
    found = values(written(tmp_path / "rows.csv", "a,b\n1,2\n3\n4,5,6\n7,8\n"), "csv")
    assert [type(value) for value in found] == [dict, Damaged, Damaged, dict]
    assert found[1].reason == "1 cells where the table has 2 columns"


def test_a_quote_that_never_closes_costs_its_own_row_only(tmp_path: Path) -> None:
    lines = [f"{number},words {number}\n" for number in range(100)]
    lines[10] = '10,"words 10\n'
    found = read(written(tmp_path / "rows.csv", "a,b\n" + "".join(lines)), "csv")
    assert [(mark.line, value["a"]) for mark, value in found if isinstance(value, dict)] == [
        (number + 2, str(number)) for number in range(100) if number != 10
    ]
    assert sum(isinstance(value, Damaged) for _, value in found) == 1


def test_a_row_without_an_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LONGEST_ROW", 4096)
    monkeypatch.setattr(tables, "PIECE", 512)
    endless = '{"n": "' + "x" * 10_000
    found = values(written(tmp_path / "rows.jsonl", f'{{"n": 1}}\n{endless}\n'), "json")
    assert found[0] == {"n": 1}
    assert all(isinstance(value, Damaged) for value in found[1:])
    long = "y" * 10_000
    found = values(written(tmp_path / "rows.csv", f'a,b\n1,2\n3,"{long}"\n5,6\n'), "csv")
    assert [value["a"] for value in found if isinstance(value, dict)] == ["1", "5"]
    csv.field_size_limit(tables.LONGEST_ROW)


class _Runs:
    def __init__(self, where: Path) -> None:
        self.where = where

    def __reduce__(self) -> Any:
        return (Path.mkdir, (self.where,))


def test_pickles_run_nothing(tmp_path: Path) -> None:
    rows = [{"image": "train_0001", "question": "Ist es größer?", "answer": "yes"}, {"numbers": (1, 2.5, None, {3})}]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        # Protocols below 4 have no code for a set and name the class instead.
        kept = rows if protocol >= 4 else rows[:1]
        path = written(tmp_path / "rows.pkl", pickle.dumps(kept, protocol=protocol))
        assert read(path, "pickle") == [(Mark(number, number + 1), row) for number, row in enumerate(kept)]
    made = tmp_path / "made"
    for content in (pickle.dumps([_Runs(made)]), f"cos\nmkdir\n(V{made}\ntR.".encode(), b"not a pickle", b""):
        with pytest.raises(DataError, match="not a pickled list of plain values"):
            plain_pickle(written(tmp_path / "bad.pkl", content))
        assert not made.exists()
    with pytest.raises(DataError, match="not a list"):
        plain_pickle(written(tmp_path / "dict.pkl", pickle.dumps({"a": 1})))


def test_a_pickle_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LARGEST_PICKLE", 10)
    with pytest.raises(DataError, match="too large"):
        plain_pickle(written(tmp_path / "rows.pkl", pickle.dumps(["x" * 100])))


def test_archives_give_a_row_an_image_without_reading_pixels(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez_compressed(
        path, train_images=np.zeros((2, 4, 4), np.uint8), test_images=np.zeros((1, 4, 4, 3), np.uint8),
        train_labels=np.zeros((2, 1), np.uint8), val_images=np.zeros((0, 4, 4), np.uint8),
    )  # fmt: skip
    assert values(path, "npz") == [("test_images", 0), ("train_images", 0), ("train_images", 1)]
    assert [value for _, value in read(path, "npz", start=Mark(1, 2))] == [("train_images", 0), ("train_images", 1)]
    single = io.BytesIO()
    np.savez(single, one_images=np.uint8(3))
    for content in (b"no archive", path.read_bytes()[:200], single.getvalue()):
        with pytest.raises(DataError, match=r"bad\.npz"):
            read(written(tmp_path / "bad.npz", content), "npz")


def test_files_have_no_rows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="files"):
        read(tmp_path, "files")


WORDS = st.text(st.characters(codec="utf-8"), max_size=12)
ROWS = st.lists(st.dictionaries(WORDS, st.one_of(WORDS, st.integers(), st.none(), st.lists(WORDS)), max_size=4))


def check_marks(path: Path, form: Form, **given_fields: Any) -> list[tuple[Mark, Any]]:
    """From any row's mark the rest of the rows follow, with the same marks; the line is where the row begins."""
    rows = read(path, form, **given_fields)
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for number, (mark, _) in enumerate(rows):
        assert read(path, form, mark, **given_fields) == rows[number:]
        assert mark.line == 1 + content[: mark.offset].count(b"\n")
    return rows


@settings(deadline=None, max_examples=60)
@given(
    ROWS,
    st.sampled_from([None, 0, 2]),
    st.booleans(),
    st.sampled_from(["rows.json", "rows.json.gz"]),
    st.integers(1, 40),
)
def test_reading_of_json_begins_again_at_any_row(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, Any]],
    indent: int | None,
    ascii_only: bool,
    name: str,
    piece: int,
) -> None:
    folder = tmp_path_factory.mktemp("json")
    with pytest.MonkeyPatch.context() as patch:
        # Small pieces put every kind of break inside rows, words and characters.
        patch.setattr(tables, "PIECE", piece)
        array = written(folder / name, json.dumps(rows, indent=indent, ensure_ascii=ascii_only))
        assert [value for _, value in check_marks(array, "json")] == rows
        if rows:
            text = "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in rows)
            assert [value for _, value in check_marks(written(folder / name, text), "json")] == rows
        parts = {"train": rows[::2], "test": rows[1::2]}
        patch.setattr(tables, "PIECE", max(piece, 12))
        found = check_marks(written(folder / name, json.dumps(parts, indent=indent)), "sections")
        assert [(mark.section, value) for mark, value in found] == [
            (part, value) for part, inside in parts.items() for value in inside
        ]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=8)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS).filter(any), max_size=12),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["rows.csv", "rows.csv.gz"]),
)
def test_reading_of_text_begins_again_at_any_row(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], ending: str, name: str
) -> None:
    folder = tmp_path_factory.mktemp("text")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b", "c"), *rows])
    found = check_marks(written(folder / name, text.getvalue()), "csv")
    assert [tuple(value.values()) for _, value in found] == rows
    plain = [tuple("".join(one for one in cell if one not in "|\n") or "-" for cell in row) for row in rows]
    pipes = written(folder / name.replace("csv", "txt"), "".join("|".join(row) + ending for row in plain))
    found = check_marks(pipes, "pipe", header=("a", "b", "c"))
    assert [tuple(value.values()) for _, value in found] == plain


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["json", "sections", "csv", "tsv", "pipe", "pickle", "npz"]))
def test_any_bytes_are_rows_or_one_clear_refusal(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, form: Form
) -> None:
    path = written(tmp_path_factory.mktemp("any") / "rows.bin", content)
    refusal = "rows.bin"
    try:
        read(path, form, header=("a", "b") if form == "pipe" else ())
    except DataError as fault:
        refusal = fault.line()
    assert "rows.bin" in refusal

"""A plain folder of your own: images, and one or more CSV, TSV or JSON-lines files that say what is asked or drawn.

Three layouts, told apart by their columns; case, and blanks, dots and hyphens in names do not matter:

- questions: image, question, answer, and where there are any: options ("A|B|C", a list, or option_a to option_d);
- reports: image, and report, or findings and impression, or caption;
- pairs: input_image, target_image, task (ct-to-mri, mri-to-ct, super-resolution, reconstruct).

Each may also have modality, split, patient (or group), kind and id. ``SYNONYMS`` holds the names that are understood
for each column; of two the earlier in its list counts. Images are named relative to the folder. A report without a
modality column is taken for one of a chest X-ray; a caption is not. Rows without id are named by file and line.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from healthgpt.errors import DataError
from healthgpt.record import Split
from healthgpt.sources.base import Source
from healthgpt.sources.conversation import image_names
from healthgpt.sources.entry import BadRowError, Entry, Pair, Question, Report
from healthgpt.sources.layout import Published, Row, Table
from healthgpt.sources.modality import generation_task, task_of_modality
from healthgpt.sources.tables import Damaged, rows_of
from healthgpt.tasks import GENERATION_TASKS

SYNONYMS: dict[str, tuple[str, ...]] = {
    "image": ("image", "images", "image_path", "image_file", "image_name", "img", "img_path", "filename", "file_name",
              "file", "path", "picture"),
    "question": ("question", "query", "prompt", "instruction"),
    "answer": ("answer", "gt_answer", "response", "reference_answer"),
    "options": ("options", "choices"),
    "option_a": ("option_a", "optiona", "choice_a"),
    "option_b": ("option_b", "optionb", "choice_b"),
    "option_c": ("option_c", "optionc", "choice_c"),
    "option_d": ("option_d", "optiond", "choice_d"),
    "report": ("report", "report_text", "text"),
    "findings": ("findings", "finding"),
    "impression": ("impression", "impressions", "conclusion"),
    "caption": ("caption", "captions", "description"),
    "input_image": ("input_image", "input", "source_image", "image_in", "image"),
    "target_image": ("target_image", "target", "output_image", "image_out"),
    "task": ("task", "task_type"),
    "modality": ("modality", "modality_type", "image_type", "imaging_modality"),
    "split": ("split", "subset", "partition", "fold"),
    "group": ("patient", "patient_id", "patientid", "subject", "subject_id", "case", "case_id", "study", "study_id",
              "group", "group_id"),
    "kind": ("kind", "question_type", "type", "category", "content_type"),
    "id": ("id", "qid", "question_id", "uid", "index", "idx"),
}  # fmt: skip
"""Column by the names it may have; a patient comes before a case, and a case before a study."""

LAYOUTS = (
    "image, question, answer [, options]",
    "image, report | findings, impression | caption",
    "input_image, target_image, task",
)
SPLITS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip

Columns = Mapping[str, str]
"""Column of this module to the name it has in the file."""
Cell = Callable[[str], Any]
"""Value of a column of this module, None where the file lacks it or it is blank."""


@lru_cache(maxsize=256)
def columns_of(names: tuple[str, ...]) -> Columns:
    """Which column is which."""
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault("_".join(name.replace("-", " ").replace(".", " ").replace("_", " ").lower().split()), name)
    return {
        column: next(plain[one] for one in synonyms if one in plain)
        for column, synonyms in SYNONYMS.items()
        if any(one in plain for one in synonyms)
    }


def layout_of(columns: Columns) -> str | None:
    """``pairs``, ``questions`` or ``reports``; None where the columns fit none of the three."""
    if {"image", "question", "answer"} <= set(columns):
        return "questions"
    if {"input_image", "target_image", "task"} <= set(columns):
        return "pairs"
    if "image" in columns and {"report", "findings", "impression", "caption"} & set(columns):
        return "reports"
    return None


def check_layouts(folder: Path) -> None:
    """Refuses a file whose columns fit no layout, before any row is read; says which were found."""
    for table in TABLES:
        for path in sorted(folder.glob(table.pattern)):
            rows = (value for _, value in rows_of(path, table, Counter()))
            first = next((value for value in rows if not isinstance(value, Damaged)), None)
            if first is None:
                continue
            names = tuple(map(str, first)) if isinstance(first, dict) else ()
            if layout_of(columns_of(names)) is None:
                semicolons = len(names) == 1 and ";" in names[0]
                raise DataError(
                    f"{path.name} has no layout that is known",
                    found=f"columns {', '.join(names)}" if names else "rows without column names",
                    allowed="; or ".join(LAYOUTS),
                    next_step="save it with commas between the columns" if semicolons else "rename its columns",
                )


def published_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """The one entry of a row."""
    value = row.value
    if not isinstance(value, dict):
        raise BadRowError("not an object")
    columns = columns_of(tuple(value))
    layout = layout_of(columns)
    if layout is None:
        raise BadRowError("its columns fit no layout")

    def cell(column: str) -> Any:
        found = value[columns[column]] if column in columns else None
        return None if isinstance(found, str) and not found.strip() else found

    given_id, group = cell("id"), cell("group")
    identity = f"{row.file}:{row.line}" if given_id is None else f"{row.file}:{given_id}"
    named: dict[str, Any] = {
        "original_id": identity,
        "split": _split(cell),
        "group": "" if group is None else str(group),
    }
    if layout == "pairs":
        yield Pair(
            task=_generation_task(cell), image=_only(cell, "input_image"), target=_only(cell, "target_image"), **named
        )
    elif layout == "questions":
        yield _question(cell, oddities, named)
    else:
        yield _report(cell, oddities, named)


def _question(cell: Cell, oddities: Counter[str], named: dict[str, Any]) -> Question:
    question, answer, options = cell("question"), cell("answer"), _options(cell)
    if question is None or answer is None:
        raise BadRowError("no question" if question is None else "no answer")
    if isinstance(answer, str) and answer not in options.values():
        letter = answer.strip(" .()").lower()
        if letter in options:
            oddities["answer given as a letter"] += 1
            answer = options[letter]
    return Question(
        images=_images(cell), question=question, answer=answer, options=tuple(options.values()),
        task=_reading_task(cell, oddities) or "other", kind=str(cell("kind") or ""), **named,
    )  # fmt: skip


def _report(cell: Cell, oddities: Counter[str], named: dict[str, Any]) -> Entry:
    images, task = _images(cell), _reading_task(cell, oddities)
    parts = {name: str(cell(name) or "") for name in ("report", "findings", "impression")}
    if not any(parts.values()):
        if cell("caption") is None:
            raise BadRowError("no report")
        return Question(
            images=images, question="", answer=cell("caption"), task=task or "other", kind="caption", **named
        )
    if task in ("x-ray", None):
        return Report(
            images=images, text=parts["report"], findings=parts["findings"], impression=parts["impression"], **named
        )
    words = parts["report"] or " ".join(filter(None, (parts["findings"], parts["impression"])))
    return Question(images=images, question="", answer=words, task=task, kind="report", **named)


def _images(cell: Cell) -> tuple[str, ...]:
    images = image_names(cell("image"))
    if not images:
        raise BadRowError("no image")
    return images


def _only(cell: Cell, column: str) -> str:
    name = cell(column)
    if not isinstance(name, str):
        raise BadRowError(f"no {column}")
    return name


def _options(cell: Cell) -> dict[str, Any]:
    """Options by letter; one that is blank leaves its letter unused."""
    options = cell("options")
    if options is None:
        lettered = {letter: cell(f"option_{letter}") for letter in "abcd"}
        return {letter: option for letter, option in lettered.items() if option is not None}
    if isinstance(options, str):
        options = [part.strip() for part in options.split("|")]
    if not isinstance(options, list):
        raise BadRowError("options are neither a list nor parted by '|'")
    return dict(zip(ascii_lowercase, options, strict=False))


def _split(cell: Cell) -> Split | None:
    split = cell("split")
    if split is None:
        return None
    if str(split).strip().lower() not in SPLITS:
        raise BadRowError("unknown split")
    return SPLITS[str(split).strip().lower()]


def _reading_task(cell: Cell, oddities: Counter[str]) -> str | None:
    """None where no modality is given; ``other`` for one that is not known."""
    modality = cell("modality")
    if modality is None:
        return None
    task = task_of_modality(str(modality))
    if task is None:
        oddities["modality outside the seven"] += 1
    return task or "other"


def _generation_task(cell: Cell) -> str:
    given = str(cell("task") or "").strip()
    task = given if given in GENERATION_TASKS else generation_task(given)
    if task == "report-to-cxr":
        raise BadRowError("report-to-cxr needs image and report, not a pair")
    if task is None:
        raise BadRowError("unknown task" if given else "no task")
    return task


TABLES = (Table("*.csv", "csv"), Table("*.tsv", "tsv"), Table("*.jsonl", "json"))

SOURCE = Source(
    name="folder",
    title="a plain folder of your own with CSV or JSON-lines files",
    licence="your own",
    obtain="your own disk",
    folder="folder",
    published_images=0,
    published_questions=0,
    published=Published(
        tables=TABLES,
        entries=published_entries,
        expected=(
            ("*.csv", 0, "a table with a header line"),
            ("*.tsv", 0, "the same"),
            ("*.jsonl", 0, "one object a line"),
        ),
        splits="the column split; without it divided by patient, else by image",
        yields="questions, reports and captions, pairs",
        prepare=check_layouts,
        access="yours",
        notes=LAYOUTS,
    ),
)

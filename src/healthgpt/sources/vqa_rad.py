"""VQA-RAD: clinicians' questions about head, chest and abdomen images, read from the OSF release.

Questions, answers and words are the data set's own; answers are lower-cased, integers become text, "NULL"
means absent. The published split repeats every test image in training; for nano images are held out whole:
pictures that share a case share a group. ``question_frame`` is left out there: it is a template filled by machine
("Are there >12 of ribs?"); the customary 3,064 training questions contain it, so ``published_entries`` yields it.

The release does not tell CT from MRI for head images. The two tables below do: from the questions where they
say it, by looking at the picture elsewhere. A head image in neither table is skipped. The chest images of the
pack are all X-rays and the abdominal ones all CT.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from healthgpt.errors import DataError
from healthgpt.record import Sample, Split
from healthgpt.sources.base import Source, required_file, split_of
from healthgpt.sources.entry import Entry, Question
from healthgpt.sources.fields import fields_of, text_of
from healthgpt.sources.layout import Published, Row, Table
from healthgpt.sources.picture import Picture, load_pixels
from healthgpt.sources.tables import rows_of

HEAD_CT = frozenset((
    16520, 23631, 34922, 39757, 42951, 45914, 46062, 46943, 48714, 53867, 54795, 58261,
))  # fmt: skip
HEAD_MRI = frozenset((
    9872, 17153, 20375, 26925, 27013, 27142, 31116, 34017, 34836, 34854, 34947, 35191, 37605, 38069, 38263, 39240,
    39301, 40500, 41325, 41788, 42307, 44995, 45544, 45634, 45699, 46720, 46764, 47020, 47356, 47737, 47964, 48091,
    48749, 49027, 49381, 49862, 50848, 50962, 51212, 51282, 51383, 51426, 51709, 52248, 52732, 53033, 53097, 53287,
    53574, 53816, 53978, 54004, 54391, 54610, 54802, 55245, 55286, 55583, 55948, 56061, 56116, 56344, 56388, 56422,
    56799, 57237, 57368, 57813, 58902, 59131, 59356, 59536, 60254, 60543, 60703, 60831,
))  # fmt: skip
"""Numbers of the image names: 9872 is synpic9872.jpg."""

REGIONS = {"HEAD": "head", "CHEST": "chest", "ABD": "abdomen"}
KINDS = {
    "PRES": "finding",
    "PRSE": "finding",
    "MODALITY": "modality",
    "ORGAN": "region",
    "POS": "position",
    "SIZE": "size",
    "COUNT": "count",
    "ABN": "abnormality",
    "PLANE": "plane",
    "ATTRIB": "attribute",
    "ATRIB": "attribute",
    "COLOR": "colour",
    "OTHER": "other",
}
"""Kind by the first tag of ``question_type``, whose misspellings are the release's."""


def samples(root: Path) -> Iterator[Sample]:
    """All images whose modality is known, with the clinicians' questions."""
    folder = SOURCE.folder_in(root)
    by_image = defaultdict(list)
    for entry in read_questions(folder / "VQA_RAD Dataset Public.json"):
        by_image[entry["image_name"]].append(entry)
    groups = case_groups(by_image)
    for image_name, entries in sorted(by_image.items()):
        organ = entries[0]["image_organ"]
        modality = modality_of(image_name, organ)
        if modality is None:
            continue
        path = required_file(folder / "VQA_RAD Image Folder" / image_name, SOURCE.name)
        group = groups[image_name]
        picture = Picture(
            SOURCE.name, SOURCE.licence, Path(image_name).stem, group, split_of(SOURCE.name, group),
            modality, REGIONS[organ], load_pixels(path),
        )  # fmt: skip
        yield from picture.about()
        for entry in entries:
            question, answer = " ".join(entry["question"].split()), answer_text(entry["answer"])
            if question and answer and entry["question"] != "NULL":
                yield picture.answered(kind_of(entry, answer), f"qid-{entry['qid']}", question, answer)
        yield picture.reconstructed()
        if modality == "mri":
            yield picture.sharpened()


def read_questions(path: Path) -> list[dict[str, Any]]:
    """The release's list of questions; ``DataError`` when the file is not it."""
    try:
        entries = json.loads(required_file(path, SOURCE.name).read_text(encoding="utf-8"))
    except json.JSONDecodeError as fault:
        raise DataError(f"{path} is not JSON", found=str(fault)) from fault
    needed = {"qid", "image_name", "image_organ", "image_case_url", "question", "answer", "answer_type"}
    if not isinstance(entries, list) or any(needed - set(entry) for entry in entries):
        raise DataError(f"{path} is not the VQA-RAD release", allowed=f"a list with {', '.join(sorted(needed))}")
    return entries


def answer_text(answer: Any) -> str:
    """An answer as short lower-case text; empty where the release says "NULL"."""
    text = " ".join(str(answer).split()).lower()
    return "" if text == "null" else text


def kind_of(entry: dict[str, Any], answer: str) -> str:
    """Closed yes/no questions are ``presence``; others go by the release's first tag."""
    if entry["answer_type"].strip().upper() == "CLOSED" and answer in ("yes", "no"):
        return "presence"
    return KINDS.get(str(entry.get("question_type", "")).split(",")[0].strip().upper(), "other")


def modality_of(image_name: str, organ: str) -> str | None:
    """Task of an image; None where the release does not tell and the tables do not know the image."""
    if organ == "HEAD":
        digits = Path(image_name).stem.removeprefix("synpic")
        number = int(digits) if digits.isdigit() else -1
        return "ct" if number in HEAD_CT else "mri" if number in HEAD_MRI else None
    return {"CHEST": "x-ray", "ABD": "ct"}.get(organ)


def case_groups(by_image: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    """Group of each image: the first image it shares a case with, directly or through others."""
    groups = {image: image for image in by_image}
    of_case = defaultdict(set)
    for image, entries in by_image.items():
        for entry in entries:
            of_case[entry["image_case_url"]].add(image)
    settled = False
    while not settled:
        settled = True
        for images in of_case.values():
            first = min(groups[image] for image in images)
            for image in images:
                settled &= groups[image] == first
                groups[image] = first
    return groups


RELEASE = "VQA_RAD Dataset Public.json"
IMAGES = "VQA_RAD Image Folder"


TABLE = Table(
    RELEASE,
    "json",
    columns=("qid", "image_name", "image_organ", "image_case_url", "question", "answer", "answer_type"),
    rows=2_248,
)


def release_groups(folder: Path) -> dict[str, str]:
    """Group of each image of the release; a row that cannot be read groups nothing and is refused when it is met."""
    by_image = defaultdict(list)
    for _, entry in rows_of(required_file(folder / RELEASE, SOURCE.name), TABLE, Counter()):
        if isinstance(entry, dict) and isinstance(entry.get("image_name"), str) and entry.get("image_case_url"):
            by_image[entry["image_name"]].append(entry)
    return case_groups(by_image)


def published_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """A record's question and, as the customary split has it, the question made from its ``question_frame``.

    The frames belong to training even where their record is for testing: that is how 1,206 + 591 records become
    3,064 training questions.
    """
    image, organ, answer_type = (text_of(row.value, name) for name in ("image_name", "image_organ", "answer_type"))
    number, asked, answer = fields_of(row.value, "qid", "question", "answer")
    tag = str(row.value.get("question_type", "")).split(",")[0].strip().upper()
    if answer_type != answer_type.strip():
        oddities["answer_type padded with blanks"] += 1
    if isinstance(answer, int):
        oddities["integer answer"] += 1
    if isinstance(number, str):
        oddities["qid that is text"] += 1
    if "question_rephrase" not in row.value:
        oddities["no question_rephrase"] += 1
    if tag in ("PRSE", "ATRIB"):
        oddities["misspelt question_type"] += 1
    task = modality_of(image, organ.strip().upper()) or "other"
    test = str(row.value.get("phrase_type", "")).startswith("test_")
    parts: tuple[tuple[str, Any, Split], ...] = (
        ("question", asked, "test" if test else "train"),
        ("question_frame", row.value.get("question_frame", "NULL"), "train"),
    )
    for field, question, split in parts:
        if question in ("NULL", "", None):
            oddities[f"NULL {field}"] += 1
            continue
        yield Question(
            original_id=f"qid-{number}" + ("/frame" if field == "question_frame" else ""),
            images=(f"{IMAGES}/{image}",), question=question, answer=answer, task=task, kind=KINDS.get(tag, "other"),
            split=split, group=row.context.get(image, image),
        )  # fmt: skip


PUBLISHED = Published(
    tables=(TABLE,),
    entries=published_entries,
    expected=(
        (RELEASE, 1_650_000, "2,248 questions"),
        (f"{IMAGES}/*.jpg", 0, "315 images"),
    ),
    splits="3,064 training and 451 test questions (by phrase_type); all 203 test images also occur in training",
    yields="open and yes/no questions about head, chest and abdomen images",
    prepare=release_groups,
    citation="Lau et al., Scientific Data 5, 180251 (2018)",
    notes=("the OSF page gives the whole release as one archive", "synpic35356.jpg has no question"),
)

SOURCE = Source(
    name="vqa_rad",
    title="VQA-RAD: radiology visual question answering",
    licence="CC0 1.0",
    obtain="https://osf.io/89kps",
    folder="vqa_rad",
    published_images=315,
    published_questions=2_248,
    published=PUBLISHED,
    samples=samples,
)

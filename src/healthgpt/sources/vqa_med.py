"""ImageCLEF VQA-Med 2019: the test questions with reference answers, as text.

Lines are ``image|category|question|answer``; of several answers, parted by ``#``, the first is taken. Images
that are also in VQA-RAD are skipped: their answers may belong to its held-out images.
"""

from collections.abc import Iterator
from pathlib import Path

from healthgpt.errors import DataError
from healthgpt.sources.base import Source, required_file

ALSO_IN_VQA_RAD = frozenset(("synpic39301", "synpic47964"))


def text_pairs(root: Path) -> Iterator[tuple[str, str]]:
    """(question, lower-case answer)."""
    folder = SOURCE.folder_in(root) / "VQAMed2019Test"
    path = required_file(folder / "VQAMed2019_Test_Questions_w_Ref_Answers.txt", SOURCE.name)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        parts = line.split("|")
        if len(parts) != 4:
            raise DataError(f"{path} line {number}", found=f"{len(parts)} fields", allowed="4, parted by '|'")
        image, _, question, answer = (part.strip() for part in parts)
        answer = answer.split("#")[0].strip().lower()
        if question and answer and image not in ALSO_IN_VQA_RAD:
            yield question, answer


SOURCE = Source(
    name="vqa_med_2019",
    title="ImageCLEF VQA-Med 2019, test questions with reference answers",
    licence="CC BY 4.0",
    obtain="https://github.com/abachaa/VQA-Med-2019",
    folder="vqa_med_2019",
    published_images=500,
    published_questions=500,
    text_pairs=text_pairs,
)

"""LLaVA-Med: figure captions (alignment), GPT-4 conversations (instruct) and the evaluation questions.

Layout as in the authors' repository (microsoft/LLaVA-Med, README "Data Download" and ``download_data.sh``): JSON
below ``data/alignment``, ``data/instruct`` and ``data/eval``, images ``data/images/<pair_id>.jpg``, which the
authors' ``llava/data/download_images.py`` collects from PubMed Central. Rows are {id, image, domain, conversatons};
that key is misspelt in the released files and both spellings are read. Ids are figures, ``PMID_figure``: a figure
may occur in several instruct files and more than once in one, so a fingerprint of the conversation tells rows apart.
All figures of one article share a group. Evaluation rows have the question in ``text``, GPT-4's answer in
``gpt4_answer``. Sizes and SHA-256 are those of the repository's Git LFS pointers, which match the README's table.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from healthgpt.sources.base import Source
from healthgpt.sources.conversation import exchanges, image_names, told_apart
from healthgpt.sources.entry import BadRowError, Entry, Question
from healthgpt.sources.layout import Download, Published, Row, Table

LICENCE = "CC BY-NC 4.0 (research only)"
OBTAIN = "https://github.com/microsoft/LLaVA-Med"
CITATION = "Li et al., LLaVA-Med, NeurIPS 2023 Datasets and Benchmarks"
FILES = "https://hanoverprod.z21.web.core.windows.net/med_llava"
IMAGES = "data/images"
FOLDER = "llava_med"
"""One folder for the three, as the authors lay it out, so that the images are there once."""

DOMAINS = {"chest_xray": "x-ray", "ct_scan": "ct", "mri": "mri", "histology": "microscopy"}
"""``gross`` is left out: photographs of specimens are read as ``other``."""


def task_of(domain: Any, oddities: Counter[str]) -> str:
    """Reading task by the ``domain`` flags; ``other`` for a figure of several modalities or of none."""
    if not isinstance(domain, dict):
        oddities["no domain"] += 1
        return "other"
    flagged = [name for name, flag in domain.items() if flag]
    if len(flagged) > 1:
        oddities["several domains"] += 1
    tasks = {DOMAINS[name] for name in flagged if name in DOMAINS}
    return tasks.pop() if len(tasks) == 1 else "other"


def article_of(figure: str) -> str:
    """PubMed id of a figure named ``18063892_F3``."""
    return figure.partition("_")[0]


def figure_of(row: dict[str, Any], key: str) -> str:
    """The row's figure by its id, or by its image's name where the id is missing."""
    figure = row.get(key)
    if not isinstance(figure, str) or not figure:
        image = row.get("image")
        figure = image.rpartition(".")[0] if isinstance(image, str) else ""
    if not figure:
        raise BadRowError(f"neither {key} nor image")
    return figure


def images_of(row: dict[str, Any]) -> tuple[str, ...]:
    """Image files of a row, below the data set's folder."""
    images = tuple(f"{IMAGES}/{name}" for name in image_names(row.get("image")))
    if not images:
        raise BadRowError("no image")
    return images


def talk_of(row: dict[str, Any], oddities: Counter[str]) -> list[tuple[str, str]]:
    """The conversation, under either spelling of its key."""
    if "conversatons" in row:
        oddities["conversations spelt conversatons"] += 1
        return exchanges(row["conversatons"])
    return exchanges(row.get("conversations"))


def conversation_entries(row: Row, oddities: Counter[str], kind: str) -> Iterator[Entry]:
    """A question for every exchange; its id is ``file/figure~fingerprint#exchange``."""
    value = row.value
    if not isinstance(value, dict):
        raise BadRowError("not an object")
    talk = talk_of(value, oddities)
    figure, images, task = figure_of(value, "id"), images_of(value), task_of(value.get("domain"), oddities)
    file = row.file.rpartition("/")[2].removesuffix(".json").removeprefix("llava_med_")
    identity = told_apart(f"{file}/{figure}", talk)
    for number, (question, answer) in enumerate(talk):
        yield Question(
            original_id=f"{identity}#{number}", images=images, question=question, answer=answer, task=task, kind=kind,
            split=row.split, group=article_of(figure),
        )  # fmt: skip


def alignment_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """A request to describe the figure, and its caption."""
    return conversation_entries(row, oddities, "caption")


def instruct_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """Every exchange about the figure."""
    return conversation_entries(row, oddities, "conversation")


def evaluation_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """One question with GPT-4's answer from caption and text, which the authors take for the truth."""
    value = row.value
    if not isinstance(value, dict):
        raise BadRowError("not an object")
    if "question_id" not in value:
        raise BadRowError("no question_id")
    if value.get("text") is None or value.get("gpt4_answer") is None:
        raise BadRowError("no text" if value.get("text") is None else "no gpt4_answer")
    if value.get("in_text_mention") is None:
        oddities["in_text_mention is null"] += 1
    yield Question(
        original_id=str(value["question_id"]), images=images_of(value), question=value["text"],
        answer=value["gpt4_answer"], task=task_of(value.get("domain"), oddities), kind=str(value.get("type", "")),
        split=row.split, group=article_of(figure_of(value, "pair_id")),
    )  # fmt: skip


IMAGE_NOTE = (
    "images: get data/llava_med_image_urls.jsonl and run the authors' llava/data/download_images.py, "
    "which names them data/images/<pair_id>.jpg"
)

ALIGNMENT = Source(
    name="llava_med_alignment",
    title="LLaVA-Med alignment: figures of PubMed Central with their captions",
    licence=LICENCE,
    obtain=OBTAIN,
    folder=FOLDER,
    published_images=0,
    published_questions=0,
    published=Published(
        tables=(Table("data/alignment/llava_med_alignment_500k.json", "json", "train", columns=("id", "image")),),
        entries=alignment_entries,
        expected=(
            ("data/alignment/llava_med_alignment_500k.json", 358_112_840, "about 500,000 figures with captions"),
            (f"{IMAGES}/*.jpg", 0, "figures of the articles"),
        ),
        splits="training only",
        yields="one caption a figure, asked for in the authors' words",
        downloads=(
            Download(
                f"{FILES}/alignment/llava_med_alignment_500k.json", 358_112_840,
                "007456f3d6c2091466b3fb6cd0573f61a63fd0c937e568f44113d5a1f23e8b93", "data/alignment",
            ),
        ),
        citation=CITATION,
        notes=(IMAGE_NOTE,),
    ),
)  # fmt: skip

INSTRUCT = Source(
    name="llava_med_instruct",
    title="LLaVA-Med instruct: GPT-4 conversations about figures of PubMed Central",
    licence=LICENCE,
    obtain=OBTAIN,
    folder=FOLDER,
    published_images=0,
    published_questions=0,
    published=Published(
        tables=tuple(
            Table(f"data/instruct/llava_med_instruct_{name}.json", "json", "train", columns=("id", "image"))
            for name in ("10k", "60k", "60k_inline_mention")
        ),
        entries=instruct_entries,
        expected=(
            ("data/instruct/llava_med_instruct_10k.json", 20_176_754, "about 10,000 conversations"),
            ("data/instruct/llava_med_instruct_60k.json", 88_758_916, "about 60,000 conversations"),
            (
                "data/instruct/llava_med_instruct_60k_inline_mention.json", 87_669_379,
                "about 60,000 conversations, made from caption and text",
            ),
            (f"{IMAGES}/*.jpg", 0, "figures of the articles"),
        ),
        splits="training only",
        yields="several questions a figure, with answers of a sentence or more",
        downloads=(
            Download(
                f"{FILES}/instruct/llava_med_instruct_10k.json", 20_176_754,
                "84f75c2b83404fe7dd1631212b4ad73228a0dad77bb819ab29c511a535a279c8", "data/instruct",
            ),
            Download(
                f"{FILES}/instruct/llava_med_instruct_60k.json", 88_758_916,
                "cf84c82fb58e391d6cf198e2657b6fc8584a180509b8813c3604ce46f6275c19", "data/instruct",
            ),
            Download(
                f"{FILES}/instruct/llava_med_instruct_60k_inline_mention.json", 87_669_379,
                "b3649f4193a51215aee4519b44d8436a4200e182d6a78a3cb78672d97bea948a", "data/instruct",
            ),
        ),
        citation=CITATION,
        notes=(IMAGE_NOTE, "the three files share figures; the authors train on 60k_inline_mention"),
    ),
)  # fmt: skip

EVALUATION = Source(
    name="llava_med_eval",
    title="LLaVA-Med evaluation: questions about 50 figures, answered by GPT-4",
    licence=LICENCE,
    obtain=OBTAIN,
    folder=FOLDER,
    published_images=50,
    published_questions=193,
    published=Published(
        tables=(
            Table(
                "data/eval/llava_med_eval_qa50_qa.jsonl", "json", "test",
                columns=("question_id", "image", "text", "gpt4_answer", "domain"), rows=193,
            ),
        ),
        entries=evaluation_entries,
        expected=(
            ("data/eval/llava_med_eval_qa50_qa.jsonl", 262_328, "193 questions"),
            (f"{IMAGES}/*.jpg", 0, "50 figures"),
        ),
        splits="test only",
        yields="questions of conversations, and requests for a detailed description",
        downloads=(Download(f"{FILES}/eval/llava_med_eval_qa50_qa.jsonl", 262_328, folder="data/eval"),),
        citation=CITATION,
        notes=(IMAGE_NOTE,),
    ),
)  # fmt: skip

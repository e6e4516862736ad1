"""LLaVA-1.5: everyday pictures with captions (558k, alignment) and conversations (665k, instruct).

Layout as in the authors' repository (haotian-liu/LLaVA, README "Train" and ``docs/Data.md``) and on the cards of
liuhaotian/LLaVA-Pretrain and liuhaotian/LLaVA-Instruct-150K. 558k: a JSON array of {id, image, conversations}, images
``images/00453/004539375.jpg``. 665k: the same, with images below ``coco/train2017``, ``gqa/images``,
``ocr_vqa/images``, ``textvqa/train_images`` and ``vg/VG_100K*``; conversations from ShareGPT have no ``image``. Its
ids are those of the pictures, some of them numbers, and recur: a fingerprint of the conversation tells rows apart.
"""

from collections import Counter
from collections.abc import Iterator

from healthgpt.sources.base import Source
from healthgpt.sources.conversation import exchanges, image_names, told_apart
from healthgpt.sources.entry import BadRowError, Entry, Question
from healthgpt.sources.layout import Download, Published, Row, Table

CITATION = "Liu et al., Improved Baselines with Visual Instruction Tuning, CVPR 2024"
PRETRAIN = "https://huggingface.co/datasets/liuhaotian/LLaVA-Pretrain"
INSTRUCT_150K = "https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K"


def _identity(row: Row, oddities: Counter[str]) -> str:
    identity = row.value.get("id") if isinstance(row.value, dict) else None
    if isinstance(identity, int):
        oddities["id is a number"] += 1
    if identity is None or identity == "" or not isinstance(identity, str | int):
        raise BadRowError("no id")
    return str(identity)


def alignment_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """A request to describe the picture, and its caption."""
    identity = _identity(row, oddities)
    talk, images = exchanges(row.value.get("conversations")), image_names(row.value.get("image"))
    if not images:
        raise BadRowError("no image")
    paths = tuple(f"images/{name}" for name in images)
    for number, (question, answer) in enumerate(talk):
        yield Question(
            original_id=f"{identity}#{number}", images=paths, question=question, answer=answer, task="other",
            kind="caption", split=row.split, group=images[0],
        )  # fmt: skip


def instruct_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """Every exchange, about a picture or without one."""
    identity = _identity(row, oddities)
    talk, images = exchanges(row.value.get("conversations")), image_names(row.value.get("image"))
    if not images:
        oddities["conversation without an image"] += 1
    unique = told_apart(identity, talk)
    for number, (question, answer) in enumerate(talk):
        yield Question(
            original_id=f"{unique}#{number}", images=images, question=question, answer=answer, task="other",
            kind="conversation", split=row.split, group=images[0] if images else identity,
        )  # fmt: skip


ALIGNMENT = Source(
    name="llava_558k",
    title="LLaVA-1.5 alignment: 558,128 everyday pictures with captions",
    licence="terms of LAION, CC-3M and SBU; captions by BLIP",
    obtain=PRETRAIN,
    folder="llava_558k",
    published_images=558_128,
    published_questions=558_128,
    published=Published(
        tables=(
            Table(
                "blip_laion_cc_sbu_558k.json", "json", "train", columns=("id", "image", "conversations"), rows=558_128
            ),
        ),
        entries=alignment_entries,
        expected=(
            ("blip_laion_cc_sbu_558k.json", 0, "558,128 captions, about 181 MB"),
            ("images/*/*.jpg", 0, "558,128 pictures, from images.zip (27 GB)"),
        ),
        splits="training only",
        yields="one caption a picture, asked for in the authors' words",
        downloads=(
            Download(f"{PRETRAIN}/resolve/main/blip_laion_cc_sbu_558k.json"),
            Download(f"{PRETRAIN}/resolve/main/images.zip", folder="images"),
        ),
        citation=CITATION,
    ),
)

INSTRUCT = Source(
    name="llava_665k",
    title="LLaVA-1.5 instruct: 665,298 conversations about everyday pictures, some without one",
    licence="CC BY 4.0 and OpenAI's terms of use; images under the terms of COCO, GQA, OCR-VQA, TextVQA, Visual Genome",
    obtain=INSTRUCT_150K,
    folder="llava_665k",
    published_images=0,
    published_questions=0,
    published=Published(
        tables=(Table("llava_v1_5_mix665k.json", "json", "train", columns=("id", "conversations"), rows=665_298),),
        entries=instruct_entries,
        expected=(
            ("llava_v1_5_mix665k.json", 0, "665,298 conversations, about 1 GB"),
            ("coco/train2017/*.jpg", 0, "COCO"),
            ("gqa/images/*.jpg", 0, "GQA"),
            ("ocr_vqa/images/*.jpg", 0, "OCR-VQA, all named .jpg"),
            ("textvqa/train_images/*.jpg", 0, "TextVQA"),
            ("vg/VG_100K*/*.jpg", 0, "Visual Genome"),
        ),
        splits="training only",
        yields="questions, choices, places in pictures; conversations of ShareGPT without a picture",
        downloads=(Download(f"{INSTRUCT_150K}/resolve/main/llava_v1_5_mix665k.json"),),
        citation=CITATION,
        notes=("images come from five data sets; the repository's README says where each is and what goes where",),
    ),
)

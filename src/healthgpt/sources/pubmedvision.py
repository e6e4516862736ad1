"""PubMedVision: figures of PubMed rewritten by GPT-4V as descriptions (alignment) and questions (instruction tuning).

Layout as on the data set's card (FreedomIntelligence/PubMedVision): two JSON arrays of {id, image (a list),
conversations, modality, body_part} and ``images_0.zip`` to ``images_19.zip``, unpacked flat into ``images/``. About
a fifth of the rows have several images; ``modality`` is one of 45 names given by a model, not by the publisher of the
figure. Images are ``images/pmc_<number>_<position>.jpg``; images of one number share a group.
"""

from collections import Counter
from collections.abc import Iterator

from healthgpt.sources.base import Source
from healthgpt.sources.conversation import exchanges, image_names
from healthgpt.sources.entry import BadRowError, Entry, Question
from healthgpt.sources.layout import Download, Published, Row, Table
from healthgpt.sources.modality import task_of_modality

LICENCE = "Apache-2.0"
OBTAIN = "https://huggingface.co/datasets/FreedomIntelligence/PubMedVision"
CITATION = "Chen et al., HuatuoGPT-Vision, arXiv:2406.19280 (2024)"
FOLDER = "pubmedvision"
"""One folder for both files, which share their images."""
COLUMNS = ("id", "image", "conversations", "modality")
ROWS = 647_031
IMAGE_COUNT = 914_960


def article_of(image: str) -> str:
    """What the images of one article share: ``images/pmc_1_0.jpg`` gives ``pmc_1``."""
    stem = image.rpartition("/")[2].rpartition(".")[0]
    return stem.rpartition("_")[0] or stem


def conversation_entries(row: Row, oddities: Counter[str], kind: str) -> Iterator[Entry]:
    """A question for every exchange, with all images of the row."""
    value = row.value
    if not isinstance(value, dict):
        raise BadRowError("not an object")
    identity = value.get("id")
    if identity is None or identity == "":
        raise BadRowError("no id")
    talk, images = exchanges(value.get("conversations")), image_names(value.get("image"))
    if not images:
        raise BadRowError("no image")
    if len(images) > 1:
        oddities["several images"] += 1
    if isinstance(value["image"], str):
        oddities["image is a name and not a list"] += 1
    modality = value.get("modality")
    task = task_of_modality(modality) if isinstance(modality, str) else None
    if task is None:
        oddities["modality outside the seven" if modality else "no modality"] += 1
    for number, (question, answer) in enumerate(talk):
        yield Question(
            original_id=f"{identity}#{number}", images=images, question=question, answer=answer,
            task=task or "other", kind=kind, split=row.split, group=article_of(images[0]),
        )  # fmt: skip


def alignment_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """A request to describe the figure, and its description."""
    return conversation_entries(row, oddities, "caption")


def instruct_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """Every exchange about the figure."""
    return conversation_entries(row, oddities, "conversation")


IMAGE_NOTE = (
    "images: unpack images_0.zip to images_19.zip (57 GB) without their folders: unzip -j images_0.zip -d images"
)

ALIGNMENT = Source(
    name="pubmedvision_alignment",
    title="PubMedVision alignment: figures of PubMed with descriptions",
    licence=LICENCE,
    obtain=OBTAIN,
    folder=FOLDER,
    published_images=IMAGE_COUNT,
    published_questions=ROWS,
    published=Published(
        tables=(Table("PubMedVision_Alignment_VQA.json", "json", "train", columns=COLUMNS, rows=ROWS),),
        entries=alignment_entries,
        expected=(
            ("PubMedVision_Alignment_VQA.json", 0, "647,031 descriptions, about 710 MB"),
            ("images/*.jpg", 0, "914,960 figures"),
        ),
        splits="training only",
        yields="one description a figure, asked for in the authors' words",
        downloads=(Download(f"{OBTAIN}/resolve/main/PubMedVision_Alignment_VQA.json"),),
        citation=CITATION,
        notes=(IMAGE_NOTE,),
    ),
)

INSTRUCT = Source(
    name="pubmedvision_instruct",
    title="PubMedVision instruction tuning: questions about figures of PubMed",
    licence=LICENCE,
    obtain=OBTAIN,
    folder=FOLDER,
    published_images=IMAGE_COUNT,
    published_questions=ROWS,
    published=Published(
        tables=(Table("PubMedVision_InstructionTuning_VQA.json", "json", "train", columns=COLUMNS, rows=ROWS),),
        entries=instruct_entries,
        expected=(
            ("PubMedVision_InstructionTuning_VQA.json", 0, "647,031 conversations, about 722 MB"),
            ("images/*.jpg", 0, "914,960 figures"),
        ),
        splits="training only",
        yields="questions with answers of some sentences",
        downloads=(Download(f"{OBTAIN}/resolve/main/PubMedVision_InstructionTuning_VQA.json"),),
        citation=CITATION,
        notes=(IMAGE_NOTE,),
    ),
)

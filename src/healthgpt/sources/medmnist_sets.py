"""MedMNIST v2 and MedMNIST+: twelve sets of small labelled 2D images, from the official archives.

Layout as in https://github.com/MedMNIST/MedMNIST (info.py, 3.0.2): ``<set>.npz`` holds images of 28 x 28 pixels,
``<set>_64.npz``, ``_128`` and ``_224`` of more; in each ``{train,val,test}_images``, uint8 (N, S, S[, 3]), and
``_labels``, (N, 1), or (N, 14) for the multi-label ChestMNIST. Of a set's files the largest size is read. Names of the
classes, spelling included, are the official ones. The 3D sets are not read.
"""

import math
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from healthgpt.errors import DataError
from healthgpt.record import Split
from healthgpt.sources.base import Source
from healthgpt.sources.entry import BadRowError, Entry, Question
from healthgpt.sources.layout import Download, Published, Row, Table

ORGANS = (
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left", "lung-right",
    "pancreas", "spleen",
)  # fmt: skip


@dataclass(frozen=True)
class LabelledSet:
    """One set: its reading task, the question its labels answer, their names, images by split, checksum at 224."""

    task: str
    kind: str
    question: str
    labels: tuple[str, ...]
    images: tuple[int, int, int]
    """Training, validation, test."""
    md5: str
    licence: str = ""
    many: bool = False
    """Whether an image can have several labels, or none."""


SETS: dict[str, LabelledSet] = {
    "pathmnist": LabelledSet(
        "microscopy", "tissue", "What tissue is shown?",
        (
            "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
            "cancer-associated stroma", "colorectal adenocarcinoma epithelium",
        ),
        (89_996, 10_004, 7_180), "2c51a510bcdc9cf8ddb2af93af1eadec",
    ),
    "chestmnist": LabelledSet(
        "x-ray", "findings", "Which findings does this chest X-ray show?",
        (
            "atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
            "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia",
        ),
        (78_468, 11_219, 22_433), "45bd33e6f06c3e8cdb481c74a89152aa", many=True,
    ),
    "dermamnist": LabelledSet(
        "other", "lesion", "What kind of skin lesion is shown?",
        (
            "actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma", "benign keratosis-like lesions",
            "dermatofibroma", "melanoma", "melanocytic nevi", "vascular lesions",
        ),
        (7_007, 1_003, 2_005), "8974907d8e169bef5f5b96bc506ae45d", licence="CC BY-NC 4.0",
    ),
    "octmnist": LabelledSet(
        "oct", "retinal disease", "What does this OCT image show?",
        ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
        (97_477, 10_832, 1_000), "abc493b6d529d5de7569faaef2773ba3",
    ),
    "pneumoniamnist": LabelledSet(
        "x-ray", "pneumonia", "Is this chest X-ray of a child normal or does it show pneumonia?",
        ("normal", "pneumonia"),
        (4_708, 524, 624), "d6a3c71de1b945ea11211b03746c1fe1",
    ),
    "retinamnist": LabelledSet(
        "fundus", "grade", "What is the grade of diabetic retinopathy, from 0 (none) to 4 (proliferative)?",
        ("0", "1", "2", "3", "4"),
        (1_080, 120, 400), "eae7e3b6f3fcbda4ae613ebdcbe35348",
    ),
    "breastmnist": LabelledSet(
        "ultrasound", "malignancy", "Is this breast ultrasound malignant, or normal or benign?",
        ("malignant", "normal, benign"),
        (546, 78, 156), "b56378a6eefa9fed602bb16d192d4c8b",
    ),
    "bloodmnist": LabelledSet(
        "microscopy", "cell", "What type of blood cell is shown?",
        (
            "basophil", "eosinophil", "erythroblast",
            "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)", "lymphocyte", "monocyte",
            "neutrophil", "platelet",
        ),
        (11_959, 1_712, 3_421), "b718ff6835fcbdb22ba9eacccd7b2601",
    ),
    "tissuemnist": LabelledSet(
        "microscopy", "kidney cell", "What type of kidney cortex cell is shown?",
        (
            "Collecting Duct, Connecting Tubule", "Distal Convoluted Tubule", "Glomerular endothelial cells",
            "Interstitial endothelial cells", "Leukocytes", "Podocytes", "Proximal Tubule Segments",
            "Thick Ascending Limb",
        ),
        (165_466, 23_640, 47_280), "b077128c4a949f0a4eb01517f9037b9c",
    ),
    "organamnist": LabelledSet(
        "ct", "organ", "Which organ does this axial CT slice show?", ORGANS,
        (34_561, 6_491, 17_778), "50747347e05c87dd3aaf92c49f9f3170",
    ),
    "organcmnist": LabelledSet(
        "ct", "organ", "Which organ does this coronal CT slice show?", ORGANS,
        (12_975, 2_392, 8_216), "050f5e875dc056f6768abf94ec9995d1",
    ),
    "organsmnist": LabelledSet(
        "ct", "organ", "Which organ does this sagittal CT slice show?", ORGANS,
        (13_932, 2_452, 8_827), "b354719e553fbbb2513d5533f52a4cb1",
    ),
}  # fmt: skip
SIZES = ("_224", "_128", "_64", "")
"""Endings of the archives' names, the largest image first; none is 28 pixels."""
SPLITS: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}
ARRAY = re.compile(r"(train|val|test)_images")
NO_FINDING = "no finding"
MOST_OPTIONS = 4
"""A choice has four letters; of a set with more classes the builder draws options, from answers of its kind."""
LARGEST_LABELS = 1 << 28
"""Bytes; the largest published are 2 MB."""


def read_labels(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Labels by split of every archive that is read: of each set, the one with the largest images."""
    chosen = {}
    for name in SETS:
        for size in SIZES:
            path = folder / f"{name}{size}.npz"
            if path.is_file():
                chosen[path.name] = _labels_of(path)
                break
    return chosen


def _labels_of(path: Path) -> dict[str, np.ndarray]:
    labels = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for split in SPLITS:
                member = f"{split}_labels.npy"
                if member in archive.namelist():
                    _check_small(archive, member)
                    with archive.open(member) as stream:
                        array = np.lib.format.read_array(stream, allow_pickle=False)
                    labels[split] = array if array.ndim == 2 else array[:, np.newaxis]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as fault:
        raise DataError(
            f"{path} is not a MedMNIST archive", found=str(fault), next_step="get the file again"
        ) from fault
    return labels


def _check_small(archive: zipfile.ZipFile, member: str) -> None:
    """``ValueError`` unless the array's header declares integers, no more of them than labels can be."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read(stream)
    if kind.kind not in "bui" or len(shape) not in (1, 2) or math.prod(shape) * kind.itemsize > LARGEST_LABELS:
        raise ValueError(f"labels of type {kind} and shape {shape}")


def published_entries(row: Row, oddities: Counter[str]) -> Iterator[Entry]:
    """The question a set's labels answer, for one image; for ChestMNIST also one of yes or no."""
    if row.file not in row.context:
        oddities["smaller size of a set that is read"] += 1
        return
    array, index = row.value
    match = ARRAY.fullmatch(array)
    if match is None:
        oddities[f"not an array of a split: {array}"] += 1
        return
    name = row.file.removesuffix(".npz").partition("_")[0]
    labels = row.context[row.file].get(match[1])
    if labels is None or index >= len(labels):
        raise BadRowError("image without a label")
    yield from _questions(SETS[name], name, row.file, array, index, match[1], labels[index].tolist())


def _questions(
    one: LabelledSet, name: str, file: str, array: str, index: int, split: str, label: list[int]
) -> Iterator[Entry]:
    image = f"{name}/{split}-{index}"

    def asked(ending: str, question: str, answer: str, options: tuple[str, ...], kind: str) -> Question:
        return Question(
            original_id=f"{image}{ending}", images=(f"{file}#{array}/{index}",), question=question, answer=answer,
            task=one.task, kind=kind, options=options, split=SPLITS[split], group=image, licence=one.licence,
        )  # fmt: skip

    if len(label) != (len(one.labels) if one.many else 1):
        raise BadRowError(f"{len(label)} labels an image")
    if one.many:
        found = [text for text, value in zip(one.labels, label, strict=True) if value]
        yield asked("", one.question, ", ".join(found) or NO_FINDING, (), one.kind)
        # Three of four films with findings are asked for one they have; all others for one they lack, in turn.
        missing = [text for text in one.labels if text not in found]
        present = found and (index % 4 or not missing)
        about = found[index % len(found)] if present else missing[index % len(missing)]
        yield asked("/presence", f"Does this chest X-ray show {about}?", "yes" if present else "no", (), "presence")
    elif label[0] >= len(one.labels) or label[0] < 0:
        raise BadRowError("label outside the published classes")
    else:
        options = one.labels if len(one.labels) <= MOST_OPTIONS else ()
        yield asked("", one.question, one.labels[label[0]], options, one.kind)


PUBLISHED = Published(
    tables=tuple(
        Table(f"{name}{size}.npz", "npz", rows=sum(one.images)) for name, one in SETS.items() for size in SIZES
    ),
    entries=published_entries,
    expected=tuple(
        (f"{name}*.npz", 0, f"{sum(one.images):,} images of 28, 64, 128 or 224 pixels") for name, one in SETS.items()
    ),
    splits="train, val and test arrays of each archive",
    yields="one question an image, answered by the class name; ChestMNIST: its findings, and one of yes or no",
    downloads=tuple(
        Download(f"https://zenodo.org/records/10519652/files/{name}_224.npz", md5=one.md5) for name, one in SETS.items()
    ),
    prepare=read_labels,
    citation="Yang et al., Scientific Data 10, 41 (2023)",
    notes=(
        "DermaMNIST is CC BY-NC 4.0, the others CC BY 4.0",
        "DermaMNIST divides by image: pictures of one lesion may lie in two splits",
        "smaller archives are at the same address without _224, or with _64 or _128",
    ),
)  # fmt: skip

SOURCE = Source(
    name="medmnist",
    title="MedMNIST v2 and MedMNIST+: twelve labelled 2D sets",
    licence="CC BY 4.0 (DermaMNIST: CC BY-NC 4.0)",
    obtain="https://medmnist.com",
    folder="medmnist",
    published_images=sum(sum(one.images) for one in SETS.values()),
    published_questions=0,
    published=PUBLISHED,
)

"""What a source yields before any pixel is read: questions, reports, scans and pairs that name their image files.

An image is named by its path relative to the data set's folder, ``/`` between the parts; one array of a NumPy
archive by ``file.npz#array/index``. Nothing here is cleaned: answers may be numbers, padded, in HTML. ``licence`` is
an entry's own, where the publisher tells it by image and it may differ from the source's; empty elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from healthgpt.record import Split

Role = Literal["mri", "ct", "mask"]
"""What a volume of a scan holds."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question about an image, with its answer; an empty ``question`` asks for a description.

    ``task``: the reading task, by modality (``tasks.TASKS``). ``kind``: type of the question; distractors are drawn
    from the same type. ``options``: the publisher's own, else empty. ``group``: patient, case or image that must not
    span two splits; the image's name when empty. ``images``: none for a question without one; an entry with several
    is dropped and counted, as in VL-Health.
    """

    original_id: str
    images: tuple[str, ...]
    question: Any
    answer: Any
    task: str
    kind: str = ""
    options: tuple[Any, ...] = ()
    split: Split | None = None
    group: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """A chest X-ray study's report with one of its images: read it to words, or draw it from the words.

    ``text``: the whole report where it is free text; ``findings`` and ``impression`` where the publisher has cut it.
    """

    original_id: str
    images: tuple[str, ...]
    text: str = ""
    findings: str = ""
    impression: str = ""
    task: str = "x-ray"
    split: Split | None = None
    group: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """Volumes of one patient that lie over each other: ``volumes`` maps ``mri``, ``ct`` and ``mask`` to files.

    With both ``mri`` and ``ct`` it gives conversions; an MRI alone gives super-resolution and reconstruction.
    ``region``: head, chest, abdomen, pelvis or empty. A pair that does not lie over each other is registered.
    """

    original_id: str
    volumes: Mapping[Role, str]
    region: str = ""
    split: Split | None = None
    group: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What else is known for sure, e.g. ``{"contrast": "T1"}``; the contrast becomes a question."""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """An input and a target image (2D, aligned) for a generation task of ``tasks.TASKS``."""

    original_id: str
    task: str
    image: str
    target: str
    split: Split | None = None
    group: str = ""
    licence: str = ""


Entry = Question | Report | Scan | Pair


class BadRowError(ValueError):
    """A row that cannot be read as what the source publishes; the message is the reason, in a few words."""

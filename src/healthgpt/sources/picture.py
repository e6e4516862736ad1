"""One picture of a data set with what is known of it for sure, and the records that can be made from it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from healthgpt.imaging.degrade import truncate_kspace
from healthgpt.imaging.image import Window
from healthgpt.imaging.intensity import to_display
from healthgpt.imaging.read import read_image
from healthgpt.record import Provenance, Record, Sample, Split, choice_text
from healthgpt.sources.base import fraction_of
from healthgpt.tasks import TASKS

LONGEST_SIDE = 256
SHARP_SIDE = 128
"""Longest side of a super-resolution pair: the size nano draws. Cut at a larger size, a pair would be shrunk for the
model together with its blur, and little of the fourfold loss would be left to restore."""

MODALITY_ANSWERS = {
    "x-ray": "x-ray",
    "ct": "ct",
    "mri": "mri",
    "microscopy": "microscopy",
    "oct": "oct",
    "ultrasound": "ultrasound",
    "fundus": "fundus photograph",
}
"""What a question for the modality is answered with, by task."""

REGIONS = ("chest", "head", "abdomen", "pelvis", "breast", "eye", "shoulder", "leg", "blood smear", "tissue section")
NEIGHBOURS = {"abdomen": "pelvis", "pelvis": "abdomen"}
"""Regions that one slice can show both of: never offered as a wrong option for each other."""

MODALITY_QUESTIONS = (
    "What imaging modality is this?",
    "Which modality was used to take this image?",
    "What type of image is this?",
    "How was this image acquired?",
)
REGION_QUESTIONS = (
    "What part of the body is shown?",
    "Which body region does this image show?",
    "What does this image depict?",
    "Which region was imaged?",
)


@dataclass(frozen=True)
class Picture:
    """``pixels``: uint8 in display grey values or colours, (height, width) or (height, width, 3), at most
    256 pixels on the long side. ``name`` is unique within the source; ``region`` is None where the data set
    does not tell it."""

    source: str
    licence: str
    name: str
    group: str
    split: Split
    modality: str
    region: str | None
    pixels: np.ndarray

    def about(self) -> Iterator[Sample]:
        """Modality and region, each asked openly and as a single choice."""
        answers = tuple(MODALITY_ANSWERS.values())
        yield from self.ask("modality", MODALITY_QUESTIONS, MODALITY_ANSWERS[self.modality], answers)
        if self.region:
            regions = [region for region in REGIONS if region != NEIGHBOURS.get(self.region)]
            yield from self.ask("region", REGION_QUESTIONS, self.region, regions)

    def ask(
        self, kind: str, phrasings: Sequence[str], answer: str, choices: Sequence[str] = (), *, topic: str = ""
    ) -> Iterator[Sample]:
        """The open form of a question and, where ``choices`` are given, its single-choice form.

        Phrasing, options and their order follow from the record's id, so building twice gives the same data.
        ``topic`` tells two questions of one kind about the same picture apart.
        """
        label = topic or kind
        yield self.answered(kind, f"{label}-open", self._pick(phrasings, f"{label}-open"), answer)
        if choices:
            draw = self._generator(f"{label}-options")
            others = [choice for choice in choices if choice != answer]
            options = [answer, *(others[i] for i in draw.permutation(len(others))[:3])]
            options = [options[i] for i in draw.permutation(len(options))]
            question = choice_text(self._pick(phrasings, f"{label}-choice"), options)
            yield self.answered(kind, f"{label}-choice", question, answer, tuple(options))

    def answered(self, kind: str, label: str, instruction: str, response: str, options: tuple[str, ...] = ()) -> Sample:
        """One question with its answer."""
        record = self._record(
            self.modality, label, instruction, image=self.file, response=response, options=options, kind=kind
        )
        return Sample(record, self.pixels, None)

    def described(self, report: str) -> Sample:
        """The picture with its description."""
        instruction = self._pick(TASKS[self.modality].instructions, "report")
        return self.answered("report", "report", instruction, report)

    def reconstructed(self) -> Sample:
        """The picture as its own target."""
        return Sample(self._drawing("reconstruct", self.file, self.file), self.pixels, self.pixels)

    def sharpened(self) -> Sample:
        """4x super-resolution: for the input three of four k-space lines along each axis are cut off."""
        sharp = shrink(self.pixels, SHARP_SIDE)
        blurred = truncate_kspace(sharp.astype(np.float32) / 255.0, factor=4)
        stem = self.file.removesuffix(".png")
        record = self._drawing("super-resolution", f"{stem}-truncated.png", f"{stem}-sharp.png")
        return Sample(record, to_bytes(blurred), sharp)

    def converted(self, task: str, target: "Picture") -> Sample:
        """``ct-to-mri`` or ``mri-to-ct``: ``target`` shows the same slice on the same grid."""
        return Sample(self._drawing(task, self.file, target.file), self.pixels, target.pixels)

    def drawn_from(self, report: str) -> Sample:
        """``report-to-cxr``: the instruction carries the report, the picture is the target."""
        instruction = f"{self._pick(TASKS['report-to-cxr'].instructions, 'report-to-cxr')} {report}"
        record = self._record("report-to-cxr", "report-to-cxr", instruction, target_image=self.file)
        return Sample(record, None, self.pixels)

    @property
    def file(self) -> str:
        """Where the pixels go, relative to the folder of ``records.jsonl``; one file for all their records."""
        return _as_path(f"images/{self.source}/{self.name}.png")

    def _drawing(self, task: str, image: str, target_image: str) -> Record:
        instruction = self._pick(TASKS[task].instructions, task)
        return self._record(task, task, instruction, image=image, target_image=target_image)

    def _record(
        self,
        task: str,
        label: str,
        instruction: str,
        *,
        image: str | None = None,
        target_image: str | None = None,
        response: str = "",
        options: tuple[str, ...] = (),
        kind: str = "",
    ) -> Record:
        return Record(
            id=self._identity(label),
            task=task,
            instruction=instruction,
            image=image,
            target_image=target_image,
            response=response,
            options=options,
            kind=kind,
            split=self.split,
            provenance=Provenance(
                source=self.source, licence=self.licence, original_id=self.name, group=f"{self.source}/{self.group}"
            ),
        )

    def _identity(self, label: str) -> str:
        return _as_path(f"{self.source}/{self.name}/{label}")

    def _generator(self, label: str) -> np.random.Generator:
        return np.random.default_rng(int(fraction_of(self._identity(label)) * 2**63))

    def _pick(self, phrasings: Sequence[str], label: str) -> str:
        return phrasings[int(fraction_of(self._identity(label)) * len(phrasings))]


def _as_path(text: str) -> str:
    """Without the blanks and brackets with which data sets name their files."""
    return re.sub(r"[^A-Za-z0-9._/-]+", "_", text)


def load_pixels(path: Path, *, colour: bool = False, window: Window | None = None) -> np.ndarray:
    """Read an image file for display: uint8, at most 256 pixels on the long side.

    Grey, (height, width), unless ``colour``: many data sets store grey pictures as RGB.
    ``window`` is for files in Hounsfield units or arbitrary ones. ``ImageError`` when the file is missing,
    damaged or holds no picture.
    """
    pixels = to_display(read_image(path), window)
    if colour and pixels.ndim == 2:
        pixels = np.stack([pixels] * 3, axis=-1)
    if not colour and pixels.ndim == 3:
        pixels = np.asarray(PillowImage.fromarray(pixels).convert("L"))
    return shrink(pixels)


def shrink(pixels: np.ndarray, longest: int = LONGEST_SIDE) -> np.ndarray:
    """uint8 pixels, made smaller where the long side exceeds ``longest``; the aspect ratio stays."""
    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(PillowImage.fromarray(pixels).resize(size, PillowImage.Resampling.LANCZOS))


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1], clipped, as uint8."""
    return np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)

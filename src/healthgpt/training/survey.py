"""Data sets looked through once before training: every image opened, every row measured, what cannot be used listed."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from healthgpt.backbone.prompts import Prompt, PromptBuilder
from healthgpt.data.shards import picture_of, records_with_pictures, write_lines
from healthgpt.errors import DataError, RecipeError
from healthgpt.record import Record, Split
from healthgpt.tasks import TASKS, Family
from healthgpt.tokens import IGNORED
from healthgpt.training.recipe import DataPart, Rows
from healthgpt.training.rows import CHUNK, PictureFolders, Row, RowColumns, cut, prompt_of

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done and how much there is."""
SHOWN = 3


class Found(BaseModel):
    """What a survey found. ``records``: by task, those in a row; ``cut``: responses shortened to fit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int
    records: dict[str, int]
    tokens: int
    learned: int
    quarantined: int
    cut: int


class Said(NamedTuple):
    """What of a record becomes part of a row."""

    record: str
    task: str
    instruction: str
    response: str
    image: str | None
    target: str | None
    source: str
    part: int


class Picture(NamedTuple):
    """An image that could be opened, by the hash of its content; or why it could not."""

    key: str
    fault: str = ""


@dataclass(frozen=True)
class Survey:
    """How records of the recipe's parts become rows; ``workers``: threads that open images."""

    parts: Sequence[DataPart]
    places: PictureFolders
    families: Sequence[Family]
    settings: Rows
    builder: PromptBuilder
    seed: int
    workers: int
    progress: Progress

    def make(
        self, split: Split, quarantine: Path, codes_of: Callable[[int], Mapping[str, np.ndarray]]
    ) -> tuple[pa.Table, Found]:
        """The rows of a split; ``codes_of``: VQ indices of a part's target images by name.

        Raises ``DataError`` when too many images cannot be opened, ``RecipeError`` for responses that are too long.
        """
        said = [one for part in range(len(self.parts)) for one in self._said(part, split)]
        pictures = self._open(said)
        codes: dict[int, Mapping[str, np.ndarray]] = {}
        for part in sorted({one.part for one in said if one.target is not None}):
            codes[part] = codes_of(part)
        usable, left_out = [], []
        for one in said:
            fault = _fault(one, pictures, codes)
            if fault:
                file = one.image if one.image and pictures[one.part, one.image].fault else one.target
                left_out.append({"record": one.record, "part": one.part, "image": file, "reason": fault})
            else:
                usable.append(one)
        self._settle_quarantine(left_out, len(said), split, quarantine)
        rows, shortened = self._rows(usable, pictures, codes)
        found = Found(
            rows=rows.rows, records=dict(sorted(Counter(one.task for one in usable).items())), tokens=rows.tokens,
            learned=rows.learned, quarantined=len(left_out), cut=shortened,
        )  # fmt: skip
        return rows.table(), found

    def _said(self, part: int, split: Split) -> Iterator[Said]:
        """A part's records as far as its filters and the stage let them through."""
        wanted, folder = self.parts[part], self.places.folders[part]
        for record, embedded in records_with_pictures(folder, split):
            if not self._wanted(record, wanted):
                continue
            for name, content in embedded.items():
                _extract(self.places.extracted / str(part), name, content)
            yield Said(
                record.id, record.task, record.instruction, record.response, record.image, record.target_image,
                record.provenance.source, part,
            )  # fmt: skip

    def _wanted(self, record: Record, part: DataPart) -> bool:
        family = TASKS[record.task].family
        return (
            family in self.families
            and (not part.families or family in part.families)
            and (not part.sources or record.provenance.source in part.sources)
            and (not part.tasks or record.task in part.tasks)
            and (not part.kinds or record.kind in part.kinds)
        )

    def _open(self, said: Sequence[Said]) -> dict[tuple[int, str], Picture]:
        """Every distinct image opened and hashed."""
        names = list(dict.fromkeys((one.part, name) for one in said for name in (one.image, one.target) if name))
        pictures = {}
        with ThreadPoolExecutor(self.workers) as pool:
            opened = pool.map(lambda place: _opened(self.places.of(*place), place[1]), names)
            for done, (name, picture) in enumerate(zip(names, opened, strict=True), start=1):
                pictures[name] = picture
                if done % 50 == 0 or done == len(names):
                    self.progress("opening images", done, len(names))
        return pictures

    def _settle_quarantine(self, left_out: list[dict], total: int, split: Split, path: Path) -> None:
        kept = [one for one in _lines(path) if one["split"] != split]
        if left_out or kept:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_lines(path, [*kept, *({**one, "split": split} for one in left_out)])
        if len(left_out) > self.settings.quarantine_share * total:
            raise DataError(
                f"{len(left_out)} of {total} {split} records have an image that cannot be used",
                found="; ".join(f"{one['record']}: {one['reason']}" for one in left_out[:SHOWN]),
                allowed=f"{self.settings.quarantine_share:.1%} (rows.quarantine_share)",
                next_step=f"all are listed in {path}; mend the images, or allow more",
            )

    def _rows(
        self,
        said: Sequence[Said],
        pictures: Mapping[tuple[int, str], Picture],
        codes: Mapping[int, Mapping[str, np.ndarray]],
    ) -> tuple[RowColumns, int]:
        """All rows, and how many responses were cut."""
        rows, shortened, long = RowColumns(), 0, []
        for turns in self._conversations(said):
            first = turns[0]
            drawn = None if first.target is None else codes[first.part][first.target]
            prompt = self._prompt(turns, drawn)
            if len(prompt) > self.settings.max_length:
                whole, prompt = len(prompt), cut(prompt, self.settings.max_length)
                if self.settings.too_long == "refuse" or drawn is not None or set(prompt.labels) == {IGNORED}:
                    long.append((whole, first.record))
                    continue
                shortened += 1
            rows.add(
                Row(
                    records=tuple(one.record for one in turns), task=first.task,
                    instructions=tuple(one.instruction for one in turns),
                    responses=tuple(one.response for one in turns), image=first.image,
                    image_key=None if first.image is None else pictures[first.part, first.image].key,
                    target=first.target, codes=drawn, source=first.source, part=first.part, length=len(prompt),
                    learned=sum(label != IGNORED for label in prompt.labels),
                )
            )  # fmt: skip
            if rows.rows % CHUNK == 0:
                self.progress("measuring rows", rows.rows, len(said))
        self._refuse_long(long)
        return rows, shortened

    def _prompt(self, turns: Sequence[Said], codes: np.ndarray | None = None) -> Prompt:
        return prompt_of(
            self.builder, [one.instruction for one in turns], [one.response for one in turns],
            has_image=turns[0].image is not None, codes=codes,
        )  # fmt: skip

    def _refuse_long(self, long: list[tuple[int, str]]) -> None:
        if long:
            longest, record = max(long)
            raise RecipeError(
                f"{len(long)} rows are longer than rows.max_length", found=f"{longest} tokens in record {record}",
                allowed=f"{self.settings.max_length}",
                next_step="set rows.too_long: cut to shorten responses (a question or a picture cannot be cut)"
                if self.settings.too_long == "refuse" else "raise rows.max_length, or leave those records out",
            )  # fmt: skip

    def _conversations(self, said: Sequence[Said]) -> Iterator[list[Said]]:
        """Rows part by part: single records, or questions about one image together, in an order drawn by the seed."""
        if self.settings.turns == 1:
            yield from ([one] for one in said)
            return
        grouped: dict[tuple[int, str, str], list[Said]] = {}
        for one in said:
            alone = one.image is None or one.target is not None
            grouped.setdefault((one.part, one.task, one.record if alone else str(one.image)), []).append(one)
        for number, together in enumerate(grouped.values()):
            order = np.random.default_rng([self.seed, number, 7]).permutation(len(together))
            waiting: list[Said] = []
            for turn in (together[index] for index in order):
                longer = [*waiting, turn]
                if waiting and (len(longer) > self.settings.turns or self._too_long(longer)):
                    yield waiting
                    longer = [turn]
                waiting = longer
            yield waiting

    def _too_long(self, turns: Sequence[Said]) -> bool:
        return len(self._prompt(turns)) > self.settings.max_length


def _fault(one: Said, pictures: Mapping, codes: Mapping[int, Mapping[str, np.ndarray]]) -> str:
    """Why a record cannot be used; empty when it can."""
    for name in (one.image, one.target):
        if name and pictures[one.part, name].fault:
            return str(pictures[one.part, name].fault)
    if TASKS[one.task].family == "generation" and one.target is None:
        return "no target image"
    if one.target is not None and one.target not in codes[one.part]:
        return (
            "no codes of its target image: it could not be read when the data set was encoded; remove its folder codes"
        )
    return ""


def _opened(folder: Path, name: str) -> Picture:
    try:
        picture_of(folder, name)
        return Picture(hashlib.blake2b((folder / name).read_bytes(), digest_size=16).hexdigest())
    except (OSError, DataError) as fault:
        found = fault.found if isinstance(fault, DataError) else str(fault)
        return Picture("", " ".join(found.split())[:200])


def _extract(folder: Path, name: str, content: bytes) -> None:
    """Put an embedded picture into a file; ``DataError`` for a name that leads out of the folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError("a record names an image outside its folder", found=name)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(content)
        partial.replace(path)


def _lines(path: Path) -> Iterable[dict]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

"""The data of a run made ready: exports built, targets encoded, every split surveyed; kept by fingerprint."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from healthgpt.backbone.prompts import PromptBuilder
from healthgpt.data.build import LocalWorkers, build
from healthgpt.data.codes import codec_hash, codes_of, encode_targets, encoded_with
from healthgpt.data.settings import BuildSettings
from healthgpt.data.shards import MANIFEST, file_digest
from healthgpt.errors import DataError
from healthgpt.record import Split
from healthgpt.training.recipe import Recipe
from healthgpt.training.rows import PictureFolders, RowTable, write_rows
from healthgpt.training.stages import STAGES
from healthgpt.training.start import Beginning, fingerprint_of
from healthgpt.training.survey import Found, Progress, Survey
from healthgpt.vq.store import load_codec

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
QUARANTINE = "quarantine.jsonl"


@dataclass(frozen=True)
class RunData:
    """``validation``, ``test``: None where the data has no such records. ``fingerprint``: of data sets and filters."""

    train: RowTable
    validation: RowTable | None
    test: RowTable | None
    found: dict[str, Found]
    fingerprint: str


def prepare_data(
    recipe: Recipe, run: Path, beginning: Beginning, builder: PromptBuilder, device: torch.device, workers: int,
    progress: Progress,
) -> RunData:  # fmt: skip
    """Rows of all splits, surveyed once and then found in RUN/rows.

    Raises ``DataError`` for a data set that is not there, has no training records for the stage, was encoded
    otherwise, or has too many images that cannot be used; ``RecipeError`` for responses that are too long.
    """
    folders = tuple(_folder(recipe, number, run, workers, progress) for number in range(len(recipe.data)))
    places = PictureFolders(folders, run / "pictures")
    prints = [_data_print(folder) for folder in folders]
    filters = [part.model_dump(mode="json", exclude={"folder", "export"}) for part in recipe.data]
    fingerprint = hashlib.sha256(json.dumps([prints, filters]).encode()).hexdigest()[:16]
    codes: dict[int, dict[str, np.ndarray]] = {}  # read once for all splits

    def codes_of(part: int) -> dict[str, np.ndarray]:
        if part not in codes:
            codes[part] = _codes(folders[part], beginning, device, progress)
        return codes[part]

    survey = Survey(
        recipe.data, places, STAGES[recipe.stage].families, recipe.rows, builder, recipe.seed, workers, progress
    )
    tables: dict[str, RowTable] = {}
    found: dict[str, Found] = {}
    for split in SPLITS:
        key = _key(recipe, beginning, fingerprint, split)
        path = run / "rows" / f"{split}-{key}.arrow"
        facts = path.with_suffix(".json")
        if not facts.is_file():
            table, seen = survey.make(split, run / QUARANTINE, codes_of)
            write_rows(path, table)
            facts.write_text(seen.model_dump_json(indent=2) + "\n", encoding="utf-8")
        found[split] = Found.model_validate_json(facts.read_text(encoding="utf-8"))
        if found[split].rows:
            tables[split] = RowTable(path, places)
    if "train" not in tables:
        raise DataError(
            f"no training records for {recipe.stage}", found=", ".join(map(str, folders)),
            allowed=f"records of {' or '.join(STAGES[recipe.stage].families)} in the train split",
            next_step="see what a data set holds with 'healthgpt data show', and the filters in the recipe",
        )  # fmt: skip
    empty = [
        number
        for number in range(len(folders))
        if recipe.data[number].share and not (tables["train"].parts == number).any()
    ]
    if empty:
        raise DataError(
            f"part {empty[0]} of the data has a share but no training records", found=str(folders[empty[0]])
        )
    return RunData(tables["train"], tables.get("validation"), tables.get("test"), found, fingerprint)


def _folder(recipe: Recipe, number: int, run: Path, workers: int, progress: Progress) -> Path:
    """The data set of a part; an export is built into the run's folder."""
    part = recipe.data[number]
    if part.folder is not None:
        return part.folder.absolute()
    assert part.export is not None
    folder = (run / "data" / str(number)).absolute()
    if not (folder / MANIFEST).is_file() or (folder / "work").is_dir():
        settings = BuildSettings(  # questions stay as they were asked
            sources={"folder": part.export.absolute()}, choice_share=0.0, seed=recipe.seed,
            max_quarantined=recipe.rows.quarantine_share,
        )  # fmt: skip
        try:
            build(folder, settings, LocalWorkers(workers), progress)
        except DataError as fault:  # its advice is for the options of 'data build'
            listed = folder / "work" / QUARANTINE
            raise DataError(
                fault.what, found=fault.found, allowed=fault.allowed,
                next_step=f"mend {part.export} and start again, or allow more with rows.quarantine_share"
                + (f"; all are listed in {listed}" if listed.is_file() else ""),
            ) from fault  # fmt: skip
    return folder


def _data_print(folder: Path) -> str:
    for name in (MANIFEST, "records.jsonl"):
        if (folder / name).is_file():
            return file_digest(folder / name)
    raise DataError(f"{folder} is not a finished data set", next_step="build it with 'healthgpt data build'")


def _key(recipe: Recipe, beginning: Beginning, data: str, split: Split) -> str:
    """Hash over everything the rows of a split depend on."""
    config = beginning.config
    codec = sorted(pair for pair in config.hashes.items() if pair[0].startswith("vqgan/"))
    content = [
        data, recipe.rows.model_dump(), recipe.seed, recipe.stage, split, fingerprint_of(config, "tokenizer"), codec,
        config.template, config.preprocessing.model_dump(), config.codec_preprocessing.model_dump(), config.text_size,
        fingerprint_of(config, "vision tower"),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def _codes(folder: Path, beginning: Beginning, device: torch.device, progress: Progress) -> dict[str, np.ndarray]:
    """VQ indices of a data set's targets by image name, encoded first where they are not yet."""
    codec = load_codec(beginning.folder / "vqgan").to(device)
    wanted = beginning.config.codec_preprocessing
    made = {one.codec: one for one in encoded_with(folder)}.get(codec_hash(codec))
    if made is None:
        encode_targets(
            folder,
            codec,
            wanted,
            skip_unreadable=True,
            progress=lambda count: progress("encoding targets", count, count),
        )
    elif made.preprocessing != wanted:
        raise DataError(
            f"the targets in {folder} were brought to the codec's size otherwise", found=str(made.preprocessing),
            allowed=str(wanted), next_step=f"remove {folder / 'codes' / made.codec} and start again",
        )  # fmt: skip
    return dict(codes_of(folder, codec))

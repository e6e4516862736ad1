"""What a build was asked to do: saved with the data set, and compared before a killed build goes on."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from healthgpt.data.mixture import Mixture, read_strictly
from healthgpt.data.scans import ScanSettings

SplitPolicy = Literal["clean", "published", "disjoint"]
"""``clean``: as published, but training rows that share an image, a patient or a near-duplicate with held-out rows
are withheld. ``published``: as published, leaks and all, to reproduce figures from the literature. ``disjoint``: drawn
afresh by groups of linked images."""


def load_scan_settings(path: Path) -> ScanSettings:
    """How scans are cut, from a YAML file; ``RecipeError`` lists everything that is wrong with it."""
    return read_strictly(path, ScanSettings, "a file of scan settings")


class BuildSettings(BaseModel):
    """``sources``: name to the folder of its original download. ``words_only``: sources whose images are not at hand.

    ``choice_share``: of the open questions that can have distractors, how many become single-choice, in [0, 1].
    ``max_quarantined``: share of malformed rows of one source beyond which the build stops, in [0, 1].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: dict[str, Path]
    words_only: tuple[str, ...] = ()
    images: Literal["files", "embed"] = "files"
    splits: SplitPolicy = "clean"
    choice_share: float = Field(0.5, ge=0, le=1)
    max_quarantined: float = Field(0.01, ge=0, le=1)
    seed: int = Field(0, ge=0)
    scans: ScanSettings = ScanSettings()
    mixture: Mixture | None = None

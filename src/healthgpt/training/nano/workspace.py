"""The folder of a run: where each part's result lies, and which parts are done.

RUN/recipe.json        the resolved recipe
RUN/data/              the data folder
RUN/parts/NAME/        journal.jsonl, checkpoint.pt while running; trained.safetensors and done.json after
RUN/model/             the finished model folder
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from healthgpt.errors import RecipeError
from healthgpt.training.nano.loop import load_tensors, save_whole
from healthgpt.training.nano.recipe import Recipe


@dataclass(frozen=True)
class Workspace:
    """A run's folder with its recipe. ``packs``: folder of real data packs, None where there is none."""

    root: Path
    recipe: Recipe
    packs: Path | None
    device: str = "cpu"
    threads: int = 1

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def model(self) -> Path:
        return self.root / "model"

    def part(self, name: str) -> Path:
        """Folder of one part."""
        return self.root / "parts" / name

    def is_done(self, name: str) -> bool:
        return (self.part(name) / "done.json").is_file()

    def finish(self, name: str, **facts: Any) -> None:
        """Mark a part as done; its results must already be on disk."""
        path = self.part(name) / "done.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"finished": time.strftime("%Y-%m-%d %H:%M:%S"), **facts}) + "\n", encoding="utf-8")

    def facts(self, name: str) -> dict[str, Any]:
        """What a finished part noted when it was done."""
        content: dict[str, Any] = json.loads((self.part(name) / "done.json").read_text(encoding="utf-8"))
        return content

    def digest(self, name: str) -> str:
        """SHA-256 of what a finished part trained, to tell whether a later part was made from it."""
        return hashlib.sha256((self.part(name) / "trained.safetensors").read_bytes()).hexdigest()

    def keep(self, name: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Write what a part trained."""
        save_whole(self.part(name) / "trained.safetensors", tensors)

    def trained(self, name: str) -> dict[str, torch.Tensor]:
        """What a finished part trained; ``RecipeError`` names the part when it has not run."""
        path = self.part(name) / "trained.safetensors"
        if not self.is_done(name) or not path.is_file():
            raise RecipeError(f"part '{name}' of this run is not finished", next_step=f"run it first: {self.root}")
        return load_tensors(path)

    def settle_recipe(self) -> None:
        """Save the resolved recipe, or refuse a folder that belongs to another one."""
        path = self.root / "recipe.json"
        text = self.recipe.model_dump_json(indent=2) + "\n"
        if path.is_file() and path.read_text(encoding="utf-8") != text:
            raise RecipeError(
                f"{self.root} holds a run of another recipe", next_step="choose another --output, or remove that folder"
            )
        self.root.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

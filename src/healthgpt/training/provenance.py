"""What a run was: recipe, data, weights, packages, seed and hardware, in RUN/run.json and beside the finished model."""

import hashlib
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from healthgpt.errors import RecipeError
from healthgpt.training.recipe import Recipe
from healthgpt.version import VERSION

RUN = "run.json"
PACKAGES = ("torch", "transformers", "accelerate", "safetensors", "tokenizers", "numpy", "pyarrow", "pillow")


class Provenance(BaseModel):
    """``data``: fingerprint of the data sets; ``start``: of the weights a run began with, from the folder
    ``started_from``; ``processes``: how many there were when it began."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: Recipe
    data: str
    start: str
    started_from: str
    versions: dict[str, str]
    hardware: dict[str, str]
    processes: int

    @property
    def fingerprint(self) -> str:
        """What must be the same for a run to go on: recipe, data and starting weights."""
        content = json.dumps([self.recipe.model_dump(mode="json"), self.data, self.start], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Of this package and those whose change may change a run."""
    found = {"healthgpt": VERSION, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def hardware_here() -> dict[str, str]:
    """Processor, cores, memory, and the GPUs this process sees."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    found = {
        "cpu": cpu, "cores": str(os.cpu_count()), "threads": str(torch.get_num_threads()),
        "memory": f"{psutil.virtual_memory().total / 1e9:.0f} GB",
    }  # fmt: skip
    for number in range(torch.cuda.device_count()):
        found[f"gpu {number}"] = torch.cuda.get_device_name(number)
    return found


def settle_run(run: Path, provenance: Provenance) -> list[str]:
    """Save what a run is, or compare it with what is there; returns notes on packages that have changed since.

    ``RecipeError`` for a folder that holds a run of another recipe, data or start, with both fingerprints.
    """
    path = run / RUN
    if not path.is_file():
        run.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(provenance.model_dump_json(indent=2) + "\n", encoding="utf-8")
        partial.replace(path)
        return []
    before = read_run(run)
    if before.fingerprint != provenance.fingerprint:
        raise _other(run, before, provenance)
    return [
        f"{name} was {old} when this run began and is {provenance.versions[name]}: its bits may differ"
        for name, old in before.versions.items()
        if provenance.versions.get(name, old) != old
    ]


def refuse_other_recipe(run: Path, recipe: Recipe) -> None:
    """``RecipeError`` when the folder holds a run of another recipe; told before anything is written there."""
    if (run / RUN).is_file():
        before = read_run(run)
        if before.recipe != recipe:
            raise _other(run, before, before.model_copy(update={"recipe": recipe}))


def _other(run: Path, then: Provenance, now: Provenance) -> RecipeError:
    """What differs, with both fingerprints."""
    parts = [
        f"{what} {getattr(then, what)} then, {getattr(now, what)} now"
        for what in ("data", "start")
        if getattr(then, what) != getattr(now, what)
    ]
    parts += [f"{place}: {old} then, {new} now" for place, old, new in _changed(then.recipe, now.recipe)]
    return RecipeError(
        f"{run} holds another run", found=f"fingerprint {then.fingerprint}; {'; '.join(parts)}",
        allowed=f"fingerprint {now.fingerprint}", next_step="choose another --output, or remove that folder",
    )  # fmt: skip


def _changed(then: Recipe, now: Recipe) -> list[tuple[str, object, object]]:
    before, after = _flat(then.model_dump(mode="json")), _flat(now.model_dump(mode="json"))
    return [(place, before.get(place), after.get(place)) for place in {**before, **after}
            if before.get(place) != after.get(place)]  # fmt: skip


def _flat(value: object, place: str = "") -> dict[str, object]:
    if isinstance(value, dict):
        return {key: one for name, inner in value.items() for key, one in _flat(inner, f"{place}.{name}").items()}
    return {place.lstrip("."): value}


def read_run(run: Path) -> Provenance:
    """What the run in a folder is; ``RecipeError`` when the file is damaged."""
    path = run / RUN
    try:
        return Provenance.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError) as fault:
        raise RecipeError(f"{path} is damaged", found=str(fault).splitlines()[0]) from fault

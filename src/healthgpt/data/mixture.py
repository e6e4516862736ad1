"""A mixture of sources with exact counts: which records a stage is trained on (HealthGPT, section 4 and Table 7).

A part takes the records of some sources, tasks or kinds and wants so many of them; which ones is decided by a hash of
seed and id, so the same data gives the same choice in any order of reading.
"""

from pathlib import Path
from typing import Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from healthgpt.errors import RecipeError, closest
from healthgpt.sources.catalog import SOURCES
from healthgpt.tasks import TASKS

Model = TypeVar("Model", bound=BaseModel)
MIXTURES = Path(__file__).parent.parent / "recipes" / "mixtures"


class MixturePart(BaseModel):
    """``count`` records (all of them when None) that come from one of ``sources`` and, where given, have one of
    ``tasks``, one of ``kinds`` and the family. The first part that matches a record has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: tuple[str, ...]
    count: int | None = Field(None, ge=1)
    family: Literal["comprehension", "generation"] | None = None
    tasks: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


class Mixture(BaseModel):
    """The training records of a stage. Held-out records are not mixed: a data set keeps them all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    stage: str = ""
    reconstruct: tuple[str, ...] = ()
    """Sources whose images become reconstruction records too (stage 1 rewrites captions' images so)."""
    parts: tuple[MixturePart, ...]

    @model_validator(mode="after")
    def _can_be_made(self) -> "Mixture":
        if not self.parts:
            raise ValueError("a mixture needs at least one part")
        problems = [
            f"unknown {what} '{name}', {closest(name, list(known))}"
            for what, known, names in (
                ("source", SOURCES, [name for part in self.parts for name in part.sources] + [*self.reconstruct]),
                ("task", TASKS, [name for part in self.parts for name in part.tasks]),
            )
            for name in dict.fromkeys(names)
            if name not in known
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self


def mixture_names() -> list[str]:
    """Names of the mixtures that come with the package."""
    return sorted(path.stem for path in MIXTURES.glob("*.yaml"))


def load_mixture(name_or_file: str) -> Mixture:
    """A mixture by name or from a YAML file; ``RecipeError`` lists everything that is wrong with it."""
    path = Path(name_or_file)
    if path.suffix not in (".yaml", ".yml"):
        if name_or_file not in mixture_names():
            raise RecipeError(
                f"no mixture '{name_or_file}'",
                allowed=", ".join(mixture_names()) + " or a .yaml file",
                next_step=closest(name_or_file, mixture_names()),
            )
        path = MIXTURES / f"{name_or_file}.yaml"
    return read_strictly(path, Mixture, "a mixture")


def read_strictly(path: Path, kind: type[Model], what: str) -> Model:
    """A YAML file as a typed model; ``RecipeError`` lists all its problems at once."""
    try:
        return kind.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as fault:
        raise RecipeError(f"{path} cannot be read", found=str(fault.strerror)) from fault
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise RecipeError(f"{path} is not YAML", found=str(fault)) from fault
    except ValidationError as fault:
        problems = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in fault.errors())
        raise RecipeError(
            f"{path} is not {what}", found=problems, allowed=", ".join(kind.model_fields), next_step="mend the file"
        ) from fault

"""Recipes as files: listing, copying and reading. Every problem of a file is told at once, before anything loads."""

import copy
import shutil
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from healthgpt.errors import OutputError, RecipeError, closest
from healthgpt.training.recipe import Recipe
from healthgpt.training.recipe_checks import missing_files, problems_of

RECIPES = Path(__file__).parents[1] / "recipes"
FROM_NOTHING = "nano"
"""The recipe with a schema of its own: all parts of nano from nothing (training/nano/recipe.py)."""
MIXTURES = "mixtures"
FILLED = {
    "name": "recipe", "variant": "nano", "stage": "finetune-comprehension", "start": {"model": "nano"},
    "data": [{"folder": "."}], "optimisation": {"learning_rate": 1.0, "global_batch": 1, "micro_batch": 1, "steps": 1},
}  # fmt: skip
"""Stands in for what is missing or malformed while the rest is checked."""
DECISIVE = {"variant", "stage"}
"""What the other blocks are checked against: where one of these is wrong, nothing can be said of how they fit."""


def recipe_names() -> list[str]:
    """Names of the bundled recipes: ``nano``, and ``VARIANT-STAGE`` of each variant's folder."""
    files = [path for path in sorted(RECIPES.glob("*/*.yaml")) if path.parent.name != MIXTURES]
    return [FROM_NOTHING, *(f"{path.parent.name}-{path.stem}" for path in files)]


def recipe_path(name: str) -> Path:
    """A bundled recipe by name, or a file by path; ``RecipeError`` with the closest name when there is none."""
    if name in recipe_names():
        variant, _, stage = name.partition("-")
        return RECIPES / variant / f"{stage}.yaml" if stage else RECIPES / f"{name}.yaml"
    if Path(name).is_file():
        return Path(name)
    raise RecipeError(
        f"no recipe '{name}'", allowed="a name that 'healthgpt recipes' lists, or a YAML file",
        next_step=closest(name, recipe_names()),
    )  # fmt: skip


def copy_recipe(name: str, file: Path) -> None:
    """Write a bundled recipe to ``file`` for editing; ``OutputError`` when something is there already."""
    source = recipe_path(name)
    if file.exists():
        raise OutputError(f"{file} is there already", next_step="choose another name")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, file)
    except OSError as fault:
        raise OutputError(f"cannot write {file}", found=str(fault.strerror)) from fault


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; ``RecipeError`` when it is none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise RecipeError(f"{path} is not YAML", found=" ".join(str(fault).split())) from fault
    except OSError as fault:
        raise RecipeError(f"{path} cannot be read", found=str(fault.strerror)) from fault
    if not isinstance(content, dict):
        raise RecipeError(f"{path} is not a recipe", found=type(content).__name__, allowed="a mapping of settings")
    return content


def load_recipe(path: Path, changes: dict[str, Any] | None = None, *, on_this_disk: bool = True) -> Recipe:
    """The recipe in a file, ``changes`` (key paths to values) laid over it.

    ``on_this_disk``: data and weights it names must be there. Raises ``RecipeError`` that lists every problem at once.
    """
    content = read_yaml(path)
    for place, value in (changes or {}).items():
        _put(content, place.split("."), value)
    problems: list[str] = []
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as fault:
        problems = [_told(error) for error in fault.errors()]
        recipe = _without(content, fault.errors())
        faulty = {str(error["loc"][0]) for error in fault.errors() if error["loc"]}
    else:
        faulty = set()
    found = [] if faulty & DECISIVE else problems_of(recipe) + (missing_files(recipe) if on_this_disk else [])
    problems += [problem for problem in found if problem.split(":")[0].split(".")[0] not in faulty]
    if problems:
        raise RecipeError(
            f"{path} has {len(problems)} problem{'s' * (len(problems) > 1)}", found=" | ".join(problems),
            next_step=_advice(path, changes),
        )  # fmt: skip
    return recipe


def _advice(path: Path, changes: dict[str, Any] | None) -> str:
    """Where to mend: the command line, a file of the caller's, or a copy of a bundled one."""
    if changes:
        return f"check {', '.join(f'--{block}' for block in changes)}, or the file"
    if path.parent.parent != RECIPES:
        return "mend them in the file"
    return f"copy it and mend them: healthgpt recipes copy {path.parent.name}-{path.stem} FILE"


def _put(content: dict[str, Any], place: list[str], value: Any) -> None:
    for key in place[:-1]:
        content = content.setdefault(key, {})
    content[place[-1]] = value


def _told(error: ErrorDetails) -> str:
    """One line of pydantic's list, with the closest key for one that is not known."""
    place = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        known = _keys_at([key for key in error["loc"][:-1] if isinstance(key, str)])
        return f"{place}: unknown key, {closest(str(error['loc'][-1]), known)}"
    if error["type"] == "missing":
        return f"{place}: missing"
    return f"{place}: {error['msg']}, found {error['input']!r}"


def _keys_at(place: list[str]) -> list[str]:
    """The keys a recipe may have at a place, told by its schema."""
    schema: type[BaseModel] = Recipe
    for key in place:
        annotation = schema.model_fields[key].annotation
        inner = [annotation, *get_args(annotation)]
        schema = next(one for one in inner if isinstance(one, type) and issubclass(one, BaseModel))
    return list(schema.model_fields)


def _without(content: dict[str, Any], errors: list[ErrorDetails]) -> Recipe:
    """The recipe with its faulty blocks filled in, so that the others can be checked together all the same."""
    mended = copy.deepcopy(content)
    for error in errors:
        block = str(error["loc"][0])
        mended.pop(block, None)
        if block in FILLED:
            mended[block] = FILLED[block]
    return Recipe.model_validate(mended)

"""Writes ``docs/reference/recipe.md`` from the recipe's schema: ``python docs/make_recipe_reference.py``.

A test runs this and compares, so the page cannot fall behind the program.
"""

import re
import types
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from healthgpt.training.recipe import Recipe
from healthgpt.training.stages import STAGES

PAGE = Path(__file__).parent / "reference" / "recipe.md"
INTRODUCTION = """# A training recipe, key by key

Written by `python docs/make_recipe_reference.py`; do not edit. How to use one: [train](../how-to/train.md).

One YAML file, one stage. Unknown keys are refused, with the closest one that exists; what has no default is required.
"""


def reference() -> str:
    """The whole page."""
    parts = [INTRODUCTION, *_blocks(Recipe, "A recipe")]
    lines = ["## The stages", "", "| stage | what | trains | needs |", "| --- | --- | --- | --- |"]
    for name, stage in STAGES.items():
        lines.append(f"| `{name}` | {stage.title} | {', '.join(stage.trains)} | {', '.join(stage.needs)} |")
    return "\n".join([*parts, *lines]) + "\n"


def _blocks(schema: type[BaseModel], title: str) -> list[str]:
    """A block's table, then those of the blocks in it."""
    lines = [
        f"## {title}",
        "",
        _plain(schema.__doc__ or ""),
        "",
        "| key | values | default | |",
        "| --- | --- | --- | --- |",
    ]
    inner: list[str] = []
    for name, field in schema.model_fields.items():
        block = _block_in(field.annotation)
        if block is not None:
            inner += _blocks(block, f"`{name}`")
        kind = "see below" if block is not None else _values(field.annotation, field)
        lines.append(f"| `{name}` | {kind} | {_default(field, block)} | {_plain(field.description or '')} |")
    return [*lines, "", *inner]


def _block_in(annotation: Any) -> type[BaseModel] | None:
    """The block an annotation holds, by itself, in a list, or as an option."""
    for one in (annotation, *get_args(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None


def _values(annotation: Any, field: FieldInfo | None = None) -> str:
    """What a value may be, in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in inner)
    if origin is Annotated:
        return _values(inner[0])
    if origin in (types.UnionType, tuple):
        return " or ".join(_values(one) for one in inner if one not in (type(None), Ellipsis))
    words = {int: "whole number", float: "number", str: "text", bool: "`true`, `false`", Path: "path"}
    bounds = ", ".join(_bound(one) for one in (field.metadata if field is not None else []) if _bound(one))
    return words.get(annotation, str(annotation)) + (f" {bounds}" if bounds else "")


def _bound(constraint: Any) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    found = [f"{sign} {getattr(constraint, name)}" for name, sign in signs.items() if hasattr(constraint, name)]
    return found[0] if found else ""


def _default(field: FieldInfo, block: type[BaseModel] | None) -> str:
    if field.is_required():
        return "required"
    if block is not None or field.default in (None, (), ""):
        return ""
    value = field.default
    return ", ".join(f"`{one}`" for one in value) if isinstance(value, tuple) else f"`{str(value).lower()}`"


def _plain(text: str) -> str:
    return re.sub(r"``(.*?)``", r"`\1`", " ".join(text.split()))


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")

"""The documents against the program: the reference is current, and commands and links in the pages exist."""

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.main import get_command

from healthgpt.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands() -> list[tuple[str, str]]:
    """Every ``healthgpt`` line of the pages' shell blocks, as (page, line)."""
    return [
        (_name(page), line.split("healthgpt ", 1)[1])
        for page in PAGES
        for body in blocks(page, "sh")
        for line in body.splitlines()
        if re.match(r"(\S*/)?healthgpt ", line)
    ]


def script(name: str) -> ModuleType:
    path = ROOT / "docs" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["make_reference", "make_recipe_reference"])
def test_reference_is_current(name: str) -> None:
    page = script(name)
    assert page.PAGE.read_text(encoding="utf-8") == page.reference(), f"run python docs/{name}.py"


@pytest.mark.parametrize(("page", "line"), commands())
def test_commands_in_pages_exist(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    command: Any = get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert not getattr(command, "commands", {}) or not words, f"{page}: no command '{words[0]}'"
    options = {name for one in command.params for name in [*one.opts, "--help", "--version"]}
    for word in words:
        if word.startswith("-") and not word.lstrip("-")[:1].isdigit():
            assert word.split("=")[0] in options, f"{page}: no option {word}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_python_in_pages_compiles(page: Path) -> None:
    for body in blocks(page, "python"):
        compile(body, str(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_in_pages_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not re.match(r"\w+:", target):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("target", ["run", "test", "test-all", "check"])
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)

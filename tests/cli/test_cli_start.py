"""Starting up: help and version come without torch, and the small commands work on a bare installation."""

import subprocess
import sys

import pytest
from fake_session import FakeSession

import healthgpt
from healthgpt.cli.main import main
from healthgpt.variants import VARIANTS
from healthgpt.version import VERSION

HEAVY = ("torch", "transformers", "numpy", "scipy", "PIL", "rich.console")
"""Not pydantic: typer itself imports it to parse options."""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["ask", "--help"], []])
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from healthgpt.cli.main import main\n"
        f"code = main({arguments!r})\n"
        f"print('HEAVY', sorted(set({HEAVY!r}) & set(sys.modules)))\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("HEAVY []\n")
    assert done.stderr == ""


def test_version(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"healthgpt {VERSION}\n"


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_help_says_research_use_only(arguments: list[str], capsys) -> None:
    assert main(arguments) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Research use only" in out
    for command in (
        "ask", "generate", "chat", "train", "recipes", "models", "plugins", "data", "doctor", "demo", "evaluate",
    ):  # fmt: skip
        assert f" {command} " in out


@pytest.mark.parametrize("arguments", [["models"], ["models", "list"]])
def test_models_list_names_every_variant(arguments: list[str], capsys) -> None:
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in VARIANTS)


def test_models_show_gives_the_dimensions(capsys) -> None:
    assert main(["models", "show", "m3"]) == 0
    assert "3072" in capsys.readouterr().out


def test_recipes_are_listed(capsys) -> None:
    assert main(["recipes"]) == 0
    assert "nano" in capsys.readouterr().out


def test_package_hands_out_the_session(fake_session: type[FakeSession]) -> None:
    assert healthgpt.HealthGPT is fake_session


def test_package_has_nothing_else() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Doctor'"):
        healthgpt.Doctor  # noqa: B018

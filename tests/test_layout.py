"""The house rules as tests: who may import whom, where imports stand, how long and how named files are."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "healthgpt"
TESTS = ROOT / "tests"
LONGEST = 420

TIERS: tuple[frozenset[str], ...] = (
    frozenset(
        {
            "version",
            "errors",
            "tasks",
            "variants",
            "record",
            "tokens",
            "batch",
            "torch_file",
            "torch_pickle",
            "whole_folder",
        }
    ),
    frozenset({"imaging"}),
    frozenset({"request", "result"}),
    frozenset({"phantoms"}),
    frozenset({"sources", "vision", "vq", "plugins", "backbone"}),
    frozenset({"data"}),
    frozenset({"model"}),
    frozenset({"inference"}),
    frozenset({"evaluation"}),
    frozenset({"training"}),
    frozenset({"serving"}),
    frozenset({"cluster"}),
    frozenset({"cli"}),
)
"""Data flows down this table: a name imports only from tiers above its own. The nouns (the first tier) may import
one another; folders that share a tier are siblings and never do. ``request`` and ``result`` stand below ``imaging``
because they carry and write images."""
NOUNS = TIERS[0]
TORCH_NOUNS = {"batch", "torch_file", "torch_pickle"}
NEVER = {("model", "vq")}
"""Arrows the order would allow and the design forbids: the language model knows codes as numbers only."""
DATA_FOLDERS = {"recipes", "weights"}
FORBIDDEN_WORDS = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers", "stuff"}
HEAVY = {"torch", "transformers", "tokenizers", "safetensors"}

SOURCE_FILES = sorted(PACKAGE.rglob("*.py"))
TEST_FILES = sorted(TESTS.rglob("*.py"))
DOCUMENTED = [*SOURCE_FILES, *TEST_FILES, *sorted((ROOT / "docs").rglob("*.py"))]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _unit(path: Path) -> str:
    """The folder under the package a file lies in, or its own name for files at the top."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def _tier(unit: str) -> int:
    for number, names in enumerate(TIERS):
        if unit in names:
            return number
    raise AssertionError(f"'{unit}' has no place in TIERS; add it where its data comes from")


def _imported(tree: ast.AST) -> list[str]:
    """Dotted names of every import statement, wherever it stands; ``from a import b`` gives ``a.b``."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: import by the full name, not relatively"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def allowed(importer: str, imported: str) -> bool:
    """Whether the unit ``importer`` may import from the unit ``imported``."""
    if (importer, imported) in NEVER:
        return False
    if importer == imported or (importer in NOUNS and imported in NOUNS):
        return True
    if {importer, imported} == {"request", "result"}:
        return False
    return _tier(imported) < _tier(importer)


def test_every_folder_has_a_place() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    placed = frozenset.union(*TIERS) | DATA_FOLDERS
    assert folders <= placed, f"give {sorted(folders - placed)} a place in TIERS"


@pytest.mark.parametrize(
    ("importer", "imported", "verdict"),
    [
        ("cli", "inference", True),
        ("inference", "cli", False),
        ("vq", "vision", False),
        ("model", "vq", False),
        ("model", "plugins", True),
        ("phantoms", "imaging", True),
        ("imaging", "phantoms", False),
        ("record", "tasks", True),
        ("errors", "imaging", False),
        ("result", "imaging", True),
    ],
)
def test_the_table_says_what_the_design_says(importer: str, imported: str, verdict: bool) -> None:
    assert allowed(importer, imported) is verdict


@pytest.mark.parametrize("path", SOURCE_FILES, ids=_name)
def test_imports_follow_the_arrows(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        pytest.skip("hands out the public name lazily")
    importer = _unit(path)
    for name in _imported(_tree(path)):
        parts = name.split(".")
        if parts[0] == "healthgpt" and len(parts) > 1:
            assert allowed(importer, parts[1]), f"{importer} must not import {name}"


@pytest.mark.parametrize("path", SOURCE_FILES, ids=_name)
def test_only_commands_import_inside_functions(path: Path) -> None:
    tree = _tree(path)
    if _unit(path) == "cli":
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inside = [one.lineno for one in ast.walk(node) if isinstance(one, ast.Import | ast.ImportFrom)]
            assert not inside, f"import inside {getattr(node, 'name', 'a lambda')} at line {inside[0]}"


@pytest.mark.parametrize(
    "path", [path for path in SOURCE_FILES if path.name == "__init__.py" and path.parent != PACKAGE], ids=_name
)
def test_folder_init_is_a_docstring_only(path: Path) -> None:
    tree = _tree(path)
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1, "code belongs in the files of the folder"


@pytest.mark.parametrize("path", DOCUMENTED, ids=_name)
def test_file_says_what_lives_there_and_stays_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "the first docstring says what lives in the file"
    lines = text.count("\n") + 1
    assert lines <= LONGEST, f"{lines} lines; split it by reason to exist"


@pytest.mark.parametrize("path", DOCUMENTED, ids=_name)
def test_name_says_something(path: Path) -> None:
    words = set(re.split(r"[_\W]+", path.stem.lower()))
    assert not words & FORBIDDEN_WORDS


def _is_torch(name: str) -> bool:
    return name.split(".")[0] in HEAVY


@pytest.mark.parametrize(
    "path", [PACKAGE / f"{noun}.py" for noun in sorted((NOUNS - TORCH_NOUNS) | {"request", "result"})], ids=_name
)
def test_nouns_do_without_torch(path: Path) -> None:
    assert not [name for name in _imported(_tree(path)) if _is_torch(name)]


def _is_project_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli").glob("*.py")), ids=_name)
def test_commands_start_without_torch(path: Path) -> None:
    top = ast.Module([node for node in _tree(path).body if _is_project_import(node)], [])
    assert not [name for name in _imported(top) if _is_torch(name)]


def test_tests_have_unique_names_and_no_init() -> None:
    names = Counter(path.name for path in TEST_FILES if path.name != "conftest.py")
    assert not [name for name, count in names.items() if count > 1]
    assert not list(TESTS.rglob("__init__.py"))


def test_test_folders_mirror_the_package() -> None:
    folders = {path.relative_to(TESTS) for path in TESTS.rglob("*") if path.is_dir() and path.name != "__pycache__"}
    strays = [str(folder) for folder in folders if not (PACKAGE / folder).is_dir()]
    assert not strays, f"no folder of the package is called {strays}"


def test_nothing_names_a_machine() -> None:
    """No absolute path of the machine a file was written on, in code, documents or settings."""
    machine_path = re.compile(r"(?<![\w.~])/(?:work|root|opt|mnt)/\w")
    texts = [*DOCUMENTED, *ROOT.glob("*.md"), *ROOT.glob("*.toml"), ROOT / "Makefile", ROOT / ".ci" / "run"]
    texts += [*(ROOT / "docs").rglob("*.md"), *PACKAGE.rglob("*.yaml"), *PACKAGE.rglob("*.json")]
    found = [_name(path) for path in texts if machine_path.search(path.read_text(encoding="utf-8"))]
    assert not found

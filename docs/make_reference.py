"""Writes ``docs/reference/cli.md`` from the commands themselves: ``python docs/make_reference.py``.

A test runs this and compares, so the page cannot fall behind the program.
"""

from pathlib import Path
from typing import Any

from typer.main import get_command

from healthgpt.cli.main import app

PAGE = Path(__file__).parent / "reference" / "cli.md"
INTRODUCTION = """# The command line

Written by `python docs/make_reference.py`; do not edit.

Results go to stdout; progress, notes and errors to stderr. `--json` prints exactly one JSON object:
for `ask` `task, model, answer, confidence, token_ids, seconds`; for `generate`
`task, model, output, codes, confidence, seconds, fitted`, where `codes` are the rows of VQ indices and `fitted` says
whether the picture was made to agree with its input's low frequencies (super-resolution).

| exit code | meaning |
| --- | --- |
| 0 | done |
| 2 | the input is wrong: one line `error: what; found ...; allowed: ...; next: ...` |
| 1 | a fault of the program: one line, and a traceback with `HEALTHGPT_DEBUG=1` |
| 130 | stopped by Ctrl-C |
"""


def reference() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for words, command in _commands(get_command(app), ("healthgpt",)):
        parts.append(_section(words, command))
    return "\n".join(parts)


def _commands(command: Any, words: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    """Every command with the words that call it, depth first, in the program's own order."""
    found = [(words, command)] if len(words) > 1 else []
    for name, inner in getattr(command, "commands", {}).items():
        found += _commands(inner, (*words, name))
    return found


def _section(words: tuple[str, ...], command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and "--help" not in one.opts]
    usage = " ".join([*words, *(_placeholder(one) for one in arguments)])
    inner = getattr(command, "commands", None)
    if inner:
        usage += f" [{'|'.join(inner)}]"
    lines = [f"## `{usage}`", "", (command.help or "").strip(), ""]
    if arguments or options:
        lines += ["| | | default |", "| --- | --- | --- |"]
    for one in arguments:
        lines.append(f"| `{one.metavar or one.name}` | {one.help} | |")
    for one in options:
        lines.append(f"| {', '.join(f'`{name}`' for name in one.opts)} | {one.help} | {_default(one)} |")
    return "\n".join(lines).rstrip() + "\n"


def _placeholder(argument: Any) -> str:
    name = argument.metavar or argument.name
    return name if argument.required else f"[{name}]"


def _default(option: Any) -> str:
    if option.required:
        return "required"
    flag = isinstance(option.default, bool)
    return "" if flag or option.default is None else f"`{option.default}`"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(reference(), encoding="utf-8")

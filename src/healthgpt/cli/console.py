"""What the command line prints and where: results on stdout; progress, notes and the one error line on stderr."""

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from healthgpt.errors import HealthGPTError

RESEARCH_ONLY = "Research use only: not a medical device, not for diagnosis or treatment."
DEBUG_VARIABLE = "HEALTHGPT_DEBUG"
STOPPED = 130
"""Exit code after Ctrl-C, as shells report it."""


NOISY = ("torchao", "torch.utils._pytree", "bitsandbytes")
"""Loggers that report, as soon as transformers finds the library, kernels for hardware that is not here."""


def quiet_libraries() -> None:
    """Of these only errors are shown."""
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)


def note(text: str) -> None:
    """One line on stderr."""
    print(text, file=sys.stderr, flush=True)


def research_note() -> None:
    """The line that follows every answer and drawing."""
    note(RESEARCH_ONLY)


def print_json(fields: dict[str, Any]) -> None:
    """Exactly one JSON object, on one line of stdout."""
    print(json.dumps(fields, ensure_ascii=False))


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """A readable table on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


@contextmanager
def working(what: str) -> Iterator[None]:
    """A spinner on stderr while something of unknown length runs; silent when stderr is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


def tell_fault(fault: BaseException, usage: str = "", found: str = "") -> int:
    """Print one ``error:`` line for a fault and return the exit code it ends with.

    A ``HealthGPTError`` carries its own code; typer's usage errors are the caller's (2); anything else is ours (1).
    For a usage error, ``usage`` is the command whose ``--help`` it points to and ``found`` the value typed, if known.
    """
    if os.environ.get(DEBUG_VARIABLE) == "1":
        traceback.print_exception(fault)
    if isinstance(fault, HealthGPTError):
        note(f"error: {fault.line()}")
        return fault.exit_code
    # Typer's own exceptions moved between its releases; all of them carry these two attributes.
    describe = getattr(fault, "format_message", None)
    if describe is not None:
        message = " ".join(describe().split()).rstrip(".")
        message = f"{message}; found '{found}'" if found else message
        note(f"error: {message}; next: {usage or 'healthgpt'} --help")
        return int(getattr(fault, "exit_code", 2))
    what = " ".join(f"{type(fault).__name__}: {fault}".split())
    note(
        f"error: internal fault, not yours ({what}); next: run again with {DEBUG_VARIABLE}=1 "
        "and report the traceback in the project's issue tracker"
    )
    return 1

"""A folder that a command writes: it appears whole or not at all, and one command at a time changes it."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from healthgpt.errors import HealthGPTError, OutputError


def check_vacant(folder: Path) -> None:
    """``OutputError`` unless there is nothing at that path, or an empty folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} is there already", next_step="choose another folder, or remove it first")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder`` to write into; it takes its place when all went well and is removed when not."""
    check_vacant(folder)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
    except OSError as fault:
        raise OutputError(f"cannot make the folder {partial}", found=str(fault.strerror)) from fault
    try:
        yield partial
        if folder.exists():
            folder.rmdir()
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def held_alone(folder: Path, busy: HealthGPTError) -> Iterator[None]:
    """This process alone has the folder inside; raises ``busy`` while another has it.

    The system gives the folder free when the process ends, however it ends. A folder that is not there is let pass:
    whoever reads it says so.
    """
    if not folder.is_dir():
        yield
        return
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            raise busy from fault
        yield
    finally:
        os.close(held)

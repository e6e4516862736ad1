"""A change of a model folder in place, whole or not at all.

    change.partial/    new files while they are written; thrown away when that stops
    change/            the same once all of it is there: renaming decides that the change happens

Then each file takes its place, ``config.json`` last, and what it no longer names is removed. Stopped before the
decision, the folder is as it was. Stopped after it, ``finish_change`` goes on with what is still in ``change``; until
then ``read_config`` refuses the folder and says which command to run again.
"""

import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from safetensors import SafetensorError

from healthgpt.errors import ModelError, OutputError
from healthgpt.model.checkpoint import CHANGE, HASHED, RECORD, ModelConfig, sha256_of
from healthgpt.whole_folder import held_alone

PARTIAL = "change.partial"
PACKAGE = Path(__file__).resolve().parents[1]


def check_changeable(folder: Path) -> None:
    """``ModelError`` for a model that ships inside the installed package."""
    if folder.resolve().is_relative_to(PACKAGE):
        raise ModelError(
            f"the model in {folder} belongs to the installed package and is not changed",
            next_step=f"copy it first: {shlex.join(['cp', '-r', str(folder), f'my-{folder.name}'])}",
        )


def alone(folder: Path) -> AbstractContextManager[None]:
    """Nobody else changes the model folder meanwhile; ``ModelError`` while somebody does."""
    return held_alone(
        folder,
        ModelError(
            f"another command is changing the model in {folder}", next_step="wait for its end and run this again"
        ),
    )


def change_folder(
    folder: Path,
    config: ModelConfig,
    write: Callable[[Path], None],
    superseded: Sequence[str],
    command: Sequence[str],
) -> None:
    """Give a model folder new files and the description that fits them.

    config: the new description; its hashes are those of the files that stay as they are. write: puts the new files
    under the folder it is given, by their place in the model folder. superseded: relative names of files to remove.
    command: what to run again should this stop in between. Only the new files are hashed.

    Raises ``OutputError`` when the disk refuses; the folder is then as it was, or says what to run again.
    """
    partial = folder / PARTIAL
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        write(partial)
        fresh = {path.relative_to(partial).as_posix(): sha256_of(path) for path in _files(partial)}
        kept = {name: digest for name, digest in config.hashes.items() if name not in superseded}
        complete = config.model_copy(update={"hashes": dict(sorted((kept | fresh).items(), key=_place))})
        (partial / "config.json").write_text(complete.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (partial / RECORD).write_text("\n".join([shlex.join(command), *superseded]) + "\n", encoding="utf-8")
        for path in _files(partial):
            shutil.copymode(folder / "config.json", path)  # whoever may read the model may read all of it
            _settle(path)
        os.replace(partial, folder / CHANGE)
    except (OSError, SafetensorError) as fault:
        raise OutputError(f"the model in {folder} cannot be changed", found=str(fault)) from fault
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    finish_change(folder)


def finish_change(folder: Path) -> bool:
    """Carry out a decided change, from wherever it stopped; whether there was one that had stopped halfway.

    Raises ``OutputError`` when the disk refuses, ``ModelError`` for a change that reaches outside the folder.
    """
    shutil.rmtree(folder / PARTIAL, ignore_errors=True)
    change = folder / CHANGE
    if not change.is_dir():
        return False
    described = change / "config.json"
    halfway = described.is_file()
    try:
        record = (change / RECORD).read_text(encoding="utf-8") if (change / RECORD).is_file() else ""
        if halfway:
            for path in _files(change):
                if path not in (described, change / RECORD):
                    os.replace(path, _inside(folder, path.relative_to(change).as_posix()))
            os.replace(described, folder / "config.json")
        for name in record.splitlines()[1:]:
            path = _inside(folder, name)
            path.unlink(missing_ok=True)
            if path.parent != folder and not any(path.parent.iterdir()):
                path.parent.rmdir()
        shutil.rmtree(change)
    except OSError as fault:
        raise OutputError(
            f"the change of {folder} stopped halfway", found=str(fault), next_step="run the same command again"
        ) from fault
    return halfway


def _inside(folder: Path, name: str) -> Path:
    """The place of a file in the folder, its own folder made; ``ModelError`` when it lies outside."""
    path = folder / name
    if not path.parent.resolve().is_relative_to(folder.resolve()) or path.name in ("", ".", ".."):
        raise ModelError(f"an unfinished change of {folder} reaches outside the folder", found=name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _place(entry: tuple[str, str]) -> tuple[int, Path]:
    """The order ``hash_files`` gives, so that a change taken back leaves the same description."""
    path = Path(entry[0])
    return (HASHED.index(path.parts[0]) if path.parts[0] in HASHED else len(HASHED)), path


def _settle(path: Path) -> None:
    """Have the file on the disk itself before anything is renamed."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())

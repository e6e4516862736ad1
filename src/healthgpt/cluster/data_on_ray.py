"""The pieces of a data build on the machines of a Ray cluster, as a Ray Data job: one piece a block, one block a task.

Ray Data schedules, streams results back as they get done, and does a piece again when its worker is lost. A piece
leaves its result on disk whole, so doing it twice does no harm. Every machine must see the data set's folder and the
originals under the same paths (NFS, Lustre, a mounted bucket), which each piece checks before it begins.
"""

import logging
import os
import pickle
import shutil
import socket
import subprocess
import sys
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import pyarrow as pa
import ray
import ray.data
from ray.exceptions import RayError

from healthgpt.errors import DataError
from healthgpt.version import VERSION

Item = TypeVar("Item")
ANSWER_SECONDS = 15
"""A cluster that has not answered by then counts as absent: Ray itself would go on trying for two minutes."""
LOCAL_STORE = 256 << 20
"""Bytes of shared memory of a Ray of our own: only orders and summaries pass through it, records go to disk."""
LARGEST_BLOCK = 1 << 20
"""Bytes. Ray Data expects of a task as much as this until it has seen one, and holds back tasks it has no room for."""
TRIES = 4
"""So often a piece is begun: Ray Data would go on for ever with one that always kills its worker."""
NOTES = "on-ray"
"""Folder in the shared one, while a step is done: ``token``, and a byte a try of every piece that is being done."""


@dataclass(frozen=True)
class Shared:
    """What a worker checks before a piece: ``token`` lies in ``folder``, ``paths`` are there, and ``version`` of this
    package is the same."""

    folder: Path
    token: str
    paths: tuple[Path, ...]
    version: str = VERSION

    def check(self) -> None:
        """``DataError`` with the machine's name when it sees other files than the one that began the build."""
        machine = socket.gethostname()
        advice = "mount it under the same path on every machine of the cluster"
        try:
            seen = (self.folder / NOTES / "token").read_text(encoding="utf-8") == self.token
        except OSError:
            seen = False
        if not seen:
            raise DataError(f"{machine} does not share the folder {self.folder}", next_step=advice)
        for path in self.paths:
            if not path.exists():
                raise DataError(f"{machine} does not see {path}", next_step=advice)
        if self.version != VERSION:
            raise DataError(
                f"{machine} has another version of healthgpt", found=VERSION, allowed=self.version,
                next_step="install the same version on every machine of the cluster",
            )  # fmt: skip

    @contextmanager
    def tried(self, number: int, item: object) -> Iterator[None]:
        """Counts a try of piece ``number`` until it is done; ``DataError`` after too many that were never done."""
        tries = self.folder / NOTES / str(number)
        with tries.open("ab") as stream:
            stream.write(b".")
        if tries.stat().st_size > TRIES:
            raise DataError(
                f"{TRIES} workers were lost over the same piece of the build", found=str(item)[:200],
                next_step="give the workers more memory, or leave that file out",
            )  # fmt: skip
        yield
        tries.unlink()


@dataclass(frozen=True)
class RayWorkers:
    """Workers of the Ray cluster at ``address``: ``auto`` (the one this machine belongs to), ``local`` (started here,
    ended with this process) or ``host:port``. A process that is connected to Ray already stays with that.

    ``shared``: existing folder that every machine must see, e.g. the build's own. ``originals``: what they read.
    """

    address: str
    shared: Path
    originals: tuple[Path, ...] = ()

    def each(self, work: Callable[[Item], dict[str, Any]], items: Sequence[Item]) -> Iterator[tuple[int, Any]]:
        """Do ``work`` for every item; yields (number of the item, result) as they get done, in any order.

        What ``work`` raises is raised here. ``DataError`` when the cluster cannot be used or loses its workers.
        """
        if not items:
            return
        connect(self.address)
        shared = Shared(self.shared.absolute(), uuid.uuid4().hex, self.originals)
        notes = shared.folder / NOTES
        shutil.rmtree(notes, ignore_errors=True)
        notes.mkdir()
        (notes / "token").write_text(shared.token, encoding="utf-8")
        try:
            yield from _results(work, items, shared)
        except RayError as fault:
            raise DataError(
                "the Ray cluster could not do a piece of the build",
                found=_last_line(str(fault)),
                next_step="see that its machines have healthgpt and memory enough; then run the same command again, "
                "it goes on where it stopped",
            ) from fault
        finally:
            shutil.rmtree(notes, ignore_errors=True)


def _results(
    work: Callable[[Item], dict[str, Any]], items: Sequence[Item], shared: Shared
) -> Iterator[tuple[int, Any]]:
    # Pickled as Ray pickles everything between its own processes: nothing here was read from a file of others.
    rows = [{"number": number, "item": pickle.dumps(item)} for number, item in enumerate(items)]
    pieces = ray.data.from_items(rows, override_num_blocks=len(rows))
    done = pieces.map(partial(_done, work=work, shared=shared), num_cpus=1)
    done.context.enable_progress_bars = False
    done.context.print_on_execution_start = False
    done.context.target_max_block_size = LARGEST_BLOCK
    # Block by block and none ahead: a result is not kept back until the next one is there.
    for block in done.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow"):
        for row in cast(pa.Table, block).to_pylist():
            result, fault = pickle.loads(row["outcome"])
            if fault is not None:
                raise fault
            yield row["number"], result


def _done(row: dict[str, Any], work: Callable[[Any], dict[str, Any]], shared: Shared) -> dict[str, Any]:
    """One piece, on its worker. A fault is a result too: Ray would wrap it."""
    try:
        shared.check()
        item = pickle.loads(row["item"])
        with shared.tried(row["number"], item):
            outcome = pickle.dumps((work(item), None))
    except Exception as fault:
        fault.add_note(traceback.format_exc())
        outcome = pickle.dumps((None, fault))
    return {"number": row["number"], "outcome": outcome}


def connect(address: str) -> None:
    """Connect this process to Ray at ``address``; ``DataError`` within seconds when there is none that answers."""
    for handler in logging.getLogger("ray.data").handlers:
        # Its files in Ray's session folder keep everything.
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)
    if ray.is_initialized():
        return
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == "local":
        # A build must not tell anyone about itself; on a cluster that is its owner's to decide.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options |= {"include_dashboard": False, "object_store_memory": LOCAL_STORE}
    else:
        _check_answers(address)
    try:
        ray.init(address, **options)
    except (OSError, RuntimeError, ValueError, RayError) as fault:
        raise _unusable(address, str(fault)) from fault


def _check_answers(address: str) -> None:
    """Ask Ray's own health check, which can be given up: ``ray.init`` cannot."""
    if address.startswith("ray://"):
        raise DataError(
            f"Ray Data does not run through a Ray client ({address})", allowed="auto, local or host:port",
            next_step="run the build on a machine of the cluster: "
            "ray job submit -- healthgpt data build FOLDER ... --ray auto",
        )  # fmt: skip
    host, _, port = address.rpartition(":")
    if address != "auto" and not (host and port.isdigit()):
        raise DataError(f"'{address}' is not the address of a Ray cluster", allowed="auto, local or host:port")
    if address != "auto":
        try:
            socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
        except (OSError, OverflowError) as fault:
            raise _unusable(address, str(fault)) from fault
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check"]
    command += [] if address == "auto" else ["--address", address]
    try:
        checked = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise _unusable(address, f"no answer within {ANSWER_SECONDS} s") from None
    if checked.returncode:
        raise _unusable(address, _last_line(checked.stderr))


def _unusable(address: str, found: str) -> DataError:
    return DataError(
        f"no Ray cluster can be used at '{address}'",
        found=_last_line(found),
        next_step="start one with 'ray start --head' and give its host:port, or use --ray local",
    )


def _last_line(text: str) -> str:
    """What went wrong, as the last line of a traceback says it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing said"

"""A file of a data set that appears whole or not at all, also when two workers write it at once.

That happens: a worker that a cluster has given up may still be writing what another was told to do again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def whole_file(path: Path, work: Path | None = None) -> Iterator[Path]:
    """A name to write to, which no other writer has; what is there becomes ``path`` when the block ends.

    ``work``: folder on the same disk for what a kill leaves unfinished; beside ``path`` where that is thrown away too.
    """
    partial = (work or path.parent) / f"{path.name}.{uuid4().hex}.partial"
    yield partial
    partial.replace(path)

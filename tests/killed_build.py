"""Builds that are killed at chosen moments, as a program of its own: DOWNLOADS ROOT MOMENT...

ROOT/MOMENT is begun and killed with SIGKILL just before (odd moments) or after (even) half of that many files have been
moved into place. Ends with 1 when a build was finished before its moment.
"""

import os
import signal
import sys
from pathlib import Path

from healthgpt.data.build import LocalWorkers, build
from healthgpt.data.settings import BuildSettings


def kill_at(moment: int) -> None:
    """From now on this process is killed when its time has come."""
    move, moved = Path.replace, 0

    def replace(self: Path, target: Path) -> Path:
        nonlocal moved
        moved += 1
        if 2 * moved - 1 == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        result = move(self, target)
        if 2 * moved == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    Path.replace = replace  # type: ignore[method-assign,assignment]


def main(downloads: Path, root: Path, moments: list[int]) -> int:
    """Begin and kill one build after another; nothing here has threads yet, so that forking is safe."""
    for moment in moments:
        child = os.fork()
        if child == 0:
            kill_at(moment)
            build(root / str(moment), BuildSettings(sources={"folder": downloads}, max_quarantined=0.1), LocalWorkers())
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), [int(one) for one in sys.argv[3:]]))

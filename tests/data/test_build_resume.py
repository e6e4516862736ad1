"""A build that is killed goes on to the same bytes, whenever that happens and however many workers go on with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from download_folder import files_of, write_downloads

from healthgpt.data.build import LocalWorkers, build
from healthgpt.data.settings import BuildSettings
from healthgpt.errors import OutputError

TESTS = Path(__file__).resolve().parents[1]
FILES = 3


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> BuildSettings:
    downloads = write_downloads(tmp_path_factory.mktemp("downloads") / "folder", files=FILES)
    with (downloads / "table1.csv").open("a", encoding="utf-8") as stream:
        stream.write("q9,picture1.png,,left,X-ray,train,organ\n")
    return BuildSettings(sources={"folder": downloads}, max_quarantined=0.1)


@pytest.fixture(scope="module")
def uninterrupted(settings: BuildSettings, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], int]:
    """Hash of every file, and how many files were moved into place on the way."""
    folder = tmp_path_factory.mktemp("one") / "set"
    moves = 0
    move = Path.replace

    def replace(self: Path, target: Path) -> Path:
        nonlocal moves
        moves += 1
        return move(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        build(folder, settings, LocalWorkers())
    return files_of(folder), moves


def test_two_workers_make_the_same_bytes_as_one(
    settings: BuildSettings, uninterrupted: tuple[dict[str, str], int], tmp_path: Path
) -> None:
    build(tmp_path / "set", settings, LocalWorkers(2))
    assert files_of(tmp_path / "set") == uninterrupted[0]


def test_a_killed_build_goes_on_to_the_same_bytes(
    settings: BuildSettings, uninterrupted: tuple[dict[str, str], int], tmp_path: Path
) -> None:
    expected, moves = uninterrupted
    # Twice a move, before and after: the first and the last ones, and some of those between.
    moments = sorted({1, 2, 3, 4, *range(5, 2 * moves - 8, 5), *range(2 * moves - 8, 2 * moves + 1)})
    command = [sys.executable, TESTS / "killed_build.py", settings.sources["folder"], tmp_path, *map(str, moments)]
    subprocess.run(command, check=True, timeout=120)
    for moment in moments:
        build(tmp_path / str(moment), settings, LocalWorkers())
        assert files_of(tmp_path / str(moment)) == expected, f"killed at moment {moment} of {2 * moves}"


def test_what_was_finished_is_not_done_again_with_other_settings(
    settings: BuildSettings, uninterrupted: tuple[dict[str, str], int], tmp_path: Path
) -> None:
    last = str(2 * uninterrupted[1])
    command = [sys.executable, TESTS / "killed_build.py", settings.sources["folder"], tmp_path, last]
    subprocess.run(command, check=True, timeout=60)
    with pytest.raises(OutputError, match="holds a finished data set"):
        build(tmp_path / last, settings.model_copy(update={"seed": 1}), LocalWorkers())
    assert files_of(tmp_path / last) == uninterrupted[0]


def test_workers_of_a_killed_build_end_with_it(settings: BuildSettings, tmp_path: Path) -> None:
    program = tmp_path / "waiting_build.py"
    program.write_text(
        "import os, sys, time\n"
        "from healthgpt.data.build import LocalWorkers\n"
        "def wait(item):\n"
        "    open(os.path.join(sys.argv[1], str(os.getpid())), 'w').close()\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    list(LocalWorkers(2).each(wait, [1, 2]))\n"
    )
    workers = tmp_path / "workers"
    workers.mkdir()
    parent = subprocess.Popen([sys.executable, program, workers])
    deadline = time.monotonic() + 50
    while len(list(workers.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    numbers = [int(path.name) for path in workers.iterdir()]
    assert len(numbers) == 2
    deadline = time.monotonic() + 10
    while any(map(_runs, numbers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_runs, numbers))


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    return not (status.is_file() and status.read_text().rpartition(")")[2].split()[0] == "Z")

"""The build on a local Ray of two workers: the same bytes, lost workers replaced, faults told as anywhere else."""

import builtins
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
from download_folder import files_of, write_downloads

from healthgpt.cli.main import main
from healthgpt.cluster.data_on_ray import NOTES, RayWorkers, Shared, connect
from healthgpt.data.build import LocalWorkers, Workers, build
from healthgpt.data.settings import BuildSettings
from healthgpt.errors import DataError, OutputError

# Ray Data sets its own deprecated options when it is first used.
pytestmark = pytest.mark.filterwarnings("ignore:`.*` is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def two_workers() -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    plain_print = builtins.print
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        object_store_memory=128 << 20,
    )  # fmt: skip
    # Workers do not find this file by its name.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    ray.shutdown()
    builtins.print = plain_print  # Ray puts its own in its place, and tests after these pickle it


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> BuildSettings:
    """Five small files with pictures, and the real VQA-RAD's words where they are at hand."""
    folder = tmp_path_factory.mktemp("downloads")
    sources = {"folder": write_downloads(folder / "folder", files=5)}
    real = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "vqa_rad"
    if real.is_dir():
        sources["vqa_rad"] = real
    return BuildSettings(sources=sources, words_only=tuple(name for name in sources if name == "vqa_rad"))


@pytest.fixture(scope="module")
def expected(settings: BuildSettings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hash of every file of the data set that one process builds."""
    folder = tmp_path_factory.mktemp("one") / "set"
    build(folder, settings, LocalWorkers())
    return files_of(folder)


class LosingWorkers:
    """Ray workers of which one is killed in every step, when it has done its piece and not yet said so."""

    def __init__(self, workers: Workers, notes: Path) -> None:
        self.workers, self.notes, self.steps = workers, notes, 0

    def each(self, work: Any, items: Any) -> Any:
        self.steps += 1
        return self.workers.each(partial(die_once, work=work, note=self.notes / f"died{self.steps}"), items)


def die_once(item: Any, work: Any, note: Path) -> dict[str, Any]:
    result = work(item)
    if not note.exists():
        note.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return result


def doubled(item: int) -> dict[str, Any]:
    return {"twice": 2 * item, "worker": os.getpid()}


def refuse_seven(item: int) -> dict[str, Any]:
    if item == 7:
        raise DataError("seven is not a number", found="7", next_step="leave it out")
    return doubled(item)


def always_die(item: str) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError(item)


def wait_long(item: int) -> dict[str, Any]:
    time.sleep(0 if item == 0 else 40)
    return doubled(item)


def test_the_data_set_is_the_same_to_the_byte(
    two_workers: None, settings: BuildSettings, expected: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    build(folder, settings, RayWorkers("local", folder / "work", tuple(settings.sources.values())))
    assert files_of(folder) == expected
    assert any(name.startswith("images/") for name in expected)


def test_a_lost_worker_is_replaced_and_nothing_differs(
    two_workers: None, settings: BuildSettings, expected: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    workers = LosingWorkers(RayWorkers("local", folder / "work"), tmp_path)
    build(folder, settings, workers)
    assert workers.steps == 2
    assert sorted(path.name for path in tmp_path.glob("died*")) == ["died1", "died2"]
    assert files_of(folder) == expected


def test_each_item_is_done_once_by_two_workers_and_no_marker_stays(two_workers: None, tmp_path: Path) -> None:
    results = dict(RayWorkers("local", tmp_path).each(doubled, range(40)))
    assert {number: result["twice"] for number, result in results.items()} == {one: 2 * one for one in range(40)}
    assert os.getpid() not in {result["worker"] for result in results.values()}
    assert not (tmp_path / NOTES).exists()
    assert list(RayWorkers("local", tmp_path).each(doubled, [])) == []


def test_a_fault_in_a_worker_comes_back_as_itself(two_workers: None, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="seven is not a number") as caught:
        list(RayWorkers("local", tmp_path).each(refuse_seven, range(10)))
    assert caught.value.next_step == "leave it out"
    assert caught.value.line().count("\n") == 0
    assert "refuse_seven" in caught.value.__notes__[0]


def test_a_piece_that_always_loses_its_worker_ends_the_build(two_workers: None, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="4 workers were lost over the same piece of the build; found piece one"):
        list(RayWorkers("local", tmp_path).each(always_die, ["piece one"]))


def test_results_come_before_the_last_piece_is_done_and_the_rest_can_be_left(two_workers: None, tmp_path: Path) -> None:
    results = RayWorkers("local", tmp_path).each(wait_long, range(4))
    assert next(results)[1]["twice"] == 0
    started = time.monotonic()
    results.close()
    assert time.monotonic() - started < 20
    assert not (tmp_path / NOTES).exists()


def test_a_worker_that_sees_another_folder_refuses(two_workers: None, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not share the folder"):
        Shared(tmp_path, "token", ()).check()
    (tmp_path / NOTES).mkdir()
    (tmp_path / NOTES / "token").write_text("another build's token")
    with pytest.raises(DataError, match=str(tmp_path)):
        Shared(tmp_path, "token", ()).check()
    (tmp_path / NOTES / "token").write_text("token")
    Shared(tmp_path, "token", (tmp_path,)).check()
    with pytest.raises(DataError, match="another version"):
        Shared(tmp_path, "token", (), version="0").check()
    with pytest.raises(DataError, match=r"does not see .*nowhere"):
        list(RayWorkers("local", tmp_path, (tmp_path / "nowhere",)).each(doubled, [1]))


def test_the_command_builds_on_ray_and_says_nothing_of_it(
    two_workers: None, settings: BuildSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["data", "build", str(tmp_path / "set"), "--source", f"folder={settings.sources['folder']}"]
    assert main([*command, "--ray", "local"]) == 0
    assert (tmp_path / "set" / "manifest.json").is_file()
    told = capsys.readouterr().err
    assert "is finished" in told
    assert "dataset" not in told.lower()
    assert len(told.splitlines()) == 4


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no Ray cluster can be used at '127.0.0.1:1'.*refused; next: start one"),
        ("nonsense", "not the address of a Ray cluster; allowed: auto, local or host:port"),
        ("ray://127.0.0.1:10001", "ray job submit"),
    ],
)
def test_a_wrong_address_is_one_line(address: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(DataError, match=message):
        connect(address)


def test_a_port_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr("healthgpt.cluster.data_on_ray.ANSWER_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(DataError, match="no answer within 2 s"):
        connect(f"127.0.0.1:{silent.getsockname()[1]}")


def test_without_ray_the_command_says_what_to_install(
    settings: BuildSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "healthgpt.cluster.data_on_ray")
    monkeypatch.setitem(sys.modules, "ray", None)
    command = ["data", "build", str(tmp_path / "set"), "--source", f"folder={settings.sources['folder']}"]
    assert main([*command, "--ray", "auto"]) == 2
    assert "pip install 'healthgpt[cluster]'" in capsys.readouterr().err


def test_a_folder_with_something_in_it_is_refused_before_ray_is_asked(tmp_path: Path, settings: BuildSettings) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        build(tmp_path, settings, RayWorkers("127.0.0.1:1", tmp_path / "work"))

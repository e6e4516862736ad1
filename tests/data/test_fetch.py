"""Downloads of originals: taken up, checked, unpacked, written down; all against a server on this machine."""

import hashlib
import io
import json
import socket
import zipfile
from pathlib import Path

import pytest
from file_server import FileServer, file_server

from healthgpt.data import transfer
from healthgpt.data.fetch import changes, fetch, file_name, read_record
from healthgpt.errors import DataError, OutputError
from healthgpt.sources import mimic_cxr
from healthgpt.sources.base import Source
from healthgpt.sources.layout import Download, Published

PLAIN = bytes(range(256)) * 40_000
"""Large enough to be cut in the middle."""


def packed(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


ARCHIVE = packed({"images/1.png": b"one", "images/2.png": b"two"})


def source_of(*downloads: Download, access: str = "public") -> Source:
    published = Published((), lambda row, oddities: iter(()), (), "none", "nothing", access=access, downloads=downloads)
    return Source("tiny", "Tiny", "CC0", "https://example.org/tiny", "tiny_set", 0, 0, published)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSE", 0)


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def serve() -> "file_server":  # type: ignore[valid-type]
    return file_server({"plain.json": PLAIN, "deep/images.zip": ARCHIVE})


def plain(server: FileServer, **stated: object) -> Source:
    return source_of(Download(server.url("plain.json"), **stated))  # type: ignore[arg-type]


def test_files_and_archives_are_fetched_once(tmp_path: Path) -> None:
    with serve() as server:
        source = source_of(
            Download(server.url("plain.json"), folder="questions", size=len(PLAIN), md5=hashlib.md5(PLAIN).hexdigest()),
            Download(server.url("deep/images.zip"), folder="pictures", sha256=hashlib.sha256(ARCHIVE).hexdigest()),
        )
        told: list[tuple[str, int, int]] = []
        paths = fetch(source, tmp_path, lambda *step: told.append(step))
        folder = tmp_path / "tiny_set"
        assert paths == [folder / "questions" / "plain.json", folder / "pictures"]
        expected = {"questions/plain.json", "pictures/images/1.png", "pictures/images/2.png", "fetched.json"}
        assert names(folder) == expected
        assert paths[0].read_bytes() == PLAIN
        assert told[0][0] == "plain.json"
        assert ("plain.json", len(PLAIN), len(PLAIN)) in told
        assert ("images.zip (check)", len(ARCHIVE), len(ARCHIVE)) in told
        asked = len(server.asked)
        assert fetch(source, tmp_path) == paths
        assert len(server.asked) == asked
        record = read_record(folder)[server.url("deep/images.zip")]
        assert record["unpacked"] == {"images/1.png": 3, "images/2.png": 3}
        assert record["sha256"] == hashlib.sha256(ARCHIVE).hexdigest()
        assert changes(folder) == []


@pytest.mark.parametrize("cuts", [[1_000_000], [3_000_000, 2_000_000, 1], [0, 5_000_000, 0, 0, 0]])
def test_a_cut_line_is_taken_up(tmp_path: Path, cuts: list[int]) -> None:
    with serve() as server:
        server.cut["plain.json"] = list(cuts)
        fetch(plain(server), tmp_path)
        assert (tmp_path / "tiny_set" / "plain.json").read_bytes() == PLAIN
        assert server.sent["plain.json"] == len(PLAIN)
        assert len(server.asked) == len(cuts) + 1


def test_a_later_run_takes_up_what_an_earlier_one_left(tmp_path: Path) -> None:
    with serve() as server:
        server.cut["plain.json"] = [4_000_000] + [0] * 10
        with pytest.raises(DataError, match="4000000 bytes that are there are kept") as refusal:
            fetch(plain(server), tmp_path)
        assert "plain.json and run this again" in refusal.value.line()
        assert names(tmp_path / "tiny_set") == {"plain.json.partial", "plain.json.partial.version"}
        server.cut.clear()
        fetch(plain(server), tmp_path)
        assert server.asked[-1] == "bytes=4000000-"
        assert server.sent["plain.json"] == len(PLAIN)
        assert names(tmp_path / "tiny_set") == {"plain.json", "fetched.json"}


def test_parts_of_two_versions_are_not_joined(tmp_path: Path) -> None:
    with serve() as server:
        server.cut["plain.json"] = [4_000_000] + [0] * 10
        with pytest.raises(DataError):
            fetch(plain(server), tmp_path)
        server.cut.clear()
        server.files["plain.json"] = newer = PLAIN[::-1]
        fetch(plain(server), tmp_path)
        assert (tmp_path / "tiny_set" / "plain.json").read_bytes() == newer


def test_a_server_that_sends_whole_files_only(tmp_path: Path) -> None:
    with serve() as server:
        server.whole_only, server.cut["plain.json"] = True, [4_000_000]
        fetch(plain(server), tmp_path)
        assert (tmp_path / "tiny_set" / "plain.json").read_bytes() == PLAIN


@pytest.mark.parametrize("left", [len(PLAIN), len(PLAIN) + 9])
@pytest.mark.parametrize("stated", [{}, {"size": len(PLAIN)}])
def test_a_whole_or_overlong_partial_file(tmp_path: Path, left: int, stated: dict) -> None:
    (tmp_path / "tiny_set").mkdir()
    (tmp_path / "tiny_set" / "plain.json.partial").write_bytes((PLAIN + bytes(9))[:left])
    with serve() as server:
        fetch(plain(server, **stated), tmp_path)
        assert (tmp_path / "tiny_set" / "plain.json").read_bytes() == PLAIN
        assert server.sent["plain.json"] == (0 if left == len(PLAIN) else len(PLAIN))


def test_passing_faults_pass(tmp_path: Path) -> None:
    with serve() as server:
        server.status["plain.json"] = [503]
        fetch(plain(server), tmp_path)
        server.status["plain.json"] = [429] * 9
        with pytest.raises(DataError, match="429"):
            fetch(plain(server), tmp_path / "other")


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_refusals_name_the_page(tmp_path: Path, status: int) -> None:
    with serve() as server:
        server.status["plain.json"] = [status]
        with pytest.raises(DataError, match=rf"{status}.*example\.org/tiny"):
            fetch(plain(server), tmp_path)
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("stated", "found", "allowed"),
    [
        ({"size": len(PLAIN) + 1}, f"{len(PLAIN)} bytes", f"{len(PLAIN) + 1} bytes"),
        ({"size": 100}, "more than 100 bytes", "100 bytes"),
        ({"sha256": "0" * 64}, hashlib.sha256(PLAIN).hexdigest(), "0" * 64),
        ({"md5": "f" * 32}, hashlib.md5(PLAIN).hexdigest(), "f" * 32),
    ],
)
def test_another_file_than_published_is_named_and_dropped(
    tmp_path: Path, stated: dict, found: str, allowed: str
) -> None:
    with serve() as server, pytest.raises(DataError, match="not the file that was published") as refusal:
        fetch(plain(server, **stated), tmp_path)
    assert refusal.value.found.endswith(found)
    assert refusal.value.allowed.endswith(allowed)
    assert "https://example.org/tiny" in refusal.value.next_step
    assert names(tmp_path / "tiny_set") == set()


def test_without_a_network_says_what_to_do_by_hand(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/images.zip"
    source = source_of(Download(address))
    with pytest.raises(DataError) as refusal:
        fetch(source, tmp_path)
    assert address in refusal.value.what
    assert refusal.value.allowed == "a network"
    assert "images.zip and run this again" in refusal.value.next_step
    # Put there by hand, the archive is unpacked, and stays the person's.
    (tmp_path / "tiny_set" / "images.zip").write_bytes(ARCHIVE)
    assert fetch(source, tmp_path) == [tmp_path / "tiny_set"]
    assert names(tmp_path / "tiny_set") == {"images.zip", "images/1.png", "images/2.png", "fetched.json"}


def test_a_wrong_file_put_by_hand_is_kept_and_refused(tmp_path: Path) -> None:
    with serve() as server:
        (tmp_path / "tiny_set").mkdir()
        (tmp_path / "tiny_set" / "plain.json").write_bytes(b"{}")
        with pytest.raises(DataError, match=r"found 2 bytes.*remove"):
            fetch(plain(server, size=len(PLAIN)), tmp_path)
        assert (tmp_path / "tiny_set" / "plain.json").read_bytes() == b"{}"
        assert server.asked == []


def test_changes_here_are_noticed(tmp_path: Path) -> None:
    with serve() as server:
        source = source_of(Download(server.url("plain.json")), Download(server.url("deep/images.zip")))
        fetch(source, tmp_path)
        folder = tmp_path / "tiny_set"
        (folder / "plain.json").write_bytes(PLAIN[::-1])
        (folder / "images" / "1.png").unlink()
        (folder / "images" / "2.png").write_bytes(b"other size")
        assert [one.split(" is ")[0] for one in changes(folder)] == ["images/1.png", "images/2.png", "plain.json"]
        with pytest.raises(DataError, match="is not what was fetched"):
            fetch(source, tmp_path)
        (folder / "plain.json").unlink()
        with pytest.raises(DataError, match=r"2\.png is in the way"):
            fetch(source, tmp_path)
        (folder / "images" / "2.png").unlink()
        fetch(source, tmp_path)
        assert changes(folder) == []


def test_a_change_by_the_publisher_is_noticed(tmp_path: Path) -> None:
    with serve() as server:
        fetch(plain(server), tmp_path)
        folder = tmp_path / "tiny_set"
        (folder / "plain.json").unlink()
        server.files["plain.json"] = PLAIN[::-1]
        with pytest.raises(DataError, match="has changed since it was fetched"):
            fetch(plain(server), tmp_path)
        assert names(folder) == {"fetched.json"}
        (folder / "fetched.json").unlink()
        fetch(plain(server), tmp_path)


def test_a_hostile_archive_leaves_nothing(tmp_path: Path) -> None:
    hostile = packed({"fine.txt": b"x", "../../out.txt": b"bad"})
    with file_server({"images.zip": hostile}) as server, pytest.raises(DataError, match="cannot be unpacked"):
        fetch(source_of(Download(server.url("images.zip"))), tmp_path)
    assert not list(tmp_path.rglob("*.txt"))


def test_a_damaged_record_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "tiny_set"
    folder.mkdir()
    for text in ("{", "[]", '{"a": {}}', json.dumps({"a": {"file": "x", "folder": ".", "size": "1", "sha256": ""}})):
        (folder / "fetched.json").write_text(text)
        with pytest.raises(DataError, match="not a record"):
            read_record(folder)


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        free = 1_000

    monkeypatch.setattr(transfer, "disk_usage", lambda path: Full)
    with serve() as server, pytest.raises(OutputError, match="no room"):
        fetch(plain(server), tmp_path)


def test_credentialed_sources_say_how_to_apply(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"CITI.*physionet\.org/content/mimic-cxr-jpg"):
        fetch(mimic_cxr.SOURCE, tmp_path)
    with pytest.raises(DataError, match=r"https://example\.org/tiny"):
        fetch(source_of(), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["https://example.org/", "https://example.org/a/..", "https://example.org/%2e%2e", "x:"]
)
def test_addresses_without_a_file_are_refused(url: str) -> None:
    with pytest.raises(DataError, match="name of a file"):
        file_name(url)


def test_names_come_from_the_path_alone() -> None:
    assert file_name("https://zenodo.org/records/1/files/Task%201.zip?download=1") == "Task 1.zip"

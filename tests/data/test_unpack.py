"""Archives: whole or not at all, nothing outside the folder, nothing larger than it may be."""

import gzip
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthgpt.data import unpack as unpacking
from healthgpt.data.unpack import is_archive, unpack
from healthgpt.errors import DataError, HealthGPTError

FILES = {"set/a.txt": b"alpha", "set/deep/b.txt": b"beta" * 9, "top.json": b"{}"}


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def make(path: Path, files: dict[str, bytes]) -> Path:
    return (make_zip if path.suffix == ".zip" else make_tar)(path, files)


def held(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


ENDINGS = ("zip", "tar", "tar.gz", "tgz")


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_lie_below_the_folder_beside_what_was_there(tmp_path: Path, ending: str) -> None:
    archive = make(tmp_path / f"x.{ending}", FILES)
    folder = tmp_path / "into"
    (folder / "set").mkdir(parents=True)
    (folder / "set" / "mine.txt").write_bytes(b"mine")
    sizes = unpack(archive, folder)
    assert held(folder) == FILES | {"set/mine.txt": b"mine"}
    assert sizes == {name: len(content) for name, content in FILES.items()}
    assert unpack(archive, folder) == sizes
    assert archive.is_file()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "name", ["../out.txt", "/tmp/out.txt", "a/../../out.txt", "..\\out.txt", "\\out.txt", "C:\\out.txt", "C:/out.txt"]
)
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, ending: str, name: str) -> None:
    archive = make(tmp_path / f"x.{ending}", {"good.txt": b"good", name: b"bad"})
    folder = tmp_path / "a" / "into"
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack(archive, folder)
    assert held(tmp_path) == {archive.name: archive.read_bytes()}
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "../secret"
        archive.addfile(member)
    with pytest.raises(DataError, match="link or a device"):
        unpack(tmp_path / "x.tar", tmp_path / "into")
    assert held(tmp_path / "into") == {}


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        member = zipfile.ZipInfo("link")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "../secret")
    with pytest.raises(DataError, match="link or a device"):
        unpack(tmp_path / "x.zip", tmp_path / "into")


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a": b"alpha"})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="encrypted"):
        unpack(path, tmp_path / "into")


@pytest.mark.parametrize("ending", ENDINGS)
def test_bombs_are_refused_before_they_go_off(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "ALWAYS_ALLOWED", 1 << 10)
    monkeypatch.setattr(unpacking, "MOST_TIMES_LARGER", 0.01)
    archive = make(tmp_path / f"x.{ending}", {"a": os.urandom(900), "b": os.urandom(900)})
    with pytest.raises(DataError, match="declares more"):
        unpack(archive, tmp_path / "into")
    assert held(tmp_path / "into") == {}


def test_a_zip_bomb_is_refused_by_its_ratio(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", {"zeros": bytes(80 << 20)})
    with pytest.raises(DataError, match="declares more"):
        unpack(archive, tmp_path / "into")


def test_a_member_larger_than_declared_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a": b"alpha" * 100})
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02") + 24
    content[at : at + 4] = (5).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack(path, tmp_path / "into")
    assert held(tmp_path / "into") == {}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("files", [{"a": b"1", "a/b": b"2"}, {"a/b": b"2", "a": b"1"}])
def test_a_name_that_is_file_and_folder_is_refused(tmp_path: Path, ending: str, files: dict[str, bytes]) -> None:
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack(make(tmp_path / f"x.{ending}", files), tmp_path / "into")
    assert held(tmp_path / "into") == {}


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_in_the_way_is_kept_and_nothing_appears(tmp_path: Path, ending: str) -> None:
    archive = make(tmp_path / f"x.{ending}", FILES)
    folder = tmp_path / "into"
    folder.mkdir()
    (folder / "top.json").write_bytes(b"another")
    with pytest.raises(DataError, match=r"top\.json is in the way"):
        unpack(archive, folder)
    assert held(folder) == {"top.json": b"another"}


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", FILES)
    (tmp_path / "outside").mkdir()
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "set").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match="in the way"):
        unpack(archive, tmp_path / "into")
    assert held(tmp_path / "outside") == {}


def test_a_fault_of_the_disk_takes_back_what_was_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_zip(tmp_path / "x.zip", FILES)
    replace = os.replace

    def failing(source: Path, target: Path) -> None:
        if target.name == "top.json":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(HealthGPTError, match="No space left"):
        unpack(archive, tmp_path / "into")
    assert list((tmp_path / "into").iterdir()) == []


def test_clutter_is_left_out(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", {"__MACOSX/a/._b": b"1", "a/.DS_Store": b"2", "a/b": b"3"})
    assert unpack(archive, tmp_path / "into") == {"a/b": 1}


def test_names_with_backslashes_are_folders(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", {"set\\imgs\\": b"", "set\\imgs\\a.txt": b"1"})
    assert unpack(archive, tmp_path / "into") == {"set/imgs/a.txt": 1}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(ENDINGS), st.integers(0, 10_000), st.binary(max_size=8))
def test_damaged_archives_fail_in_words(
    tmp_path_factory: pytest.TempPathFactory, ending: str, at: int, junk: bytes
) -> None:
    tmp_path = tmp_path_factory.mktemp("damaged")
    path = make(tmp_path / f"x.{ending}", FILES)
    content = path.read_bytes()
    at %= len(content)
    path.write_bytes(content[:at] + junk)
    try:
        unpack(path, tmp_path / "into")
    except DataError:
        assert held(tmp_path / "into") == {}


def test_an_empty_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no files"):
        unpack(make_zip(tmp_path / "x.zip", {}), tmp_path / "into")
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack(tmp_path / "x.tar.gz", tmp_path / "into")


def test_what_is_unpacked() -> None:
    assert all(is_archive(name) for name in ("a.zip", "A.ZIP", "b.tar", "b.tar.gz", "c.tgz"))
    assert not any(is_archive(name) for name in ("pathmnist.npz", "table.csv.gz", "scan.nii.gz", "train.json", "zip"))

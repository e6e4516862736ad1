"""Published files: downloaded once, gone on with after a cut, found where a person put them, asked for by name."""

from pathlib import Path

import pytest
from hub_server import COMMIT, hub
from huggingface_hub import constants

from healthgpt.backbone.hub import PINNED, Published, fetched, fetched_all, hand_made, source_of
from healthgpt.errors import ModelError

SIZE = 24_000_000
"""More than two of the 10 MB pieces a download is kept in."""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder served as ``owner/model``; cache and home are empty folders."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(250)) * (SIZE // 250))
    (folder / "training_args.bin").write_bytes(b"not wanted")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setenv("HEALTHGPT_HOME", str(tmp_path / "home"))
    return folder


def same(folder: Path, other: Path) -> bool:
    return all((folder / n).read_bytes() == (other / n).read_bytes() for n in ("config.json", "model.safetensors"))


def test_wanted_files_come_once_and_are_then_had_without_a_network(repository, monkeypatch):
    wanted = Published("owner/model", COMMIT)
    with hub({"owner/model": repository}) as server:
        monkeypatch.setattr("healthgpt.backbone.hub.ENDPOINT", server.address)
        folder = fetched(wanted)
        assert same(folder, repository)
        assert folder.name == COMMIT
        assert not (folder / "training_args.bin").exists()
        assert fetched(wanted) == folder
        assert server.sent["model.safetensors"] == SIZE
    assert fetched(wanted) == folder  # nothing listens any more


def test_a_cut_download_goes_on_where_it_was(repository, monkeypatch):
    cut = 12_000_000
    with hub({"owner/model": repository}) as server:
        monkeypatch.setattr("healthgpt.backbone.hub.ENDPOINT", server.address)
        server.cut["model.safetensors"] = cut
        assert same(fetched(Published("owner/model", COMMIT)), repository)
        assert SIZE < server.sent["model.safetensors"] < SIZE + cut / 2  # not from the start again


def test_without_a_network_all_that_is_missing_is_told_with_size_and_place(repository, monkeypatch):
    monkeypatch.setattr("healthgpt.backbone.hub.ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    wanted = [PINNED["lintw/HealthGPT-M3"], PINNED["microsoft/Phi-3-mini-4k-instruct"]]
    with pytest.raises(ModelError) as caught:
        fetched_all(wanted)
    line = caught.value.line()
    for one in wanted:
        assert f"https://huggingface.co/{one.repo}/tree/{one.revision} ({one.gigabytes} GB)" in line
        assert str(hand_made(one)) in line
    assert "gen_hlora_weights.bin" in line
    hand_made(wanted[0]).mkdir(parents=True)
    (hand_made(wanted[0]) / "com_hlora_weights.bin").write_bytes(b"x")
    assert fetched(wanted[0]) == hand_made(wanted[0])


def test_a_repository_that_is_not_there_is_named(repository, monkeypatch):
    with hub({"owner/model": repository}) as server:
        monkeypatch.setattr("healthgpt.backbone.hub.ENDPOINT", server.address)
        with pytest.raises(ModelError, match=r"owner/nothing at main: RepositoryNotFoundError"):
            fetched(Published("owner/nothing"))


def test_what_a_base_may_be(tmp_path):
    assert source_of(str(tmp_path)) is None
    assert source_of("microsoft/phi-4") == PINNED["microsoft/phi-4"]
    assert source_of("owner/model") == Published("owner/model")
    with pytest.raises(ValueError, match="not the name of a repository"):
        Published("..")
    for wrong in ("nothing", "./a/b", "../x/y", "/a/b"):
        with pytest.raises(ModelError, match="allowed: a folder, or a hub id"):
            source_of(wrong)
    assert all(len(one.revision) == 40 or one.repo == "lintw/HealthGPT-XL32" for one in PINNED.values())

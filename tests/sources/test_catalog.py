"""The table of sources."""

from pathlib import Path

import pytest

from healthgpt.errors import DataError
from healthgpt.sources.catalog import SOURCES, present, source_named


def test_rows_are_named_by_their_key_and_give_something() -> None:
    for name, source in SOURCES.items():
        assert source.name == name
        assert source.samples or source.text_pairs or source.published
        assert source.licence
        assert source.obtain
    assert len({source.folder for source in PACKS.values()}) == len(PACKS)


PACKS = {name: source for name, source in SOURCES.items() if source.samples or source.text_pairs}
"""The sources nano is trained on."""


PACKS = {name: source for name, source in SOURCES.items() if source.samples or source.text_pairs}
"""The sources nano is trained on."""


def test_no_non_commercial_pack() -> None:
    assert not [s for s in PACKS.values() if s.folder.startswith("nc_") or "NC" in s.licence.split("-")]


def test_present_lists_what_is_there(tmp_path: Path) -> None:
    assert present(tmp_path) == []
    (tmp_path / "vqa_rad").mkdir()
    (tmp_path / "bccd_microscopy").mkdir()
    (tmp_path / "nc_llava_med").mkdir()
    assert present(tmp_path) == ["bccd_microscopy", "vqa_rad"]


def test_reading_what_is_missing_says_where_it_is_published(tmp_path: Path) -> None:
    for source in SOURCES.values():
        for read in (source.samples, source.text_pairs):
            if read:
                with pytest.raises(DataError, match="published at"):
                    list(read(tmp_path))


def test_misspelt_name_gets_a_hint() -> None:
    with pytest.raises(DataError, match="did you mean 'vqa_rad'"):
        source_named("vqa-rad")


def test_all_packs_are_present(packs: Path) -> None:
    assert [name for name in present(packs) if name in PACKS] == list(PACKS)

"""Frozen features on disk: the same as computed, whatever the batch; never computed twice; damage is no harm."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_model
from tiny_run import Recorder, tiny_data, tiny_folder, tiny_in_table, tiny_recipe

from healthgpt.batch import Batch
from healthgpt.errors import OutputError
from healthgpt.model.checkpoint import load_model
from healthgpt.training import features
from healthgpt.training.batches import Prepared
from healthgpt.training.features import FeatureStore, FrozenFeatures
from healthgpt.training.run import train
from healthgpt.vision.clip import VisionTower
from healthgpt.vision.preprocess import Preprocessing


def prepared(keys: tuple[str, ...], tasks: tuple[str, ...], squares: dict[str, np.ndarray]) -> Prepared:
    ids = torch.zeros(len(keys), 3, dtype=torch.long)
    batch = Batch(ids, ids == 0, ids == 1, tasks, tuple(range(len(keys))))
    return Prepared(batch, keys, squares)


@pytest.fixture
def squares() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for name in "abc"}


def frozen(folder: Path) -> FrozenFeatures:
    model, _, variant = tiny_model()
    stores = {grain: FeatureStore(folder / grain) for grain in ("abstract", "concrete")}
    return FrozenFeatures(model.vision, Preprocessing(size=variant.image_size), torch.device("cpu"), stores)


def test_kept_features_are_those_computed_alone_in_any_batch(squares, tmp_path) -> None:
    first = frozen(tmp_path)
    both = first.complete(prepared(("a", "b"), ("ct", "ct-to-mri"), squares)).features_NPW
    assert both is not None
    first.flush()
    again = frozen(tmp_path)
    other = again.complete(prepared(("b", "c", "a"), ("ct-to-mri", "ct", "ct"), {"c": squares["c"]})).features_NPW
    assert other is not None
    assert torch.equal(both[0], other[2])
    assert torch.equal(both[1], other[0])
    model, _, _ = tiny_model()
    pixels = again.preprocessing.normalise(squares["c"][None])
    assert torch.equal(other[1], model.vision.features(pixels, ["abstract"])[0])


def test_without_a_store_there_are_pixels(squares) -> None:
    model, _, variant = tiny_model()
    without = FrozenFeatures(model.vision, Preprocessing(size=variant.image_size), torch.device("cpu"))
    batch = without.complete(prepared(("a", "b"), ("ct", "ct"), squares))
    assert batch.features_NPW is None
    assert batch.pixels_N3SS is not None
    assert len(batch.pixels_N3SS) == 2


def test_a_damaged_file_is_computed_again(tmp_path) -> None:
    store = FeatureStore(tmp_path)
    store.put("a", torch.ones(2, 3))
    store.flush()
    (tmp_path / "00001-0.safetensors").write_bytes(b"no tensors")
    again = FeatureStore(tmp_path)
    assert "a" in again
    assert not (tmp_path / "00001-0.safetensors").exists()
    with pytest.raises(KeyError):
        again.get("b")


def test_more_files_than_may_be_open_are_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(features, "OPEN", 2)
    store = FeatureStore(tmp_path)
    for number in range(5):
        store.put(str(number), torch.full((1, 2), float(number)))
        store.flush()
    for number in (0, 4, 1, 0, 3, 2):
        assert store.get(str(number))[0, 0] == number
    assert len(store._open) == 2


def test_a_disk_that_refuses_says_what_to_do(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    store = FeatureStore(tmp_path / "file" / "below")
    store.put("a", torch.ones(1))
    with pytest.raises(OutputError, match="cache_features: false"):
        store.flush()


def test_a_second_epoch_and_another_run_never_run_the_tower(tmp_path, monkeypatch) -> None:
    seen = []
    look = VisionTower.forward

    def counted(self, pixels, state):
        seen.append(len(pixels))
        return look(self, pixels, state)

    monkeypatch.setattr(VisionTower, "forward", counted)
    with tiny_in_table():
        base, data = tiny_folder(tmp_path / "base"), tiny_data(tmp_path / "set")
        plan = {"optimisation": {"steps": 12, "dropout": 0.0}, "watch": {"samples": 0, "validation_rows": 20}}
        cached = train(tiny_recipe(base, data, **plan), tmp_path / "cached", Recorder(), cpu=True)
        assert sum(seen) == 12  # every image of both splits once
        seen.clear()
        train(tiny_recipe(base, data, name="again", **plan), tmp_path / "again", Recorder(), cpu=True)
        assert not seen
        plain = {**plan, "hardware": {"cache_features": False}}
        uncached = train(tiny_recipe(base, data, **plain), tmp_path / "plain", Recorder(), cpu=True)
    ours, theirs = load_model(cached)[0].state_dict(), load_model(uncached)[0].state_dict()
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in ours)

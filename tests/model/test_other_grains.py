"""Grains other than the released ones: saved, loaded, shipped with their plugin, and refused where no place is."""

import json

import pytest
import torch
from tiny import save_tiny

from healthgpt.errors import ModelError
from healthgpt.model.checkpoint import load_model, read_config
from healthgpt.model.export import plugin_tensors
from healthgpt.model.plugin_changes import add_plugin, remove_plugin
from healthgpt.model.plugin_folder import extract_plugin

SWAPPED = {"abstract": 1, "concrete": -2}
PIXELS = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
BOTH = ["abstract", "concrete"]


def test_merged_and_swapped_grains_are_saved_and_loaded(tmp_path):
    for name, grains in {"merged": {"abstract": (1, -2), "concrete": (0, 1)}, "swapped": SWAPPED}.items():
        model = save_tiny(tmp_path / name, grains=grains)
        loaded, config, _ = load_model(tmp_path / name)
        assert config.grains == grains
        assert torch.equal(model.vision(PIXELS, BOTH), loaded.vision(PIXELS, BOTH))


def test_a_grain_of_no_states_is_refused(tmp_path):
    save_tiny(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["grains"]["abstract"] = []
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="not a model description"):
        load_model(tmp_path)


@pytest.mark.parametrize("abstract", [(1, -2), 1])
def test_the_released_layout_has_no_place_for_other_grains(tmp_path, abstract):
    save_tiny(tmp_path, grains={"abstract": abstract, "concrete": 1})
    config = read_config(tmp_path)
    plugin_tensors(tmp_path, config, "generation")
    with pytest.raises(ModelError, match=r"comprehension plugin.*sees hidden state .*1.* allowed: -2"):
        plugin_tensors(tmp_path, config, "comprehension")


def test_a_merged_grain_goes_along_with_its_plugin(tmp_path):
    folder, plugin = tmp_path / "model", tmp_path / "plugin"
    save_tiny(folder, grains={"abstract": (1, -2), "concrete": 1})
    before = (folder / "config.json").read_bytes()
    plugin.mkdir()
    extract_plugin(folder, read_config(folder), "comprehension", plugin)
    remove_plugin(folder, "comprehension")
    add_plugin(folder, plugin)
    assert (folder / "config.json").read_bytes() == before
    remove_plugin(folder, "comprehension")
    shipment = json.loads((plugin / "shipped.json").read_text())
    (plugin / "shipped.json").write_text(json.dumps(shipment | {"hidden_state": [1, 4]}))
    with pytest.raises(ModelError, match=r"deeper vision tower.*found hidden state \(1, 4\); allowed: -4 to 3"):
        add_plugin(folder, plugin)

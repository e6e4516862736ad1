"""Two commands never change one model folder at a time."""

import pytest
from tiny import save_tiny

from healthgpt.errors import ModelError
from healthgpt.model.checkpoint import read_config
from healthgpt.model.folder_change import alone
from healthgpt.model.plugin_changes import add_plugin, remove_plugin
from healthgpt.model.plugin_folder import extract_plugin


def test_a_model_that_another_command_is_changing_is_left_alone(tmp_path):
    folder, plugin = tmp_path / "model", tmp_path / "plugin"
    save_tiny(folder)
    plugin.mkdir()
    extract_plugin(folder, read_config(folder), "generation", plugin)
    before = (folder / "config.json").read_bytes()
    for change in (lambda: add_plugin(folder, plugin), lambda: remove_plugin(folder, "generation")):
        with alone(folder), pytest.raises(ModelError, match="another command is changing the model"):
            change()
        assert (folder / "config.json").read_bytes() == before
    remove_plugin(folder, "generation")
    assert (folder / "config.json").read_bytes() != before
    add_plugin(folder, plugin)
    assert (folder / "config.json").read_bytes() == before


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelError, match="no model folder"):
        remove_plugin(tmp_path / "nothing", "generation")

"""Laws of plugins apart from their model: out and back gives the same bits, damage and strangers change nothing."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import save_tiny, tiny_model

from healthgpt.data.collate import right_padded
from healthgpt.errors import ModelError, OutputError
from healthgpt.model import checkpoint, folder_change, plugin_folder
from healthgpt.model.checkpoint import load_model, read_config, save_model
from healthgpt.model.folder_change import finish_change
from healthgpt.model.fusion import Fusion
from healthgpt.model.plugin_changes import add_plugin, present_plugins, remove_plugin
from healthgpt.model.plugin_folder import extract_plugin
from healthgpt.vision.preprocess import Preprocessing

FAMILIES = ("comprehension", "generation")
OTHER = {"comprehension": "generation", "generation": "comprehension"}


def save_apart(folder, shared):
    """The model of ``shared`` with tables of its own for reading, as the released weights have them."""
    model, config, specs = load_model(shared)
    fusion = Fusion(config.layout, config.hidden_size, config.grid, ("comprehension",))
    fusion.load_state_dict(model.fusion.state_dict(), strict=False)
    generator = torch.Generator().manual_seed(5)
    for rows in fusion.apart.parameters():
        rows.data = torch.randn(rows.shape, generator=generator) * 0.3
    model.fusion = fusion
    for part in ("tokenizer", "vqgan"):
        shutil.copytree(shared / part, folder / part)
    save_model(folder, model, config.model_copy(update={"apart": ("comprehension",)}), specs, torch.float32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Models by kind: families that share their tables, and one with its own; another backbone."""
    place = tmp_path_factory.mktemp("models")
    save_tiny(place / "shared")
    save_tiny(place / "stranger", seed=1)
    save_apart(place / "apart", place / "shared")
    return place


@pytest.fixture
def copy_of(folders, tmp_path):
    """Copies a model, to change it."""

    def copied(kind="shared"):
        return Path(shutil.copytree(folders / kind, tmp_path / f"model-{kind}"))

    return copied


def extracted(folder, family, output):
    output.mkdir()
    extract_plugin(folder, read_config(folder), family, output)
    return output


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def logits(folder, family):
    """Of one row of that family, with an image."""
    _, builder, variant = tiny_model()
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    if family == "comprehension":
        prompt, task = builder.reading([("is there a nodule", "yes")], has_image=True), "ct"
    else:
        prompt, task = builder.drawing("turn this ct into an mri", has_image=True, codes=[1, 2, 3, 4]), "ct-to-mri"
    batch = right_padded([prompt], [task], [image], Preprocessing(size=variant.image_size))
    with torch.inference_mode():
        return load_model(folder)[0](batch)


@pytest.mark.parametrize("kind", ["shared", "apart"])
@pytest.mark.parametrize("family", FAMILIES)
def test_out_and_back_gives_the_same_bits(copy_of, tmp_path, kind, family):
    folder = copy_of(kind)
    before, other = contents(folder), logits(folder, OTHER[family])
    plugin = extracted(folder, family, tmp_path / "plugin")
    assert contents(folder) == before
    assert (plugin / "tables.safetensors").is_file() == (kind == "apart")
    remove_plugin(folder, family)
    assert not (folder / "plugins" / family).exists()
    assert len(contents(folder)) == len(before) - 2
    assert torch.equal(logits(folder, OTHER[family]), other)
    with pytest.raises(ModelError, match=f"has no {family} plugin"):
        logits(folder, family)
    assert add_plugin(folder, plugin) == family
    assert contents(folder) == before


def test_a_model_without_plugins_takes_them_back_in_any_order(copy_of, tmp_path):
    folder = copy_of("apart")
    before = contents(folder)
    for family in FAMILIES:
        extracted(folder, family, tmp_path / family)
    for family in FAMILIES:
        remove_plugin(folder, family)
    assert load_model(folder)[2] == {}
    assert present_plugins(folder) == {}
    for family in ("generation", "comprehension"):
        add_plugin(folder, tmp_path / family)
    assert contents(folder) == before


def test_a_plugin_brings_its_tables_where_others_are_spoken(copy_of, folders, tmp_path):
    """Reading learned on tables of its own, added to a model whose own tables are others."""
    plugin = extracted(folders / "apart", "comprehension", tmp_path / "plugin")
    folder = copy_of("shared")
    drawn = logits(folder, "generation")
    remove_plugin(folder, "comprehension")
    add_plugin(folder, plugin)
    assert read_config(folder).apart == ("comprehension",)
    assert torch.equal(logits(folder, "comprehension"), logits(folders / "apart", "comprehension"))
    assert torch.equal(logits(folder, "generation"), drawn)


def test_only_what_changed_is_hashed(copy_of, tmp_path, monkeypatch):
    folder = copy_of()
    plugin = extracted(folder, "generation", tmp_path / "plugin")
    read = []

    def recorded(path):
        read.append(path.name if path.parent.name != "backbone" else "backbone")
        return hashlib.sha256(path.read_bytes()).hexdigest()

    for module in (checkpoint, folder_change, plugin_folder):
        monkeypatch.setattr(module, "sha256_of", recorded)
    remove_plugin(folder, "generation")
    add_plugin(folder, plugin)
    assert read
    assert not {"backbone", "model.safetensors"} & set(read)
    monkeypatch.undo()
    load_model(folder)  # and every recorded hash is right


@pytest.mark.parametrize("kind", ["shared", "apart"])
def test_size_is_that_of_its_tensors(folders, tmp_path, kind):
    for family, present in present_plugins(folders / kind).items():
        plugin = extracted(folders / kind, family, tmp_path / family)
        files = [file for file in plugin.glob("*.safetensors") if file.stem != "tables" or present.own_tables]
        assert present.stored_bytes == sum(rows.nbytes for file in files for rows in load_file(file).values())
        assert present.own_tables == (kind == "apart" and family == "comprehension")


class PowerCutError(BaseException):
    """What no handler of ours catches."""


def cut_at(monkeypatch, number):
    """The machine stops at that renaming."""
    count, real = [0], os.replace

    def replace(*arguments):
        count[0] += 1
        if count[0] == number:
            raise PowerCutError
        real(*arguments)

    monkeypatch.setattr(os, "replace", replace)


@pytest.mark.parametrize("number", range(1, 7))
@pytest.mark.parametrize("action", ["add", "remove"])
def test_a_change_cut_short_can_be_run_again(copy_of, tmp_path, monkeypatch, action, number):
    folder = copy_of("apart")
    whole = contents(folder)
    plugin = extracted(folder, "comprehension", tmp_path / "plugin")
    reduced = Path(shutil.copytree(folder, tmp_path / "reduced"))
    remove_plugin(reduced, "comprehension")
    target, goal = (reduced, whole) if action == "add" else (folder, contents(reduced))
    before = contents(target)

    def change():
        if action == "add":
            add_plugin(target, plugin)
        else:
            remove_plugin(target, "comprehension")

    with monkeypatch.context() as patched:
        cut_at(patched, number)
        try:
            change()
            cut = False
        except PowerCutError:
            cut = True
    assert cut == (number <= (6 if action == "add" else 4))  # the decision, each file, the description
    if number == 1:
        assert contents(target) == before
        load_model(target)
    elif cut:
        with pytest.raises(ModelError, match=f"was interrupted; next: run again: healthgpt plugins {action} .*"):
            load_model(target)
    if cut:
        change()
    assert contents(target) == goal
    load_model(target)


def test_what_is_left_after_the_decision_does_not_hinder(copy_of, tmp_path, monkeypatch):
    folder = copy_of()

    def stop(*_, **__):
        raise PowerCutError

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", stop)
        with pytest.raises(PowerCutError):
            remove_plugin(folder, "generation")
    assert set(load_model(folder)[2]) == {"comprehension"}
    assert finish_change(folder) is False
    assert not (folder / "change").exists()
    assert not (folder / "plugins" / "generation").exists()
    (folder / "change.partial").mkdir()
    (folder / "change.partial" / "half").touch()
    load_model(folder)
    remove_plugin(folder, "comprehension")
    assert not (folder / "change.partial").exists()


def test_an_unfinished_change_cannot_reach_outside(copy_of, tmp_path):
    folder = copy_of()
    (tmp_path / "precious").touch()
    (folder / "change").mkdir()
    (folder / "change" / "record.txt").write_text("healthgpt plugins remove\n../precious\n")
    with pytest.raises(ModelError, match="outside the folder"):
        remove_plugin(folder, "generation")
    assert (tmp_path / "precious").exists()


def test_a_full_disk_leaves_the_model_as_it_was(copy_of, monkeypatch):
    folder = copy_of()
    before = contents(folder)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        remove_plugin(folder, "generation")
    assert contents(folder) == before


def refused(folder, plugin, match, **options):
    before = contents(folder)
    with pytest.raises(ModelError, match=match) as caught:
        add_plugin(folder, plugin, **options)
    assert contents(folder) == before
    return str(caught.value)


def test_a_plugin_of_another_model_is_refused_unless_forced(copy_of, folders, tmp_path):
    plugin = extracted(folders / "stranger", "generation", tmp_path / "plugin")
    change_json(plugin / "shipped.json", licence="for tests alone")
    folder = copy_of()
    remove_plugin(folder, "generation")
    said = refused(folder, plugin, "made for another model")
    assert "another backbone, another vision tower, another codec, another embedding table" in said
    assert "--force" in said
    add_plugin(folder, plugin, force=True)
    assert set(load_model(folder)[2]) == set(FAMILIES)
    assert read_config(folder).licence == "none; generation plugin: for tests alone"


def change_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rehash(plugin):
    """Record the hashes of what is there, as one who means to deceive would."""
    shipped = json.loads((plugin / "shipped.json").read_text())
    for name in shipped["hashes"]:
        shipped["hashes"][name] = hashlib.sha256((plugin / name).read_bytes()).hexdigest()
    (plugin / "shipped.json").write_text(json.dumps(shipped))


def test_a_second_plugin_of_a_family_is_refused(copy_of, tmp_path):
    folder = copy_of()
    plugin = extracted(folder, "generation", tmp_path / "plugin")
    refused(folder, plugin, f"has a generation plugin already; .*healthgpt plugins remove {folder} generation")
    remove_plugin(folder, "generation")
    change_json(plugin / "shipped.json", name="comprehension")
    refused(folder, plugin, "the name 'comprehension' is taken")


@pytest.mark.parametrize("change", [{"hidden_size": 64}, {"code_count": 8}, {"grid": 3}])
def test_another_shape_is_refused_even_when_forced(copy_of, tmp_path, change):
    folder = copy_of()
    plugin = extracted(folder, "generation", tmp_path / "plugin")
    remove_plugin(folder, "generation")
    wanted = json.loads((plugin / "shipped.json").read_text())["made_for"]
    change_json(plugin / "shipped.json", made_for=wanted | change)
    refused(folder, plugin, "does not fit the model", force=True)


@pytest.mark.parametrize("file", ["plugin.safetensors", "adapter.safetensors", "tables.safetensors"])
def test_tensors_of_another_shape_are_refused_even_when_forced(copy_of, tmp_path, file):
    folder = copy_of("apart")
    plugin = extracted(folder, "comprehension", tmp_path / "plugin")
    remove_plugin(folder, "comprehension")
    other = {"plugin.safetensors": "adapter.safetensors"}.get(file, "plugin.safetensors")
    shutil.copyfile(plugin / other, plugin / file)
    rehash(plugin)
    refused(folder, plugin, f"{file} does not fit", force=True)
    (plugin / file).write_bytes(b"no tensors")
    rehash(plugin)
    refused(folder, plugin, f"{file} cannot be read", force=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rank": 64, "experts": 64}, "too high; found 64"),
        ({"experts": 3}, "3 experts in rank 8"),
        ({"experts": 0}, "0 experts"),
        ({"tasks": ["ct"]}, "tasks ct"),
        ({"tasks": []}, "tasks none"),
        ({"kind": "mlp"}, "not a plugin description"),
        ({"family": "comprehension"}, "the concrete grain"),
    ],
)
def test_a_description_that_cannot_be_is_refused(copy_of, tmp_path, changes, said):
    folder = copy_of()
    plugin = extracted(folder, "generation", tmp_path / "plugin")
    remove_plugin(folder, "generation")
    change_json(plugin / "plugin.json", **changes)
    rehash(plugin)
    refused(folder, plugin, said)


@pytest.mark.parametrize("name", ["../generation", "a/b", "..", "", "a.b", "C:\\x", "x" * 65, "keys", "forward"])
def test_a_name_that_is_no_folder_of_the_model_is_refused(copy_of, tmp_path, name):
    folder = copy_of()
    plugin = extracted(folder, "generation", tmp_path / "plugin")
    remove_plugin(folder, "generation")
    change_json(plugin / "shipped.json", name=name)
    refused(folder, plugin, "cannot have this name")


def test_a_model_that_names_a_plugin_outside_is_refused(copy_of, tmp_path):
    folder = copy_of()
    (tmp_path / "precious").mkdir()
    change_json(folder / "config.json", plugins={"generation": "../../precious"})
    for work in (present_plugins, lambda place: remove_plugin(place, "../../precious")):
        with pytest.raises(ModelError, match="cannot have this name"):
            work(folder)
    assert (tmp_path / "precious").is_dir()


@pytest.mark.parametrize("file", ["plugin.json", "plugin.safetensors", "adapter.safetensors", "shipped.json"])
def test_a_missing_or_damaged_file_is_named(copy_of, tmp_path, file):
    folder = copy_of()
    plugin = extracted(folder, "generation", tmp_path / "plugin")
    remove_plugin(folder, "generation")
    content = (plugin / file).read_bytes()
    (plugin / file).write_bytes(content[:-3])
    refused(folder, plugin, f"{file} (is damaged|does not describe)")
    (plugin / file).unlink()
    refused(folder, plugin, f"(lacks|no) {file}")


@pytest.mark.parametrize("text", ["[]", "\xff", '{"format": 2}', '{"format": 1}'])
def test_a_malformed_description_is_refused(copy_of, tmp_path, text):
    folder = copy_of()
    plugin = extracted(folder, "generation", tmp_path / "plugin")
    (plugin / "shipped.json").write_bytes(text.encode("latin-1"))
    refused(folder, plugin, "shipped.json (does not describe|is of another format)")


def test_strangers_in_the_folder_are_named_and_notes_are_not(copy_of, tmp_path):
    folder = copy_of()
    plugin = extracted(folder, "generation", tmp_path / "plugin")
    remove_plugin(folder, "generation")
    (plugin / "weights.bin").touch()
    refused(folder, plugin, "no part of a plugin; found weights.bin")
    (plugin / "weights.bin").rename(plugin / "README.md")
    (plugin / ".DS_Store").touch()
    add_plugin(folder, plugin)
    refused(folder, folder, "not a plugin folder; found no shipped.json")
    refused(folder, tmp_path / "nowhere", "no plugin folder")


@pytest.mark.parametrize("action", ["add", "remove", "extract"])
def test_damage_in_the_model_is_not_hashed_anew(copy_of, tmp_path, action):
    folder = copy_of()
    plugin = extracted(folder, "generation", tmp_path / "plugin")
    if action == "add":
        remove_plugin(folder, "generation")
    path = folder / "vision" / "adapters.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0\0")
    work = {
        "add": lambda: add_plugin(folder, plugin),
        "remove": lambda: remove_plugin(folder, "generation"),
        "extract": lambda: extracted(folder, "comprehension", tmp_path / "other"),
    }[action]
    with pytest.raises(ModelError, match=r"adapters\.safetensors is damaged"):
        work()


def test_a_model_of_the_package_is_not_changed(copy_of, tmp_path, monkeypatch):
    folder = copy_of()
    plugin = extracted(folder, "generation", tmp_path / "plugin")
    monkeypatch.setattr(folder_change, "PACKAGE", tmp_path)
    refused(folder, plugin, "installed package.*copy it first")
    with pytest.raises(ModelError, match="installed package"):
        remove_plugin(folder, "generation")

"""``healthgpt plugins``: a family is shipped, removed and added back; what a caller can get wrong is one line."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import save_tiny

from healthgpt.cli.main import main
from healthgpt.errors import HealthGPTError
from healthgpt.inference.session import Session
from healthgpt.request import ASK, Request


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny(folder)
    return folder


@pytest.fixture
def folder(model, tmp_path):
    return Path(shutil.copytree(model, tmp_path / "tiny"))


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "scan.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)).save(path)
    return str(path)


def done(*words):
    assert main([str(word) for word in ("plugins", *words)]) == 0


def refused(capsys, *words):
    """The one line of a command that the caller got wrong."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def said(folder, request):
    """Ids, certainty and codes of one reply, or the refusal."""
    try:
        reply = Session.from_pretrained(folder, device="cpu").run([request], max_new_tokens=6)[0]
    except HealthGPTError as fault:
        return fault.line()
    return [getattr(reply, name, None) for name in ("token_ids", "codes", "confidence")]


def test_list_tells_what_each_plugin_is(folder, capsys):
    done("list", folder)
    out = capsys.readouterr().out
    for fact in ("comprehension", "generation", "hlora", "x-ray", "report-to-cxr", " MB", "the model's"):
        assert fact in out
    numbers = {line.split("│")[1].strip(): line.split("│")[2:4] for line in out.splitlines() if "│" in line}
    for name, pair in (("rank", ("4", "8")), ("experts", ("2", "4")), ("alpha", ("8", "16"))):
        assert tuple(cell.strip() for cell in numbers[name]) == pair


@pytest.mark.parametrize("family", ["comprehension", "generation"])
def test_extract_remove_add_gives_the_same_replies(folder, tmp_path, picture, capsys, family):
    requests = {
        "comprehension": Request(ASK, picture, "is there a nodule"),
        "generation": Request("ct-to-mri", picture),
    }
    other = next(name for name in requests if name != family)
    before = {name: said(folder, request) for name, request in requests.items()}
    shipped = tmp_path / "shipped"
    done("extract", folder, family, "-o", shipped)
    assert {line.rpartition("/")[2] for line in capsys.readouterr().out.splitlines()} == {
        path.name for path in shipped.iterdir()
    }
    done("remove", folder, family)
    assert f"has no {family} plugin, so it cannot do" in said(folder, requests[family])
    assert said(folder, requests[other]) == before[other]
    assert main(["models", "check", str(folder)]) == 0
    done("list", folder)
    assert "none" in capsys.readouterr().out
    done("add", folder, shipped)
    assert {name: said(folder, request) for name, request in requests.items()} == before
    assert main(["models", "check", str(folder)]) == 0


def test_a_removed_family_is_named_by_ask_and_generate(folder, tmp_path, picture, capsys):
    done("remove", folder, "generation")
    line = refused(capsys, "generate", "ct-to-mri", picture, "-o", tmp_path / "o.png", "--model", folder)
    assert "has no generation plugin, so it cannot do 'ct-to-mri'" in line
    done("remove", folder, "comprehension")
    assert "has no comprehension plugin" in refused(capsys, "ask", picture, "how many cells", "--model", folder)
    assert "has no comprehension plugin" in refused(capsys, "ask", "how many cells", "--model", folder)
    assert main(["models", "check", str(folder)]) == 0
    assert "no plugins" in capsys.readouterr().out


@pytest.mark.parametrize("tasks", ['["report-to-cxr"]', '["reconstruct"]'])
def test_check_tries_what_the_plugin_was_trained_for(folder, capsys, tasks):
    path = folder / "plugins" / "generation" / "plugin.json"
    lines = path.read_text().partition('"tasks"')
    path.write_text(f'{lines[0]}"tasks": {tasks}}}')
    config = (folder / "config.json").read_text().splitlines(keepends=True)
    (folder / "config.json").write_text("".join(line for line in config if "generation/plugin.json" not in line))
    assert main(["models", "check", str(folder)]) == 0
    assert tasks[2:-2] in capsys.readouterr().out


def test_refusals_are_one_line_with_the_next_step(folder, tmp_path, capsys):
    shipped = tmp_path / "shipped"
    done("extract", folder, "generation", "-o", shipped)
    for words, told in (
        (("add", folder, shipped), f"remove it first: healthgpt plugins remove {folder} generation"),
        (("add", folder, folder), "is not a plugin folder"),
        (("remove", folder, "genration"), "did you mean 'generation'?"),
        (("remove", folder, "../tiny"), "has no plugin '../tiny'"),
        (("extract", folder, "drawing", "-o", tmp_path / "other"), "has no plugin 'drawing'"),
        (("extract", folder, "generation", "-o", shipped), "is there already"),
        (("list", tmp_path), "is not a model folder"),
        (("list", "nanno"), "no model 'nanno'"),
        (("extract", folder, "generation"), "--output"),
    ):
        assert told in refused(capsys, "plugins", *words)
    assert not (tmp_path / "other").exists()


def test_the_packages_own_model_is_not_changed(folder, tmp_path, capsys, monkeypatch):
    done("extract", folder, "generation", "-o", tmp_path / "shipped")
    monkeypatch.setattr("healthgpt.model.folder_change.PACKAGE", tmp_path)
    for words in (("add", folder, tmp_path / "shipped"), ("remove", folder, "generation")):
        assert "copy it first: cp -r" in refused(capsys, "plugins", *words)


def test_a_damaged_plugin_leaves_the_model_working(folder, tmp_path, capsys):
    shipped = tmp_path / "shipped"
    done("extract", folder, "generation", "-o", shipped)
    done("remove", folder, "generation")
    content = bytearray((shipped / "plugin.safetensors").read_bytes())
    content[-1] ^= 1
    (shipped / "plugin.safetensors").write_bytes(content)
    assert "plugin.safetensors is damaged" in refused(capsys, "plugins", "add", folder, shipped)
    assert main(["models", "check", str(folder)]) == 0

"""``from_pretrained("m3")``: fetched from a hub, imported once, its base referred to; the VQGAN put there by hand."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hub_server import COMMIT, hub
from huggingface_hub import constants

from healthgpt.backbone.hub import Published
from healthgpt.cli.main import main
from healthgpt.errors import ModelError
from healthgpt.inference import released
from healthgpt.inference.session import Session
from healthgpt.model.checkpoint import read_config
from healthgpt.variants import VARIANTS, PluginSize

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "golden"
pytestmark = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="the golden outputs (shared/golden) are not beside this checkout"
)
REPOSITORIES = {"golden/base": GOLDEN / "m3" / "base", "golden/clip": GOLDEN / "clip", "golden/m3": GOLDEN / "m3"}


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A hub that serves the golden M3 under the name of the real one."""
    base, clip, own = (Published(name, COMMIT, files, 0.1) for name, files in (
        ("golden/base", ("*.json", "*.model", "*.safetensors")), ("golden/clip", ("*.json", "*.safetensors")),
        ("golden/m3", ("*.bin",)),
    ))  # fmt: skip
    monkeypatch.setitem(released.RELEASES, "m3", replace(released.RELEASES["m3"], base=base, plugins=own))
    monkeypatch.setattr(released, "VISION", clip)
    golden = replace(
        VARIANTS["m3"], hidden_size=56, layers=3, comprehension=PluginSize(8, 4, 16), generation=PluginSize(16, 4, 32)
    )
    monkeypatch.setitem(VARIANTS, "m3", golden)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HEALTHGPT_HOME", str(tmp_path / "home"))
    with hub(REPOSITORIES) as listening:
        monkeypatch.setattr("healthgpt.backbone.hub.ENDPOINT", listening.address)
        yield listening


def cases(task):
    return json.loads((GOLDEN / "m3" / "cases.json").read_text())[task]["cases"]


def test_a_published_name_answers_as_the_release_does_and_draws_once_the_codec_is_there(server, tmp_path, capsys):
    session = Session.from_pretrained("m3", device="cpu")
    case = next(one for one in cases("com") if one["max_new_tokens"] == 16 and one["image"])
    picture = GOLDEN / "images" / case["image"]
    stop = next((n for n, i in enumerate(case["generated_ids"]) if i in case["eos_token_ids"]), None)
    assert session.ask(picture, case["question"], max_new_tokens=16).token_ids == case["generated_ids"][:stop]

    folder = tmp_path / "home" / "m3"
    assert not (folder / "backbone").exists()
    source = read_config(folder).backbone_source
    assert (source.repo, source.revision) == ("golden/base", COMMIT)
    sent = dict(server.sent)
    assert Session.from_pretrained("m3", device="cpu").ask(picture, case["question"], max_new_tokens=16).token_ids
    assert dict(server.sent) == sent, "what is on this disk is not fetched again"

    place = released.codec_place()
    drawn = cases("gen")[0]
    with pytest.raises(ModelError, match=rf"no codec.*put the published VQGAN's .* into {place}"):
        session.generate("reconstruct", GOLDEN / "images" / drawn["image"])
    place.mkdir(parents=True)
    (place / "last.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match=r"last\.ckpt"):
        Session.from_pretrained("m3", device="cpu")
    assert (folder / "config.json").is_file(), "what worked before is kept"
    for name in ("last.ckpt", "model.yaml"):
        shutil.copy(GOLDEN / "vqgan" / name, place)
    drawing = Session.from_pretrained("m3", device="cpu").generate("reconstruct", GOLDEN / "images" / drawn["image"])
    assert [code for row in drawing.codes for code in row] == drawn["official_indices"]

    assert main(["models", "check", "m3"]) == 0
    assert main(["models", "list"]) == 0
    assert str(folder)[:20] in capsys.readouterr().out


def test_a_failed_import_leaves_nothing_behind(server, tmp_path, monkeypatch):
    monkeypatch.setitem(
        released.RELEASES, "m3", replace(released.RELEASES["m3"], comprehension="fusion_layer_weights.bin")
    )
    with pytest.raises(ModelError, match="is not a plugin file"):
        Session.from_pretrained("m3", device="cpu")
    assert not list((tmp_path / "home").iterdir())


def test_a_hub_id_as_base_is_fetched_and_referred_to(server, tmp_path):
    words = ["--base", "golden/base", "--vision", "golden/clip", "-o", str(tmp_path / "own")]
    words += ["--comprehension", str(GOLDEN / "m3" / "com_hlora_weights.bin")]
    assert main(["models", "import", *words]) == 0
    source = read_config(tmp_path / "own").backbone_source
    assert (source.repo, source.revision) == ("golden/base", COMMIT)
    assert not (tmp_path / "own" / "backbone").exists()
    assert main(["models", "check", str(tmp_path / "own")]) == 0

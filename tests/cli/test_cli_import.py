"""``healthgpt models import``: a folder that answers and draws as the release does; wrong files are named."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from healthgpt.cli.main import main
from healthgpt.inference.session import Session
from healthgpt.model.checkpoint import read_config
from healthgpt.request import ASK, Request
from healthgpt.variants import VARIANTS, PluginSize

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "golden"
pytestmark = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="the golden outputs (shared/golden) are not beside this checkout"
)
M3 = GOLDEN / "m3"


def command(output, **changes):
    """The command line that imports the golden M3; ``changes``: options by name, None leaves one out."""
    options = {
        "base": M3 / "base", "vision": GOLDEN / "clip", "comprehension": M3 / "com_hlora_weights.bin",
        "generation": M3 / "gen_hlora_weights.bin", "fusion": M3 / "fusion_layer_weights.bin",
        "vqgan": GOLDEN / "vqgan" / "last.ckpt", "template": "phi3_instruct", "comprehension-alpha": 16,
        "generation-alpha": 32,
    } | {name.replace("_", "-"): value for name, value in changes.items()}  # fmt: skip
    words = [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]
    return ["models", "import", *words, "-o", str(output)]


def cases(task):
    return json.loads((M3 / "cases.json").read_text())[task]["cases"]


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "m3"
    assert main(command(folder)) == 0
    return folder


def test_an_imported_model_answers_and_draws_as_the_release_does(imported):
    session = Session.from_pretrained(imported, device="cpu")
    case = cases("gen")[0]
    asked = [one for one in cases("com") if one["max_new_tokens"] == 16]
    requests = [
        Request(ASK, GOLDEN / "images" / one["image"] if one["image"] else None, one["question"]) for one in asked
    ]
    requests.append(Request("reconstruct", GOLDEN / "images" / case["image"]))
    *answers, drawing = session.run(requests, max_new_tokens=16)  # both families in one batch
    for one, answer in zip(asked, answers, strict=True):
        stop = next((n for n, i in enumerate(one["generated_ids"]) if i in one["eos_token_ids"]), None)
        assert answer.token_ids == one["generated_ids"][:stop]
    assert [code for row in drawing.codes for code in row] == case["official_indices"]
    assert drawing.pixels.shape[:2] == (64, 64)


def test_nothing_is_pickled_and_the_folder_says_where_it_came_from(imported):
    assert not [path for path in imported.rglob("*") if path.suffix in (".bin", ".ckpt", ".pt", ".pkl")]
    config = read_config(imported)
    assert config.apart == ("comprehension",)
    assert config.stop_ids == (400, 401, 407)
    assert config.preprocessing.pad_colour == (122, 116, 104)
    assert "com_hlora_weights.bin" in config.provenance


def same_files(one, other):
    """Whether two model folders hold the same weights, bit for bit."""
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*.safetensors"))
    assert names == sorted(str(path.relative_to(other)) for path in other.rglob("*.safetensors"))
    return [name for name in names if (one / name).read_bytes() != (other / name).read_bytes()] == []


def test_exported_files_are_the_released_ones_and_import_to_the_same_bits(imported, tmp_path):
    out = tmp_path / "out"
    assert main(["models", "export", str(imported), "-o", str(out)]) == 0
    names = ("com_hlora_weights.bin", "gen_hlora_weights.bin", "fusion_layer_weights.bin")
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    for name in names:
        ours, theirs = (torch.load(folder / name, weights_only=True) for folder in (out, M3))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) and ours[key].dtype == theirs[key].dtype for key in theirs)
    again = tmp_path / "again"
    changes = {"comprehension": out / names[0], "generation": out / names[1], "fusion": out / names[2]}
    assert main(command(again, **changes)) == 0
    assert same_files(imported, again)


def test_an_adapter_folder_imports_to_the_same_bits(imported, tmp_path, capsys):
    for family in ("comprehension", "generation"):
        words = ["--layout", "peft", "--family", family, "-o", str(tmp_path / family)]
        assert main(["models", "export", str(imported), *words]) == 0
    again = tmp_path / "again"
    assert main(command(again, comprehension=tmp_path / "comprehension", generation=tmp_path / "generation")) == 0
    assert same_files(imported, again)
    described = json.loads((tmp_path / "generation" / "adapter_config.json").read_text())
    assert (described["peft_type"], described["r"], described["lora_alpha"]) == ("HLORA", 16, 32)
    capsys.readouterr()
    assert main(["models", "export", str(imported), "-o", str(again)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["models", "export", str(imported), "--layout", "gguf", "-o", str(tmp_path / "new")]) == 2
    assert "allowed: released, peft" in capsys.readouterr().err


def test_check_finds_a_whole_model_sound_and_a_damaged_one_not(imported, capsys, tmp_path):
    assert main(["models", "check", str(imported)]) == 0
    shown = capsys.readouterr()
    assert "the same alone and in one batch" in shown.out
    assert "m3 is sound" in shown.err
    copy = tmp_path / "copy"
    shutil.copytree(imported, copy)
    path = copy / "plugins" / "generation" / "plugin.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert main(["models", "check", str(copy)]) == 2
    shown = capsys.readouterr()
    assert "plugin.safetensors is damaged" in " ".join(shown.out.split())
    assert len(shown.err.splitlines()) == 1


def test_a_task_the_plugin_was_not_trained_for_is_refused_with_the_list(imported, capsys, tmp_path):
    image = GOLDEN / "images" / "img2_64x64_RGB.png"
    out = tmp_path / "out.png"
    assert main(["generate", "ct-to-mri", str(image), "-o", str(out), "--model", str(imported)]) == 2
    assert "was not trained for 'ct-to-mri'; allowed: reconstruct" in capsys.readouterr().err
    assert not out.exists()
    assert main(["generate", "ct-to-mri", str(image), "-o", str(out), "--model", str(imported), "--force"]) == 0


def test_a_model_without_a_generation_plugin_says_what_it_cannot_draw(tmp_path, capsys):
    folder = tmp_path / "reader"
    assert main(command(folder, generation=None, fusion=None, vqgan=None, codes=64)) == 0
    capsys.readouterr()
    image = str(GOLDEN / "images" / "img2_64x64_RGB.png")
    assert main(["generate", "reconstruct", image, "-o", str(tmp_path / "o.png"), "--model", str(folder)]) == 2
    assert "has no generation plugin, so it cannot do 'reconstruct'" in capsys.readouterr().err
    assert main(["ask", image, "What is shown?", "--model", str(folder), "--max-new-tokens", "4"]) == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"comprehension": M3 / "fusion_layer_weights.bin"}, "not a plugin file"),
        ({"fusion": M3 / "com_hlora_weights.bin"}, "not a fusion file"),
        ({"fusion": None}, "no fusion file"),
        ({"base": GOLDEN / "l14" / "base"}, "does not fit"),
        ({"base": GOLDEN / "clip"}, "cannot be read"),
        ({"template": "phi3_instrct"}, "phi3_instruct"),
        ({"template": None}, "give --template"),
        ({"generation_alpha": None}, "give --generation-alpha"),
        ({"comprehension": M3 / "missing.bin"}, "no file"),
        ({"vqgan": M3 / "com_hlora_weights.bin"}, "state_dict"),
        ({"comprehension": None, "generation": None}, "no plugin to import"),
    ],
)
def test_wrong_files_are_one_line_and_nothing_written(tmp_path, capsys, changes, said):
    assert main(command(tmp_path / "m3", **changes)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert said in lines[0]
    assert not list(tmp_path.iterdir())


def test_a_truncated_file_is_named(tmp_path, capsys):
    content = (M3 / "gen_hlora_weights.bin").read_bytes()
    (tmp_path / "gen.bin").write_bytes(content[: len(content) // 2])
    assert main(command(tmp_path / "m3", generation=tmp_path / "gen.bin")) == 2
    assert "gen.bin" in capsys.readouterr().err
    assert not (tmp_path / "m3").exists()


class RunsCode:
    """Pickled as a call that makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path, capsys):
    trap, bait = tmp_path / "trap.bin", tmp_path / "made-by-the-pickle"
    torch.save({"base_model.model.model.layers.0.mlp.down_proj.lora_A.weight": RunsCode(bait)}, trap)
    assert main(command(tmp_path / "m3", comprehension=trap)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1
    assert "trap.bin" in lines[0]
    assert not bait.exists()
    assert not (tmp_path / "m3").exists()


def test_swapped_plugins_and_a_wrong_rank_are_told_by_the_variant(tmp_path, capsys, monkeypatch):
    small = replace(
        VARIANTS["m3"], hidden_size=56, layers=3, comprehension=PluginSize(8, 4, 16), generation=PluginSize(16, 4, 32)
    )
    monkeypatch.setitem(VARIANTS, "m3", small)
    swapped = {"comprehension": M3 / "gen_hlora_weights.bin", "generation": M3 / "com_hlora_weights.bin"}
    assert main(command(tmp_path / "m3", **swapped)) == 2
    said = capsys.readouterr().err
    assert "gen_hlora_weights.bin is not m3's comprehension plugin; found merged rank 16, 4 experts" in said
    assert "allowed: rank 8, 4 experts; next: it looks like the generation file" in said
    monkeypatch.setitem(VARIANTS, "m3", replace(small, comprehension=PluginSize(32, 4, 64)))
    assert main(command(tmp_path / "m3")) == 2
    assert "found merged rank 8, 4 experts; allowed: rank 32, 4 experts" in capsys.readouterr().err
    assert not (tmp_path / "m3").exists()


def test_a_base_without_its_tokenizer_is_named(tmp_path, capsys):
    shutil.copytree(M3 / "base", tmp_path / "base", ignore=shutil.ignore_patterns("tokenizer*", "added*", "special*"))
    assert main(command(tmp_path / "m3", base=tmp_path / "base")) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1
    assert "base cannot be read" in lines[0]
    assert "tokenizer" in lines[0]
    assert not (tmp_path / "m3").exists()

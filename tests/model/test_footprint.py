"""Parameter counts by arithmetic are those of the built model and of the released files."""

import pytest
import torch
from safetensors.torch import load_file
from tiny import save_tiny, tiny_model, tiny_variant

from healthgpt.errors import ModelError
from healthgpt.model.build import parameter_count
from healthgpt.model.footprint import (
    FORMS,
    OPTIONS,
    adapter_parameters,
    check_fits,
    footprint,
    held,
    parameters_of,
    plugin_parameters,
    stored_numbers,
)
from healthgpt.training.nano.recipe import load_recipe
from healthgpt.variants import VARIANTS


def test_counts_are_those_of_a_built_model():
    model, _, variant = tiny_model()
    counts = parameters_of(variant)
    own = dict(model.named_parameters())

    def held(*words):
        return sum(p.numel() for name, p in own.items() if all(word in name for word in words))

    assert counts.comprehension == held(".adapters.comprehension.")
    assert counts.generation == held(".adapters.generation.")
    assert counts.backbone == held("backbone.") - counts.comprehension - counts.generation
    assert counts.adapters == held("vision.adapters.")
    assert counts.tower == parameter_count(model.vision.tower)
    assert counts.tables == held("fusion.text_") + held("fusion.image_")


@pytest.mark.parametrize(
    ("name", "family", "released"),
    [
        ("m3", "comprehension", 115_480_576),
        ("m3", "generation", 417_470_464),
        ("l14", "comprehension", 148_203_520),
        ("xl32", "comprehension", 314_845_184),
    ],
)
def test_released_plugin_files_have_these_many_numbers(name, family, released):
    variant = VARIANTS[name]
    assert plugin_parameters(variant, getattr(variant, family)) + adapter_parameters(variant) == released


def test_the_released_fusion_file_and_bases_are_met():
    assert parameters_of(VARIANTS["m3"]).tables == 247_025_664
    base = parameters_of(VARIANTS["m3"]).backbone + 2 * 32_064 * 3072
    assert base == 3_821_079_552  # Phi-3-mini as published
    assert parameters_of(VARIANTS["l14"]).backbone + 2 * 100_352 * 5120 == 14_659_507_200  # Phi-4
    assert parameters_of(VARIANTS["xl32"]).backbone + 2 * 152_064 * 5120 == 32_763_876_352  # Qwen2.5-32B


def test_half_the_precision_is_about_half_the_memory():
    whole, half = (footprint(VARIANTS["m3"], precision) for precision in ("float32", "bfloat16"))
    assert 1.8 < whole.total / half.total < 2.0
    assert half.cache == whole.cache / 2


def test_each_form_is_smaller_than_the_one_before():
    sizes = [footprint(VARIANTS["xl32"], form).weights for form in FORMS]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] == pytest.approx(sizes[1] / 2, rel=0.12)  # nearly all numbers are those of linear layers
    assert list(OPTIONS) == list(FORMS)


def test_what_does_not_fit_is_refused_before_it_is_loaded(tmp_path, monkeypatch):
    model = save_tiny(tmp_path)
    linear, others = stored_numbers(tmp_path)
    codec = sum(tensor.numel() for tensor in load_file(tmp_path / "vqgan" / "model.safetensors").values())
    assert linear + others == parameter_count(model) + codec
    assert linear == parameters_of(tiny_variant()).linear
    cpu = torch.device("cpu")
    check_fits(tmp_path, cpu, torch.float32)
    whole = held(linear, others, torch.float32, None)
    for free, found in (
        (whole - 1, "next: --dtype bfloat16"),
        (held(linear, others, torch.bfloat16, "int8"), "next: --dtype bfloat16 --quantize int8"),
        (1000, "next: a smaller model"),
    ):
        monkeypatch.setattr("healthgpt.model.footprint.free_memory", lambda device, quantize=None, free=free: free)
        with pytest.raises(ModelError, match=rf"does not fit this machine.*allowed: float32.*int4.*{found}"):
            check_fits(tmp_path, cpu, torch.float32)
    monkeypatch.setattr("healthgpt.model.footprint.free_memory", lambda device, quantize=None: whole // 2)
    check_fits(tmp_path, cpu, torch.bfloat16)


@pytest.mark.parametrize(("name", "cuda"), [("nano", False), ("nano-large", True)])
def test_the_recipe_builds_what_the_variant_says(name, cuda):
    recipe = load_recipe("nano", cuda=cuda)
    assert recipe.variant == name
    assert (recipe.mlp_width, recipe.heads) == (VARIANTS[name].mlp_size, VARIANTS[name].heads)

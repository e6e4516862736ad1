"""The plan's counts are a built model's, its operations those torch counts, its kept bytes those autograd saves."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import tiny_variant
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaModel, Phi3Config, Phi3Model, PreTrainedModel, Qwen2Config, Qwen2Model

from healthgpt.batch import Batch
from healthgpt.errors import RecipeError
from healthgpt.model.build import FAMILIES, layout_of, new_tower, parameter_count, plugin_specs
from healthgpt.model.fusion import Fusion
from healthgpt.model.healthgpt import HealthGPTModel
from healthgpt.model.published import GRAINS
from healthgpt.plugins.attach import attach, make_routable
from healthgpt.plugins.store import adapter_maker
from healthgpt.tokens import IGNORED, IMAGE_SLOT
from healthgpt.training.cost.gpu_memory import LOGIT_BYTES, block_bytes, gpu_memory, longest_row
from healthgpt.training.cost.parameter_counts import makeup_of
from healthgpt.training.cost.plan import CARDS, UTILISATION, explain, predict
from healthgpt.training.cost.step_operations import RowKind, operations, paper_samples, row_kinds, tower_blocks
from healthgpt.training.objective import response_loss
from healthgpt.training.parameters import train_only
from healthgpt.training.recipe import Recipe
from healthgpt.training.recipe_files import FROM_NOTHING, load_recipe, recipe_names, recipe_path
from healthgpt.training.stages import STAGES
from healthgpt.variants import VARIANTS, Variant, variant_named
from healthgpt.vision.grains import GrainedVision

NAMES = [name for name in recipe_names() if name != FROM_NOTHING]
KINDS = [
    "stage1-comprehension", "stage1-generation", "stage2", "stage3-comprehension", "stage3-generation", "mixed",
    "stage3-comprehension-lora", "stage3-comprehension-moelora", "hvp-merged-generation", "finetune-generation",
]  # fmt: skip


def bundled(name: str, **changes: Any) -> Recipe:
    return load_recipe(recipe_path(name), changes, on_this_disk=False)


def backbone_of(variant: Variant, attention: str) -> PreTrainedModel:
    """Phi where layers are fused, Qwen2 where projections have biases, else Llama."""
    make: Any = (Phi3Config, Phi3Model) if variant.fused else (LlamaConfig, LlamaModel)
    make = (Qwen2Config, Qwen2Model) if variant.projection_biases else make
    config, model = make
    backbone = model(
        config(
            vocab_size=1, hidden_size=variant.hidden_size, intermediate_size=variant.mlp_size,
            num_hidden_layers=variant.layers, num_attention_heads=variant.heads,
            num_key_value_heads=variant.kv_heads, max_position_embeddings=variant.context, pad_token_id=None,
            bos_token_id=None, eos_token_id=None, attn_implementation=attention,
        )
    )  # fmt: skip
    backbone.set_input_embeddings(nn.Identity())
    return backbone


def built(recipe: Recipe, attention: str = "sdpa") -> HealthGPTModel:
    """The model a run of the recipe would train, with random weights."""
    makeup = makeup_of(recipe)
    variant = makeup.variant
    backbone, tower = backbone_of(variant, attention), new_tower(variant)
    tower.clip.set_attn_implementation(attention)
    make_routable(backbone)
    for family in makeup.families:
        spec = plugin_specs(variant)[family].model_copy(update=makeup.plugins[family].model_dump())
        attach(backbone, family, adapter_maker(spec, recipe.optimisation.dropout))
    states = {
        GRAINS[family][0]: tower_blocks(recipe, variant, family) for family in makeup.families
    }  # merged grains take the deeper state alone, which costs the same
    fusion = Fusion(layout_of(variant), variant.hidden_size, variant.grid, makeup.apart)
    return HealthGPTModel(
        backbone, GrainedVision(tower, variant.hidden_size, states), fusion, {name: name for name in makeup.families}
    )


def assert_counted_right(recipe: Recipe, model: HealthGPTModel) -> None:
    plan = predict(recipe, 80.0, 1)
    chosen = train_only(model, STAGES[recipe.stage].trains)
    trained = {amount.what: amount.number for amount in plan.trained}
    for group, parameters in chosen.items():
        ours = sum(trained.values()) if group == "fusion" else trained[group]
        assert ours == sum(parameter.numel() for parameter in parameters.values()), group
    whole = sum(amount.number for amount in (*plan.trained, *plan.frozen))
    assert whole == parameter_count(model)
    assert sum(trained.values()) == sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("kind", KINDS)
def test_counts_are_those_of_a_built_tiny_model(kind, monkeypatch):
    monkeypatch.setitem(VARIANTS, "nano", tiny_variant())
    recipe = bundled(f"nano-{kind}", **{"rows.max_length": 64})
    if recipe.plugin is not None:
        recipe = recipe.model_copy(update={"plugin": recipe.plugin.model_copy(update={"rank": 4})})
    assert_counted_right(recipe, built(recipe))


@pytest.mark.parametrize("kind", KINDS)
def test_counts_are_those_of_a_built_nano(kind):
    recipe = bundled(f"nano-{kind}")
    assert_counted_right(recipe, built(recipe))


@pytest.mark.parametrize(
    "name",
    [*(f"m3-{kind}" for kind in KINDS), *(name for name in NAMES if "-continue-" in name),
     *(f"{variant}-{kind}" for variant in ("l14", "xl32") for kind in ("stage1-generation", "stage2", "mixed"))],
)  # fmt: skip
def test_counts_are_those_of_a_published_size_built_without_memory(name):
    recipe = bundled(name)
    with torch.device("meta"):
        model = built(recipe)
    assert_counted_right(recipe, model)


def test_stage_3_of_m3_trains_what_the_released_file_holds():
    plan = predict(bundled("m3-stage3-comprehension"), 80.0, 1)
    assert sum(amount.number for amount in plan.trained) == 115_480_576


def batch_of(variant: Variant, row: RowKind) -> Batch:
    """One such row, the last of its tokens learned."""
    layout = layout_of(variant)
    drawn = row.family == "generation"
    words = row.length - row.learned - row.image_tokens
    ids = torch.tensor(
        [[5] * words + [IMAGE_SLOT] * row.image_tokens + [layout.first_code if drawn else 7] * row.learned]
    )
    labels = ids.clone()
    labels[:, : row.length - row.learned] = IGNORED
    nowhere = torch.zeros_like(ids, dtype=torch.bool)
    pixels = torch.randn(1, 3, variant.image_size, variant.image_size)
    return Batch(
        ids, ~nowhere, nowhere, ("reconstruct" if drawn else "x-ray",), (0,), pixels_N3SS=pixels, labels_BT=labels
    )


def nano_for(kind: str, way: str, attention: str) -> tuple[Recipe, HealthGPTModel, RowKind, Batch]:
    """A nano recipe, its model in training, and one row that is as long as its kind is assumed to be."""
    changes = {"rows.max_length": 534, "optimisation.micro_batch": 1, "hardware.cache_features": False}
    recipe = bundled(f"nano-{kind}", **changes, **WAYS[way])
    torch.manual_seed(0)
    model = built(recipe, attention).train()
    train_only(model, STAGES[recipe.stage].trains)
    backbone = model.backbone
    assert isinstance(backbone, PreTrainedModel)
    if recipe.hardware.activation_checkpointing:
        backbone.activation_checkpointing_enable()
    if recipe.hardware.precision == "bf16":
        model.to(torch.bfloat16)
    row = row_kinds(recipe, makeup_of(recipe))[-1]
    length = longest_row(recipe, (row,))
    row = replace(row, length=length)
    return recipe, model, row, batch_of(variant_named("nano"), row)


WAYS = {
    "as it is": {},
    "checkpointing": {"hardware.activation_checkpointing": True},
    "bf16": {"hardware.precision": "bf16"},
}
CASES = [
    ("stage1-comprehension", "as it is"), ("stage1-generation", "as it is"), ("stage1-generation", "checkpointing"),
    ("stage2", "as it is"), ("stage3-comprehension", "as it is"), ("stage3-comprehension", "checkpointing"),
    ("stage3-comprehension", "bf16"), ("stage3-comprehension-lora", "as it is"),
    ("stage3-comprehension-moelora", "as it is"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "way"), [case for case in CASES if case[1] != "bf16"])
def test_operations_are_those_that_torch_counts(kind, way):
    recipe, model, row, batch = nano_for(kind, way, attention="eager")
    with FlopCounterMode(display=False) as counter:
        response_loss(model, batch)[0].backward()
    ours = sum(sum(part) for name, part in operations(recipe, makeup_of(recipe), row).items() if name != "attention")
    # plain attention scores all pairs, not half of them: two products forward, and again, and four backward
    variant, products = variant_named("nano"), 8 if recipe.hardware.activation_checkpointing else 6
    ours += products * 2.0 * row.length**2 * variant.hidden_size * variant.layers
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.01)


@pytest.mark.parametrize(("kind", "way"), CASES)
def test_kept_bytes_are_those_that_autograd_saves(kind, way):
    recipe, model, row, batch = nano_for(kind, way, attention="sdpa")
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss, _ = response_loss(model, batch)
    assert loss.requires_grad
    measured = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    ours = {amount.what: amount.number for amount in gpu_memory(recipe, makeup_of(recipe), (row,), 1, 1)}
    kept = ours["kept by decoder blocks"] + ours["last norm"] + ours.get("visual adapter", 0)
    kept += ours["scores"] * 4 / LOGIT_BYTES  # the gradients come later
    if recipe.hardware.activation_checkpointing:  # one block is done again only on the way back
        kept -= row.length * block_bytes(recipe, makeup_of(recipe), row.family)
    assert kept == pytest.approx(measured, rel=0.05)


def test_samples_are_the_papers():
    counted = {
        stage: sum(paper_samples(bundled(f"m3-{stage}")).values())
        for stage in ("stage1-comprehension", "stage1-generation", "stage2", "stage3-comprehension",
                      "stage3-generation")
    }  # fmt: skip
    assert counted == {
        "stage1-comprehension": 558_128 + 646_759,
        "stage1-generation": 558_128,
        "stage2": 47_000,
        "stage3-comprehension": 765_802 + 665_298,
        "stage3-generation": 783_045,
    }
    assert not paper_samples(bundled("m3-finetune-comprehension"))


def test_days_are_operations_over_speed():
    plan = predict(bundled("m3-stage3-generation"), None, 8, "A100-80GB")
    assert plan.run_rows == 783_045
    assert plan.operations_a_second == 8 * 312e12 * UTILISATION
    steps = plan.run_rows / 64
    assert plan.days(plan.run_rows) == pytest.approx(steps * plan.step_operations / plan.operations_a_second / 86_400)
    # three forward passes' worth of 3.6 billion frozen weights is nearly all of it
    frozen = 6 * 3.62e9 * sum(kind.share * kind.length for kind in plan.rows)
    assert sum(sum(work) for work in plan.work.values()) == pytest.approx(frozen, rel=0.25)


def test_cached_features_spare_the_tower_after_the_first_epoch():
    recipe = bundled("m3-stage3-comprehension", **{"optimisation.epochs": 3})
    cached = bundled("m3-stage3-comprehension", **{"optimisation.epochs": 3, "hardware.cache_features": True})
    spared = [predict(one, 80.0, 8) for one in (recipe, cached)]
    tower = sum(spared[0].work["vision tower"])
    seconds = (spared[0].days(3.0) - spared[1].days(3.0)) * 86_400
    assert seconds == pytest.approx(2 * tower / spared[0].operations_a_second)


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_planned_without_data_or_weights(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = bundled(name)
    plan = predict(recipe, None, 1 if recipe.variant == "nano" else 8)
    assert plan.fits
    assert recipe.optimisation.micro_batch <= plan.largest_micro_batch
    lines = explain(plan)
    assert all(quantity and value and how for quantity, value, how in lines)
    named = [quantity for quantity, _, _ in lines]
    assert len(named) - len(set(named)) <= 1  # drawing rows with and without an image
    assert {"trained in all", "memory of each GPU", "largest micro_batch", "one step", "speed"} <= set(named)
    assert ("10,000 rows" in named) == ("finetune" in name or "continue" in name)


def test_the_largest_micro_batch_is_the_last_that_fits():
    def planned(micro: int):
        return predict(bundled("l14-stage3-comprehension", **{"optimisation.micro_batch": micro}), None, 1)

    best = planned(1).largest_micro_batch
    assert planned(best).fits
    assert best < 128
    assert not planned(2 * best).fits
    assert predict(bundled("xl32-stage3-comprehension"), 40.0, 8).largest_micro_batch < 16
    assert predict(bundled("xl32-stage3-comprehension"), None, 1).largest_micro_batch == 0


def bytes_of_parts(**changes: Any) -> dict[str, float]:
    recipe = bundled("m3-stage3-generation", **changes)
    return {amount.what: amount.number for amount in predict(recipe, 80.0, 8).memory}


def test_memory_follows_the_layout_of_the_work():
    whole = bytes_of_parts()
    trained = 417_470_464
    assert whole["gradients"] == whole["trained weights"] == whole["AdamW"] / 2 == 4 * trained
    fsdp = bytes_of_parts(**{"hardware.parallel": "fsdp"})
    for part in ("frozen backbone", "trained weights", "gradients", "AdamW"):
        assert fsdp[part] == whole[part] / 8
    assert 0 < fsdp["gathered while computed"] < whole["frozen backbone"] / 4
    assert "gathered while computed" not in whole
    zero = bytes_of_parts(**{"hardware.parallel": "deepspeed"})
    assert zero["AdamW"] == whole["AdamW"] / 8
    assert zero["trained weights"] == whole["trained weights"]
    small = bytes_of_parts(**{"hardware.quantize": "int4"})
    assert small["frozen backbone"] < whole["frozen backbone"] / 3
    single = bytes_of_parts(**{"hardware.precision": "fp32"})
    assert single["frozen backbone"] == 2 * whole["frozen backbone"]
    assert "copies of them" not in single
    assert bytes_of_parts(**{"optimisation.average": 0.999})["moving average"] == 4 * trained
    kept = bytes_of_parts(**{"hardware.activation_checkpointing": False})
    assert kept["kept by decoder blocks"] > 10 * whole["kept by decoder blocks"]


def test_grains_decide_how_deep_the_tower_runs():
    def depth(name: str, family: Any) -> int:
        return tower_blocks(bundled(name), VARIANTS["m3"], family)

    assert [depth("m3-mixed", family) for family in FAMILIES] == [23, 1]
    assert depth("m3-hvp-swapped-comprehension", "comprehension") == 1
    assert depth("m3-hvp-swapped-generation", "generation") == 23
    assert depth("m3-hvp-merged-generation", "generation") == 23


def test_what_cannot_be_planned_is_refused():
    recipe = bundled("m3-stage2")
    with pytest.raises(RecipeError, match="did you mean 'H200'"):
        predict(recipe, None, 1, "H20")
    with pytest.raises(RecipeError, match="a micro_batch that divides 2"):
        predict(recipe, None, 16)
    with pytest.raises(RecipeError, match="a number of GPUs that divides 32"):
        predict(recipe, None, 3)
    assert all(card.gigabytes > 0 and card.half > card.single for card in CARDS.values())
    assert math.isfinite(predict(recipe, None, 8).days(1.0))


def test_a_smaller_vocabulary_is_taken_from_the_release():
    makeup = makeup_of(bundled("xl32-continue-comprehension"))
    assert makeup.variant == replace(VARIANTS["xl32"], text_size=152_064, code_count=0)
    assert makeup.families == ("comprehension",)
    assert makeup_of(bundled("m3-continue-generation")).apart == ("comprehension",)

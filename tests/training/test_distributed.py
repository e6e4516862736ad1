"""Laws of a spread run: two processes train as one, whatever their rows; what cannot be run is refused."""

import math

import pytest
import torch
from accelerate.utils import is_deepspeed_available
from spread_run import RowLosses, in_one_process, is_trained, rows_of_step, started

from healthgpt.errors import RecipeError
from healthgpt.training.distributed import Distribution, spread, start_accelerator

KINDS = [
    "ddp",
    "fsdp",
    pytest.param("deepspeed", marks=pytest.mark.skipif(not is_deepspeed_available(), reason="DeepSpeed not installed")),
]


def assert_same_run(found, expected, tolerance=1e-5):
    """Losses, norms and every tensor; frozen ones to the bit."""
    torch.testing.assert_close(found["losses"], expected["losses"], rtol=tolerance, atol=0)
    torch.testing.assert_close(found["norms"], expected["norms"], rtol=tolerance, atol=0)
    assert found["tensors"].keys() == expected["tensors"].keys()
    for name, tensor in expected["tensors"].items():
        same = (tolerance, 1e-6) if is_trained(name) else (0, 0)
        torch.testing.assert_close(found["tensors"][name], tensor, rtol=same[0], atol=same[1], msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_train_as_one(same_runs, kind):
    """Micro-batches of one family alone, different ones on the processes; clipped; validation with other tensors."""
    for found in same_runs.processes:
        assert_same_run(found[kind]["whole"], same_runs.one)


@pytest.mark.parametrize("kind", KINDS)
def test_precision_is_the_same_however_spread(same_runs, one_in_bf16, kind):
    assert_same_run(same_runs.processes[0][kind]["bf16"], one_in_bf16)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_finite_on_one_process_is_seen_on_all_and_leaves_no_trace(same_runs, kind):
    expected = in_one_process([0, 1, 2, 3, 4, 6])
    for found in same_runs.processes:
        after = found[kind]["after a broken step"]
        assert found[kind]["was sound"] is False
        assert not math.isfinite(after["norms"].pop(5))
        assert math.isnan(after["losses"].pop(5))
        assert_same_run(after, expected)


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_the_scale_of_gradients_is_the_same_on_all_processes(same_runs, kind):
    expected = in_one_process([0, 1])
    for found in same_runs.processes:
        after = found[kind]["scaled"]
        assert found[kind]["scale"] == 2.0**9
        assert not math.isfinite(after["norms"].pop(1))
        after["losses"].pop(1)
        assert_same_run(after, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_model_is_used_by_each_process_at_its_own_pace(same_runs, kind):
    first, second = (found[kind] for found in same_runs.processes)
    assert first["alone"] == pytest.approx(first["validation"], rel=1e-5)
    assert first["validation"] == pytest.approx(second["validation"], rel=1e-6)
    assert 0 < second["alone"] < first["alone"]


def test_every_trained_tensor_has_a_gradient_though_no_row_uses_it():
    run = started()
    reading = rows_of_step(0, run.builder, run.size)[1:2]  # without an image: no adapter is called
    run.spread.backward(run.spread.module(run.batch(reading)).sum())
    unused = [name for name in run.spread.trained if "generation" in name or name.startswith("vision.")]
    assert len(unused) > 20
    assert all(run.spread.trained[name].grad.count_nonzero() == 0 for name in unused)
    used = [name for name in run.spread.trained if ".comprehension.lora_B" in name]
    assert all(run.spread.trained[name].grad.count_nonzero() > 0 for name in used)


def test_gradients_are_those_of_the_bare_loss():
    run = started()
    rows = rows_of_step(0, run.builder, run.size)
    run.spread.backward(run.spread.module(run.batch(rows)).sum())
    ours = {name: tensor.grad.clone() for name, tensor in run.spread.trained.items()}
    for block in run.model.backbone.layers:
        block._forward_pre_hooks.clear()
    run.spread.optimizer.zero_grad()
    RowLosses(run.model)(run.batch(rows)).sum().backward()
    for name, tensor in run.spread.trained.items():
        if tensor.grad is not None:
            torch.testing.assert_close(ours[name], tensor.grad, msg=name)


def test_activation_checkpointing_changes_memory_alone():
    assert_same_run(in_one_process([0, 1], activation_checkpointing=True), in_one_process([0, 1]), tolerance=0)


@pytest.mark.parametrize("limit", [0.1, math.inf])
def test_clipping_bounds_the_norm_and_tells_the_one_before(limit):
    run = started()
    run.spread.backward(run.spread.module(run.batch(rows_of_step(0, run.builder, run.size))).sum())
    before = run.spread.clip_gradients(limit)
    assert before > 1
    assert run.spread.clip_gradients(math.inf) == pytest.approx(min(limit, before), rel=1e-5)


def test_scaled_gradients_are_clipped_as_they_are_and_overflow_lowers_the_scale():
    """fp16 runs on GPUs alone; its scaler runs anywhere."""
    plain, scaled = started(), started()
    scaled.spread.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for step in range(2):
        plain.step(step)
        scaled.step(step)
    assert_same_run(scaled.outcome(), plain.outcome())
    assert not scaled.step(2, broken_on=0)
    assert scaled.spread.accelerator.scaler.get_scale() == 2.0**9


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Distribution(precision="fp16", cpu=True), "fp16 needs a GPU"),
        (Distribution(parallelism="deepspeed", cpu=True), "DeepSpeed needs a GPU"),
    ],
)
def test_what_cpus_cannot_do_is_refused(settings, words):
    with pytest.raises(RecipeError, match=words):
        start_accelerator(settings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"precision": "fp16"}, "bf16 or fp32"), ({}, "not installed")],
)
def test_deepspeed_that_would_not_work_is_refused(monkeypatch, changes, words):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("healthgpt.training.distributed.is_deepspeed_available", lambda: False)
    with pytest.raises(RecipeError, match=words):
        start_accelerator(Distribution(parallelism="deepspeed", **changes))


def test_a_quantised_backbone_is_not_sharded():
    run = started()
    weight = run.model.backbone.layers[0].self_attn.q_proj.base.weight
    weight.data = weight.data.to(torch.int8)
    settings = Distribution(precision="fp32", parallelism="fsdp", cpu=True)
    with pytest.raises(RecipeError, match=r"quantised backbone.*q_proj"):
        spread(run.spread.accelerator, settings, RowLosses(run.model), lambda trained: None)


@pytest.mark.parametrize("wrong", ["nothing trained", "trained in bfloat16"])
def test_trained_tensors_are_there_and_in_float32(wrong):
    run = started()
    for tensor in run.model.parameters():
        tensor.requires_grad_(wrong != "nothing trained")
        tensor.data = tensor.data.to(torch.bfloat16)
    with pytest.raises(ValueError, match="float32"):
        spread(run.spread.accelerator, Distribution(cpu=True), RowLosses(run.model), lambda trained: None)

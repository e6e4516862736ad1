"""Routes: each row by its plugin, none by another's, threads apart, recomputation included."""

import threading
from copy import deepcopy

import pytest
import torch
from tiny import tiny_model

from healthgpt.errors import ModelError
from healthgpt.plugins.attach import attach, decoder_blocks, detach, make_routable, plugin_state, routed_layers
from healthgpt.plugins.lora import LoRA
from healthgpt.plugins.routing import Route, open_route


def run(model, x, route):
    return model.backbone(inputs_embeds=x, plugin_route=route, use_cache=False).last_hidden_state


def test_every_linear_layer_of_the_blocks_carries_a_plugin():
    model, _, variant = tiny_model()
    names = [name for name, _ in routed_layers(model.backbone)]
    assert len(names) == 7 * variant.layers  # q k v o gate up down
    assert not any(
        isinstance(module, torch.nn.Linear) and "base" not in name and "lora" not in name
        for name, module in decoder_blocks(model.backbone).named_modules()
    )


def test_untrained_plugins_change_nothing_and_no_route_is_the_backbone():
    model, _, variant = tiny_model(trained=False)
    x = torch.randn(2, 5, variant.hidden_size)
    bare = run(model, x, None)
    for family in ("comprehension", "generation"):
        assert torch.equal(run(model, x, Route.of_rows([family, family])), bare)


def test_mixed_rows_equal_rows_apart():
    model, _, variant = tiny_model()
    x = torch.randn(4, 6, variant.hidden_size)
    plugins = ["generation", "comprehension", None, "generation"]
    mixed = run(model, x, Route.of_rows(plugins))
    for row, plugin in enumerate(plugins):
        apart = run(model, x[row : row + 1], Route.of_rows([plugin]))
        torch.testing.assert_close(mixed[row : row + 1], apart, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(mixed[1], run(model, x, Route.of_rows(["generation"] * 4))[1], atol=1e-3)


def test_threads_with_different_routes_do_not_disturb_each_other():
    model, _, variant = tiny_model()
    x = torch.randn(2, 8, variant.hidden_size)
    routes = {name: Route.of_rows([name, name]) for name in ("comprehension", "generation")}
    with torch.no_grad():
        alone = {name: run(model, x, route) for name, route in routes.items()}
    seen: dict[str, list[bool]] = {name: [] for name in routes}

    def work(name: str) -> None:
        with torch.no_grad():
            seen[name] = [torch.equal(run(model, x, routes[name]), alone[name]) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(name,)) for name in routes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"comprehension": [True] * 20, "generation": [True] * 20}


def test_checkpointed_blocks_open_their_route_again_in_the_backward_pass():
    model, _, variant = tiny_model()
    x = torch.randn(2, 5, variant.hidden_size)
    route = Route.of_rows(["generation", "comprehension"])
    grads = []
    for checkpointing in (False, True):
        model.backbone.train()
        if checkpointing:
            model.backbone.activation_checkpointing_enable()
        model.zero_grad()
        run(model, x, route).square().sum().backward()
        grads.append(
            [layer.adapters["generation"].lora_B.weight.grad.clone() for _, layer in routed_layers(model.backbone)]
        )
    for plain, recomputed in zip(*grads, strict=True):
        torch.testing.assert_close(plain, recomputed)


def test_route_is_closed_even_when_a_block_fails():
    model, _, variant = tiny_model()
    with pytest.raises(ModelError, match="no plugin named 'nowhere'"):
        run(model, torch.randn(1, 2, variant.hidden_size), Route.of_rows(["nowhere"]))
    assert open_route.get() is None


def test_plugins_come_and_go():
    model, _, variant = tiny_model()
    x = torch.randn(1, 3, variant.hidden_size)
    before = run(model, x, Route.of_rows(["comprehension"]))
    attach(model.backbone, "third", lambda i, o: LoRA(i, o, 2, 4.0))
    assert len(plugin_state(model.backbone, "third")) == 2 * 7 * variant.layers
    detach(model.backbone, "third")
    assert torch.equal(run(model, x, Route.of_rows(["comprehension"])), before)


def test_a_copied_model_computes_with_its_own_layers():
    model, _, variant = tiny_model()
    x, route = torch.randn(1, 3, variant.hidden_size), Route.of_rows(["comprehension"])
    before, copied = run(model, x, route), deepcopy(model)
    assert torch.equal(run(copied, x, route), before)
    for _, layer in routed_layers(copied.backbone):
        torch.nn.init.zeros_(layer.base.weight)
    assert torch.equal(run(model, x, route), before)
    assert not torch.equal(run(copied, x, route), before)


def test_a_backbone_without_blocks_is_refused():
    class Nothing(torch.nn.Module):
        config = type("Config", (), {"num_hidden_layers": 3})()

    with pytest.raises(ModelError, match="no decoder blocks"):
        make_routable(Nothing())

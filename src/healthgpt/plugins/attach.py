"""Put plugins beside every linear layer of a language model's decoder blocks.

Layers are found by structure, not by name: all ``nn.Linear`` inside the decoder blocks. The output head
lies outside the blocks and never carries a plugin.
"""

import inspect
from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from healthgpt.errors import ModelError
from healthgpt.plugins.routing import Route, open_route, opened

AdapterMaker = Callable[[int, int], nn.Module]
"""(in_features, out_features) -> a LoRA, MoELoRA or HLoRA for one layer."""


class RoutedLinear(nn.Module):
    """A frozen linear layer with named adapters beside it; each row is served by the one its route names."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.adapters = nn.ModuleDict()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, in) -> (B, T, out)."""
        output = self.base(x)
        route = open_route.get()
        if route is None:
            return output
        for plugin, rows in route.groups:
            if plugin not in self.adapters:
                raise ModelError(
                    f"no plugin named '{plugin}' is attached", allowed=", ".join(self.adapters) or "none attached"
                )
            adapter = self.adapters[plugin]
            if rows is None:
                output = adapter(x, output)
            else:
                rows = rows.to(x.device)  # blocks may lie on several devices
                output = output.index_copy(0, rows, adapter(x[rows], output[rows]).to(output.dtype))
        return output


def decoder_blocks(language_model: nn.Module) -> nn.ModuleList:
    """The list of decoder blocks: the first module list as long as the configuration says there are layers."""
    expected = language_model.config.num_hidden_layers  # type: ignore[union-attr]
    for module in language_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == expected:
            return module
    raise ModelError(
        "no decoder blocks found in the backbone",
        found=type(language_model).__name__,
        allowed=f"a causal language model with a module list of {expected} blocks",
    )


def make_routable(language_model: nn.Module) -> list[str]:
    """Replace every linear layer of the decoder blocks by a ``RoutedLinear``; returns their names.

    Done once per backbone. Raises ``ModelError`` when no linear layer is found.
    """
    blocks = decoder_blocks(language_model)
    names = []
    for index, block in enumerate(blocks):
        linears = [(name, module) for name, module in block.named_modules() if isinstance(module, nn.Linear)]
        for name, linear in linears:
            parent = block.get_submodule(name.rpartition(".")[0]) if "." in name else block
            setattr(parent, name.rpartition(".")[2], RoutedLinear(linear))
            names.append(f"{index}.{name}")
        _take_route(block)
    if not names:
        raise ModelError("the backbone has no linear layers to attach plugins to", found=type(language_model).__name__)
    return names


def _take_route(block: nn.Module) -> None:
    """Give a decoder block the argument ``plugin_route``, opened for its linear layers.

    The route must be open *inside* activation checkpointing, which the library wraps around the class's
    forward, so the bare forward is taken and checkpointed here. It is set as a method: copied with a model, it is
    then its own block's.
    """
    bare = inspect.unwrap(type(block).forward)

    def forward(self: nn.Module, *args: Any, plugin_route: Route | None = None, **kwargs: Any) -> Any:
        def routed(*inner: Any) -> Any:
            with opened(plugin_route):
                return bare(self, *inner, **kwargs)

        if getattr(self, "gradient_checkpointing", False) and self.training:
            return checkpoint(routed, *args, use_reentrant=False)
        return routed(*args)

    block.forward = MethodType(forward, block)  # type: ignore[method-assign]


def routed_layers(language_model: nn.Module) -> Iterator[tuple[str, RoutedLinear]]:
    """Name (``block.path``) and layer of every place a plugin can be attached."""
    for index, block in enumerate(decoder_blocks(language_model)):
        for name, module in block.named_modules():
            if isinstance(module, RoutedLinear):
                yield f"{index}.{name}", module


def attach(language_model: nn.Module, plugin: str, make_adapter: AdapterMaker) -> None:
    """Add an adapter named ``plugin`` to every routed layer, on the layer's device and in its dtype.

    An adapter made without memory of its own ("meta") stays so until it is filled.
    """
    for _, layer in routed_layers(language_model):
        weight = layer.base.weight
        adapter = make_adapter(layer.base.in_features, layer.base.out_features)
        empty = any(parameter.is_meta for parameter in adapter.parameters())
        layer.adapters[plugin] = adapter if empty else adapter.to(device=weight.device, dtype=weight.dtype)


def detach(language_model: nn.Module, plugin: str) -> None:
    """Remove the adapter named ``plugin`` from every layer."""
    for _, layer in routed_layers(language_model):
        del layer.adapters[plugin]


def plugin_state(language_model: nn.Module, plugin: str) -> dict[str, torch.Tensor]:
    """The plugin's tensors by layer: ``0.self_attn.q_proj.lora_A.weight`` and so on."""
    return {
        f"{name}.{key}": tensor
        for name, layer in routed_layers(language_model)
        for key, tensor in layer.adapters[plugin].state_dict().items()
    }


def load_plugin_state(language_model: nn.Module, plugin: str, state: dict[str, torch.Tensor]) -> None:
    """Give an attached plugin these tensors; ``ModelError`` lists what is missing or unexpected."""
    expected = plugin_state(language_model, plugin)
    missing, unexpected = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or unexpected:
        raise ModelError(
            f"plugin '{plugin}' does not fit this backbone",
            found=f"{len(missing)} tensors missing (first: {(missing or ['none'])[0]}), "
            f"{len(unexpected)} unexpected (first: {(unexpected or ['none'])[0]})",
        )
    for name, layer in routed_layers(language_model):
        prefix = f"{name}."
        layer.adapters[plugin].load_state_dict(
            {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}, assign=True
        )

"""Which plugin each row of a batch uses, and how that choice reaches the linear layers.

The route is an argument: the model hands it to every decoder block as ``plugin_route``. A block opens
it for its own linear layers and closes it when it returns. In between it lives in a context variable,
which is private to the running thread or task, so two threads may use one model with different routes,
and a block recomputed in the backward pass (activation checkpointing) opens the same route again.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Route:
    """Plugin name -> the rows it serves (int64), or None for every row. Rows in no group use the bare backbone."""

    groups: tuple[tuple[str, torch.Tensor | None], ...]

    @classmethod
    def of_rows(cls, plugins: Sequence[str | None], device: torch.device | str = "cpu") -> "Route":
        """The route for a batch whose row i uses ``plugins[i]`` (None: no plugin)."""
        names = list(dict.fromkeys(name for name in plugins if name is not None))
        if len(names) == 1 and all(name == names[0] for name in plugins):
            return cls(((names[0], None),))
        groups = tuple(
            (name, torch.tensor([row for row, plugin in enumerate(plugins) if plugin == name], device=device))
            for name in names
        )
        return cls(groups)


open_route: ContextVar[Route | None] = ContextVar("open_route", default=None)
"""The route of the decoder block being computed; None outside a block."""


@contextmanager
def opened(route: Route | None) -> Iterator[None]:
    """Open a route for the linear layers computed inside; closed again even when they fail."""
    token = open_route.set(route)
    try:
        yield
    finally:
        open_route.reset(token)

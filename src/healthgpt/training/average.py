"""An exponential moving average of what trains: smoother than the last step, for one more copy of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch


class MovingAverage:
    """``tensors``: by name, begun as the parameters are; ``decay``: what each step leaves of the average."""

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], decay: float) -> None:
        self.parameters = parameters
        self.decay = decay
        self.tensors = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    @torch.no_grad()
    def follow(self) -> None:
        """Move towards the parameters after a step."""
        for name, parameter in self.parameters.items():
            self.tensors[name].lerp_(parameter.detach(), 1 - self.decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the average for weights inside, and its own again after."""
        own = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        self._put(self.tensors)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, tensors: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(tensors[name])

"""A key/value cache with room for the whole answer, so that a step writes one position instead of copying all.

The library's growing cache concatenates at every step: for a batch of 40 pictures that is some hundred
megabytes copied a step, more time than the arithmetic takes.
"""

from typing import Any

import torch
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer


class RoomyLayer(DynamicLayer):
    """One layer's keys and values in buffers of ``capacity`` positions; ``keys`` and ``values`` are views of them."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate for the batch, heads and widths of the first states (B, heads, T, width)."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self._keys = key_states.new_empty(*key_states.shape[:2], self.capacity, key_states.shape[3])
        self._values = value_states.new_empty(*value_states.shape[:2], self.capacity, value_states.shape[3])
        self.keys, self.values = self._keys[:, :, :0], self._values[:, :, :0]
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new positions and return all so far; ValueError past the capacity."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = 0 if self.keys is None else self.keys.shape[2]
        end = start + key_states.shape[2]
        if end > self.capacity:
            raise ValueError(f"a cache of {self.capacity} positions cannot hold {end}")
        self._keys[:, :, start:end] = key_states
        self._values[:, :, start:end] = value_states
        self.keys, self.values = self._keys[:, :, :end], self._values[:, :, :end]
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows of the batch."""
        end = 0 if self.keys is None else self.keys.shape[2]
        self._keys, self._values = self._keys[indices], self._values[indices]
        self.keys, self.values = self._keys[:, :, :end], self._values[:, :, :end]


def roomy_cache(config: PretrainedConfig, capacity: int) -> DynamicCache:
    """An empty cache for ``capacity`` positions.

    A layer that attends in a sliding window (Phi-3's 2047 positions) keeps the library's own only where positions
    would leave the window; until then it sees all of them, as any other layer does.
    """
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer(capacity) if _sees_all(layer, capacity) else layer for layer in cache.layers]
    return cache


def _sees_all(layer: Any, capacity: int) -> bool:
    if type(layer) is DynamicSlidingWindowLayer:
        return bool(capacity <= layer.sliding_window)
    return type(layer) is DynamicLayer

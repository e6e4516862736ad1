"""Features of the frozen tower, kept on disk by image content and tower, so that no image is looked at twice.

    FOLDER/features/TOWER-STATE/*.safetensors     features (patches, width) by content key

TOWER is the hash of tower and preprocessing, STATE the hidden state. A file appears whole or not at all. On a CPU each
image goes through the tower by itself: its features are then the same bits whatever it was batched with, and a run
that goes on after a kill sees what it would have seen.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from healthgpt.batch import Batch
from healthgpt.errors import OutputError
from healthgpt.tasks import TASKS, Grain
from healthgpt.training.batches import Prepared
from healthgpt.vision.grains import GrainedVision
from healthgpt.vision.preprocess import Preprocessing

HELD = 64 * 2**20
"""Bytes of features gathered before they are written."""
OPEN = 128
"""Files held open: a large data set has thousands, and a process may open about a thousand."""


def tower_print(hashes: dict[str, str], preprocessing: Preprocessing, dtype: torch.dtype) -> str:
    """Hash over the tower's files, what is done to an image before it, and the precision it computes in."""
    files = sorted(pair for pair in hashes.items() if pair[0] in ("vision/model.safetensors", "vision/config.json"))
    content = json.dumps([files, preprocessing.model_dump(), str(dtype)])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


class FeatureStore:
    """Features of one grain. Several processes and runs may share a folder: no file is written twice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.waiting: dict[str, torch.Tensor] = {}
        self.places: dict[str, Path] = {}
        self._open: dict[Path, Any] = {}
        self.refresh()

    def refresh(self) -> None:
        """Look again at what is on disk, other processes' files included; a damaged file is as if it were not there."""
        known = set(self.places.values())
        for path in sorted(self.folder.glob("*.safetensors")):
            if path not in known:
                try:
                    with safe_open(path, framework="pt") as tensors:
                        keys = list(tensors.keys())
                except (OSError, SafetensorError):
                    path.unlink(missing_ok=True)
                    continue
                for key in keys:
                    self.places.setdefault(key, path)

    def __contains__(self, key: str) -> bool:
        return key in self.waiting or key in self.places

    def get(self, key: str) -> torch.Tensor:
        """(patches, width) of an image; ``KeyError`` when they are not kept."""
        if key in self.waiting:
            return self.waiting[key]
        path = self.places[key]
        if path not in self._open:
            if len(self._open) >= OPEN:
                del self._open[next(iter(self._open))]  # the one opened longest ago
            self._open[path] = safe_open(path, framework="pt")
        return self._open[path].get_tensor(key)

    def put(self, key: str, features: torch.Tensor) -> None:
        """Keep the features of an image; written when enough have come together."""
        self.waiting[key] = features.detach().cpu().contiguous()
        if sum(tensor.nbytes for tensor in self.waiting.values()) >= HELD:
            self.flush()

    def flush(self) -> None:
        """Write what waits, whole; ``OutputError`` when the disk refuses."""
        if not self.waiting:
            return
        path = self.folder / f"{uuid4().hex}.safetensors"
        partial = path.with_suffix(".partial")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(self.waiting, partial)
            os.replace(partial, path)
        except (OSError, SafetensorError) as fault:
            with suppress(OSError):
                partial.unlink()
            raise OutputError(
                f"cannot keep features in {self.folder}", found=str(fault).splitlines()[0],
                next_step="make room there, or set hardware.cache_features: false",
            ) from fault  # fmt: skip
        self.places |= dict.fromkeys(self.waiting, path)
        self.waiting = {}


class FrozenFeatures:
    """Completes micro-batches with what the tower sees; ``stores``: where it is kept, None: nowhere."""

    def __init__(
        self,
        vision: GrainedVision,
        preprocessing: Preprocessing,
        device: torch.device,
        stores: Mapping[Grain, FeatureStore] | None = None,
    ) -> None:
        self.vision = vision
        self.preprocessing = preprocessing
        self.device = device
        self.stores = stores

    @property
    def at_hand(self) -> frozenset[tuple[Grain, str]]:
        """Grain and key of all images whose features are kept."""
        stores = self.stores or {}
        return frozenset((grain, key) for grain, store in stores.items() for key in (*store.places, *store.waiting))

    def complete(self, prepared: Prepared) -> Batch:
        """The micro-batch on the device: with features where they are kept, else with pixels."""
        batch = prepared.batch
        if not prepared.keys:
            return batch.to(self.device)
        if self.stores is None:
            pixels = self._pixels(prepared, prepared.keys)
            return replace(batch, pixels_N3SS=pixels).to(self.device)
        grains = [TASKS[batch.tasks[row]].grain for row in batch.image_rows]
        for grain in dict.fromkeys(grains):
            own = [key for key, other in zip(prepared.keys, grains, strict=True) if other == grain]
            self._look(prepared, grain, [key for key in dict.fromkeys(own) if key not in self.stores[grain]])
        seen = [self.stores[grain].get(key) for grain, key in zip(grains, prepared.keys, strict=True)]
        return replace(batch, features_NPW=torch.stack(seen)).to(self.device)

    def _look(self, prepared: Prepared, grain: Grain, keys: Sequence[str]) -> None:
        """Run the tower on these images and keep what it sees."""
        assert self.stores is not None
        together = 1 if self.device.type == "cpu" else max(1, len(keys))
        for first in range(0, len(keys), together):
            some = keys[first : first + together]
            pixels = self._pixels(prepared, some).to(self.device, next(self.vision.tower.parameters()).dtype)
            for key, features in zip(some, self.vision.features(pixels, [grain] * len(some)), strict=True):
                self.stores[grain].put(key, features)

    def _pixels(self, prepared: Prepared, keys: Sequence[str]) -> torch.Tensor:
        return self.preprocessing.normalise(np.stack([prepared.squares[key] for key in keys]))

    def flush(self) -> None:
        """Write what is kept in memory."""
        for store in (self.stores or {}).values():
            store.flush()

    def refresh(self) -> None:
        """See what other processes have kept."""
        for store in (self.stores or {}).values():
            store.refresh()

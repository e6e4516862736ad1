"""The typed tensors a forward pass receives. Families may be mixed in one batch.

Shape letters: B rows, T positions, N images (rows that have one, in row order), S pixels a side, P patches of an
image, W width of the vision tower.
"""

from dataclasses import dataclass, replace

import torch

from healthgpt.tasks import TASKS, Family


@dataclass(frozen=True)
class Batch:
    """Rows of ids with their images.

    ``input_ids_BT``: int64; ``IMAGE_SLOT`` where a visual token goes. ``mask_BT``: bool, False on padding.
    ``labels_BT``: int64 targets aligned with ``input_ids`` (position t holds the id to be predicted
    *at* t from the positions before it), ``IGNORED`` elsewhere; None at inference.
    ``image_rows``: the rows that have an image, ascending.
    ``pixels_N3SS``: float, their preprocessed images in row order; None without any.
    ``features_NPW``: float, what the frozen tower sees in those images, each in its own row's grain
    (``GrainedVision.features``); used in place of pixels, which are then not looked at.
    ``tasks``: the task name of each row; it fixes family, grain and plugin.
    ``instruction_BT``: bool, True on the words of the instruction.
    """

    input_ids_BT: torch.Tensor
    mask_BT: torch.Tensor
    instruction_BT: torch.Tensor
    tasks: tuple[str, ...]
    image_rows: tuple[int, ...] = ()
    pixels_N3SS: torch.Tensor | None = None
    features_NPW: torch.Tensor | None = None
    labels_BT: torch.Tensor | None = None

    @property
    def families(self) -> tuple[Family, ...]:
        """The family of each row, by its task."""
        return tuple(TASKS[task].family for task in self.tasks)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""

        def moved(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else tensor.to(device)

        return replace(
            self,
            input_ids_BT=self.input_ids_BT.to(device),
            mask_BT=self.mask_BT.to(device),
            instruction_BT=self.instruction_BT.to(device),
            pixels_N3SS=moved(self.pixels_N3SS),
            features_NPW=moved(self.features_NPW),
            labels_BT=moved(self.labels_BT),
        )

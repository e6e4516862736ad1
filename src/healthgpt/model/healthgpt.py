"""The whole model: images and ids to hidden states and logits, both families on one backbone.

Reading a forward pass top-down: ids are embedded (fusion), images become visual tokens (grained vision)
and take their places, the decoder blocks run with each row's plugin, the fusion head scores.
"""

from collections.abc import Sequence

import torch
from torch import nn
from transformers import Cache, PretrainedConfig

from healthgpt.batch import Batch
from healthgpt.errors import ModelError
from healthgpt.model.fusion import Fusion
from healthgpt.model.packing import lengths_of, pack_rows
from healthgpt.plugins.routing import Route
from healthgpt.tasks import TASKS, Family
from healthgpt.tokens import IMAGE_SLOT
from healthgpt.vision.grains import GrainedVision


class HealthGPTModel(nn.Module):
    """A frozen backbone with vision, fusion layer and one plugin per family.

    ``plugins``: family -> name of the attached H-LoRA. A family without one cannot be asked for.
    """

    def __init__(self, backbone: nn.Module, vision: GrainedVision, fusion: Fusion, plugins: dict[Family, str]) -> None:
        super().__init__()
        self.backbone = backbone
        self.vision = vision
        self.fusion = fusion
        self.plugins = dict(plugins)

    @property
    def device(self) -> torch.device:
        return self.fusion.text_embedding.device

    @property
    def language_config(self) -> PretrainedConfig:
        """The backbone's own configuration."""
        config = self.backbone.config
        assert isinstance(config, PretrainedConfig)
        return config

    def route(self, tasks: Sequence[str]) -> Route:
        """The plugin of each row, by its task's family; ``ModelError`` for a family without a plugin."""
        return Route.of_rows([self._plugin_of(task) for task in tasks], self.device)

    def _plugin_of(self, task: str) -> str:
        family = TASKS[task].family
        if family not in self.plugins:
            raise ModelError(
                f"this model has no {family} plugin, so it cannot do '{task}'",
                allowed=", ".join(self.plugins) or "nothing: no plugin is attached",
            )
        return self.plugins[family]

    def embed(self, batch: Batch) -> torch.Tensor:
        """(B, T, hidden): words, codes and visual tokens in their places.

        Visual tokens come from the batch's features where it has them, else from its pixels. ``ModelError`` as in
        ``route``; ValueError unless there is an image for each of ``image_rows``.
        """
        for task in batch.tasks:
            self._plugin_of(task)  # said by name before a grain of the family is found missing
        embedded = self.fusion.embed(batch.input_ids_BT, batch.tasks, batch.instruction_BT)
        grains = [TASKS[batch.tasks[row]].grain for row in batch.image_rows]
        if batch.features_NPW is not None:
            visual_NPD = self.vision.tokens(batch.features_NPW.to(embedded.dtype), grains)
        elif batch.pixels_N3SS is not None:
            visual_NPD = self.vision(batch.pixels_N3SS.to(embedded.dtype), grains)
        elif grains:
            raise ValueError(f"{len(grains)} rows have an image, and the batch holds neither pixels nor features")
        else:
            return embedded
        places = (batch.input_ids_BT == IMAGE_SLOT).nonzero()  # in row order, as the images are
        return embedded.index_put((places[:, 0], places[:, 1]), visual_NPD.flatten(0, 1).to(embedded.dtype), True)

    def hidden(
        self,
        embedded_BTD: torch.Tensor,
        tasks: Sequence[str],
        *,
        mask_BT: torch.Tensor | None = None,
        positions_BT: torch.Tensor | None = None,
        cache: Cache | None = None,
        packed_to: int | None = None,
    ) -> torch.Tensor:
        """Final hidden states (B, T, hidden).

        ``mask_BT``: True where there is a token; needed only for left-padded rows (padding on the right
        cannot be seen by earlier tokens) and for packing. With ``cache`` the mask covers cached and new positions.
        ``packed_to``: the blocks see the rows end to end, in sequences of at most so many positions, each row as if
        alone; the hidden states are the same, and zero on padding. ValueError unless ``mask_BT`` is given and pads on
        the right, for a row that is empty or longer than that, and together with positions or a cache.
        """
        if packed_to is not None:
            if mask_BT is None or positions_BT is not None or cache is not None:
                raise ValueError("packing needs the mask of whole rows and takes neither their positions nor a cache")
            return self._hidden_of_packed(embedded_BTD, tasks, mask_BT, packed_to)
        output = self.backbone(
            inputs_embeds=embedded_BTD,
            attention_mask=None if mask_BT is None else mask_BT.long(),
            position_ids=positions_BT,
            cache=cache,
            use_cache=cache is not None,
            plugin_route=self.route(tasks),
        )
        return output.last_hidden_state

    def _hidden_of_packed(
        self, embedded_BTD: torch.Tensor, tasks: Sequence[str], mask_BT: torch.Tensor, longest: int
    ) -> torch.Tensor:
        families = [TASKS[task].family for task in tasks]
        packing = pack_rows(lengths_of(mask_BT), families, longest)
        packed_PLD = self.backbone(
            inputs_embeds=packing.pack(embedded_BTD),
            position_ids=packing.positions(embedded_BTD.device),
            segment_lengths=packing.segment_lengths,
            use_cache=False,
            plugin_route=self.route([tasks[rows[0]] for rows in packing.sequences]),
        ).last_hidden_state
        return packing.unpack(packed_PLD, embedded_BTD.shape[1])

    def forward(self, batch: Batch) -> torch.Tensor:
        """Logits over the joint vocabulary (B, T, total) of right-padded rows."""
        return self.fusion.logits(self.hidden(self.embed(batch), batch.tasks), batch.tasks)

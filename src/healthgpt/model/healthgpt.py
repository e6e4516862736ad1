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
        """(B, T, hidden): words, codes and visual tokens in their places; ``ModelError`` as in ``route``."""
        for task in batch.tasks:
            self._plugin_of(task)  # said by name before a grain of the family is found missing
        embedded = self.fusion.embed(batch.input_ids_BT, batch.tasks, batch.instruction_BT)
        if batch.pixels_N3SS is None:
            return embedded
        grains = [TASKS[batch.tasks[row]].grain for row in batch.image_rows]
        visual_NPD = self.vision(batch.pixels_N3SS.to(embedded.dtype), grains)
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
    ) -> torch.Tensor:
        """Final hidden states (B, T, hidden).

        ``mask_BT``: True where there is a token; needed only for left-padded rows (padding on the right
        cannot be seen by earlier tokens). With ``cache`` the mask covers cached and new positions.
        """
        output = self.backbone(
            inputs_embeds=embedded_BTD,
            attention_mask=None if mask_BT is None else mask_BT.long(),
            position_ids=positions_BT,
            cache=cache,
            use_cache=cache is not None,
            plugin_route=self.route(tasks),
        )
        return output.last_hidden_state

    def forward(self, batch: Batch) -> torch.Tensor:
        """Logits over the joint vocabulary (B, T, total) of right-padded rows."""
        return self.fusion.logits(self.hidden(self.embed(batch), batch.tasks), batch.tasks)

"""The model of a run: loaded from where it begins, frozen but for what the stage trains, and the table of that."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from healthgpt.backbone.attention import attend_for_training
from healthgpt.backbone.load import load_tokenizer
from healthgpt.backbone.prompts import PromptBuilder, template_named
from healthgpt.backbone.quantise import check_quantisable
from healthgpt.model.build import set_dropout
from healthgpt.model.checkpoint import load_model
from healthgpt.model.healthgpt import HealthGPTModel
from healthgpt.plugins.store import PluginSpec
from healthgpt.tasks import Family
from healthgpt.training.parameters import train_only
from healthgpt.training.recipe import Recipe
from healthgpt.training.stages import STAGES
from healthgpt.training.start import Beginning

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
UNBOUNDED = 10**9
"""Context of a prompt builder whose rows are measured and cut elsewhere."""


@dataclass(frozen=True)
class TrainedGroup:
    """One line of the table: a group of parameters that trains."""

    group: str
    parameters: Mapping[str, nn.Parameter]
    learning_rate: float
    dropout: float

    @property
    def count(self) -> int:
        """Numbers in it."""
        return sum(parameter.numel() for parameter in self.parameters.values())


@dataclass(frozen=True)
class TrainingModel:
    """A model with the groups that train, in 32 bits; all else is frozen in the recipe's precision."""

    model: HealthGPTModel
    specs: dict[Family, PluginSpec]
    groups: tuple[TrainedGroup, ...]

    def optimizer(self, trained: Mapping[str, nn.Parameter], beta2: float) -> torch.optim.AdamW:
        """AdamW without weight decay, a group per line of the table; ``trained``: the parameters as they are spread."""
        groups = [
            {"params": [trained[name] for name in one.parameters], "lr": one.learning_rate} for one in self.groups
        ]
        return torch.optim.AdamW(groups, weight_decay=0.0, betas=(0.9, beta2))

    def table(self) -> list[dict[str, str | int | float]]:
        """What trains and what does not: group, tensors, parameters, learning rate, dropout."""
        rows: list[dict[str, str | int | float]] = [
            {"group": one.group, "tensors": len(one.parameters), "parameters": one.count,
             "learning_rate": one.learning_rate, "dropout": one.dropout}
            for one in self.groups
        ]  # fmt: skip
        frozen = [parameter for parameter in self.model.parameters() if not parameter.requires_grad]
        rows.append({"group": "frozen", "tensors": len(frozen), "parameters": sum(map(torch.numel, frozen)),
                     "learning_rate": 0.0, "dropout": 0.0})  # fmt: skip
        return rows


def load_for_training(recipe: Recipe, beginning: Beginning, device: torch.device) -> TrainingModel:
    """The model a run trains, on the CPU still. ``InputError`` where quantisation lacks its library."""
    hardware, plan = recipe.hardware, recipe.optimisation
    check_quantisable(hardware.quantize, device)
    dtype = PRECISIONS[hardware.precision]
    model, _, specs = load_model(beginning.folder, dtype, quantize=hardware.quantize, device=device)
    groups = train_only(model, STAGES[recipe.stage].trains)
    for parameters in groups.values():
        for parameter in parameters.values():
            parameter.data = parameter.data.float()
    assert isinstance(model.backbone, PreTrainedModel)
    attend_for_training(model.backbone, device.type)
    model.train()
    set_dropout(model.backbone, plan.dropout)
    adapter_rate = plan.adapter_learning_rate or plan.learning_rate
    table = tuple(
        TrainedGroup(
            group, parameters, adapter_rate if group.endswith("adapter") else plan.learning_rate,
            plan.dropout if group.endswith("plugin") else 0.0,
        )
        for group, parameters in groups.items()
    )  # fmt: skip
    return TrainingModel(model, specs, table)


def prompt_builder(beginning: Beginning, model_patches: int) -> PromptBuilder:
    """The prompts of a run; ``model_patches``: visual tokens per image."""
    config = beginning.config
    tokenizer = load_tokenizer(beginning.folder / "tokenizer")
    return PromptBuilder(tokenizer, config.layout, template_named(config.template), model_patches, UNBOUNDED)

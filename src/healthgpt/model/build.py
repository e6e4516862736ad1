"""From a variant's row and trained parts to one model: the only place that reads dimensions off the table."""

from collections.abc import Mapping

from torch import nn
from transformers import CLIPVisionConfig

from healthgpt.model.fusion import Fusion
from healthgpt.model.healthgpt import HealthGPTModel
from healthgpt.plugins.attach import attach, make_routable, routed_layers
from healthgpt.plugins.store import PluginSpec, adapter_maker
from healthgpt.tasks import GENERATION_TASKS, MODALITIES, Family, Grain
from healthgpt.tokens import TokenLayout
from healthgpt.variants import Variant
from healthgpt.vision.clip import HiddenState, VisionTower
from healthgpt.vision.grains import GrainedVision

FAMILIES: tuple[Family, Family] = ("comprehension", "generation")


def layout_of(variant: Variant) -> TokenLayout:
    """The id ranges of a variant."""
    return TokenLayout(variant.text_size, variant.code_count)


def plugin_specs(variant: Variant) -> dict[Family, PluginSpec]:
    """The two H-LoRA plugins of a variant, made for all tasks of their family."""
    sizes = {"comprehension": variant.comprehension, "generation": variant.generation}
    tasks = {"comprehension": MODALITIES, "generation": GENERATION_TASKS}
    return {
        family: PluginSpec(
            family=family,
            rank=sizes[family].rank,
            experts=sizes[family].experts,
            alpha=sizes[family].alpha,
            tasks=tasks[family],
        )
        for family in FAMILIES
    }


def new_tower(variant: Variant) -> VisionTower:
    """An untrained vision tower of the variant's size."""
    return VisionTower(
        CLIPVisionConfig(
            hidden_size=variant.vision_width,
            intermediate_size=4 * variant.vision_width,
            num_hidden_layers=variant.vision_layers,
            num_attention_heads=variant.vision_width // 64,
            image_size=variant.image_size,
            patch_size=variant.patch_size,
        )
    )


def assemble(
    variant: Variant,
    backbone: nn.Module,
    tower: VisionTower,
    dropout: float = 0.0,
    grains: Mapping[Grain, HiddenState] | None = None,
) -> HealthGPTModel:
    """A model with untrained adapters, fusion layer and plugins on trained backbone and tower.

    ``grains``: the tower's hidden state of each grain, the variant's own when None.
    """
    own: Mapping[Grain, HiddenState] = {"abstract": variant.abstract_state, "concrete": variant.concrete_state}
    vision = GrainedVision(tower, variant.hidden_size, grains or own)
    fusion = Fusion(layout_of(variant), variant.hidden_size, variant.grid)
    make_routable(backbone)
    for family, spec in plugin_specs(variant).items():
        attach(backbone, family, adapter_maker(spec, dropout))
    return HealthGPTModel(backbone, vision, fusion, {family: family for family in FAMILIES})


def parameter_count(module: nn.Module) -> int:
    """Number of scalars in a module's parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def set_dropout(backbone: nn.Module, probability: float) -> None:
    """Set every dropout inside the plugins of a backbone; a stage's recipe decides it."""
    for _, layer in routed_layers(backbone):
        for child in layer.adapters.modules():
            if isinstance(child, nn.Dropout):
                child.p = probability

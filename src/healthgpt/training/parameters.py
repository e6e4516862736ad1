"""Parameter groups by name, and which of them a stage trains; all others stay frozen, bit for bit."""

from collections.abc import Mapping

from torch import nn

from healthgpt.errors import RecipeError
from healthgpt.tasks import Family

IMAGE_ROWS = ("fusion.image_embedding", "fusion.image_head", "fusion.grid_rows", "fusion.grid_columns")
GROUPS = (
    "abstract adapter", "concrete adapter", "comprehension plugin", "generation plugin", "image rows", "fusion",
)  # fmt: skip
"""What stages train, in the order tables show it."""


def belongs(parameter: str, group: str, plugins: Mapping[Family, str] | None = None) -> bool:
    """Whether a parameter of a ``HealthGPTModel`` is of a group; ``plugins``: their names by family."""
    if group == "fusion":
        return parameter.startswith("fusion.")
    if group == "image rows":
        return parameter in IMAGE_ROWS
    first, _, kind = group.partition(" ")
    if kind == "adapter":
        return parameter.startswith(f"vision.adapters.{first}.")
    name = {family: family for family in ("comprehension", "generation")} | dict(plugins or {})
    return parameter.startswith("backbone.") and f".adapters.{name[first]}." in parameter


def group_parameters(model: nn.Module, group: str) -> dict[str, nn.Parameter]:
    """The parameters of a group by name; ``RecipeError`` when the model has none."""
    plugins = getattr(model, "plugins", None)
    chosen = {name: p for name, p in model.named_parameters() if group in GROUPS and belongs(name, group, plugins)}
    if not chosen:
        raise RecipeError(f"the model has no parameters in group '{group}'", allowed=", ".join(GROUPS))
    return chosen


def train_only(model: nn.Module, groups: tuple[str, ...]) -> dict[str, dict[str, nn.Parameter]]:
    """Freeze everything but ``groups``; returns group -> name -> parameter."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    chosen = {group: group_parameters(model, group) for group in groups}
    for parameters in chosen.values():
        for parameter in parameters.values():
            parameter.requires_grad_(True)
    return chosen

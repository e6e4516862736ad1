"""Parameter groups by name, and which of them a stage trains; all others stay frozen, bit for bit."""

from collections.abc import Callable

from torch import nn

from healthgpt.errors import RecipeError

IMAGE_ROWS = ("fusion.image_embedding", "fusion.image_head", "fusion.grid_rows", "fusion.grid_columns")

GROUPS: dict[str, Callable[[str], bool]] = {
    "abstract adapter": lambda name: name.startswith("vision.adapters.abstract."),
    "concrete adapter": lambda name: name.startswith("vision.adapters.concrete."),
    "comprehension plugin": lambda name: name.startswith("backbone.") and ".adapters.comprehension." in name,
    "generation plugin": lambda name: name.startswith("backbone.") and ".adapters.generation." in name,
    "image rows": lambda name: name in IMAGE_ROWS,
    "fusion": lambda name: name.startswith("fusion."),
}


def group_parameters(model: nn.Module, group: str) -> dict[str, nn.Parameter]:
    """The parameters of a group by name; ``RecipeError`` when the model has none."""
    chosen = {name: parameter for name, parameter in model.named_parameters() if GROUPS[group](name)}
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

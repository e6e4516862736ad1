"""A training recipe: one strict YAML file with every number of a run, checked whole before anything starts."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from healthgpt.errors import RecipeError, closest
from healthgpt.tasks import GENERATION_TASKS, MODALITIES
from healthgpt.variants import VARIANTS

RECIPES = Path(__file__).parents[2] / "recipes"


class Strict(BaseModel):
    """Unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Steps(Strict):
    """One optimisation: how many steps of what size at what rate."""

    steps: PositiveInt
    batch: PositiveInt
    learning_rate: float = Field(ge=0)
    adapter_learning_rate: float | None = Field(default=None, ge=0)
    """Rate of the visual adapter where it differs."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    schedule: Literal["constant", "warm-up", "cosine"] = "warm-up"
    """``warm-up``: linear rise, then constant. ``cosine``: the same rise, then down to a twentieth."""
    warm_up: int = Field(default=20, ge=0)
    beta2: float = Field(default=0.999, gt=0, lt=1)
    """AdamW's memory of squared gradients; short runs do better with less."""
    clip: PositiveFloat = 1.0
    """Largest gradient norm."""


class CodecSteps(Steps):
    """Codec pre-training with its architecture."""

    embed_dim: PositiveInt
    fold: PositiveInt
    widths: tuple[PositiveInt, ...]
    encoder_blocks: tuple[NonNegativeInt, ...]
    decoder_blocks: tuple[NonNegativeInt, ...]
    attention: bool = False
    drawn_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of a batch that shows what drawing tasks are to draw; 0: as it comes."""
    adversarial_start: int = Field(default=-1, ge=-1)
    """Step at which the patch adversary joins; -1: never."""
    texture: float = Field(default=0.0, ge=0)
    """Weight of the texture term."""


class ColourSteps(Steps):
    """The codec's second phase, in which it learns colour."""

    colour: float = Field(ge=0)
    """Weight of the tint term."""
    colour_share: float = Field(ge=0, lt=1)
    """Share of coloured images in a batch."""
    unquantised: int = Field(ge=0)
    """Steps before latents are rounded to codes again."""


class TowerSteps(Steps):
    """The tower's contrastive phase."""

    seen: float = Field(default=1.0, gt=0, le=1)
    """Share of each image's patches looked at, but for the phase's last steps."""


class FindingSteps(Steps):
    """Stage 3's last part, on textbook films."""

    films: PositiveInt
    """Textbook films simulated."""
    settle: int = Field(ge=0)
    """Steps at the end that mix films of all patients back in."""
    wordless: float = Field(default=0.0, ge=0, lt=1)
    """Share of the reports left out: guidance asks the model what a film looks like when nobody says."""


class DataPlan(Strict):
    """What is simulated and which real packs are mixed in."""

    cases: dict[str, int]
    """VL-Phantom cases per modality, for reading."""
    pairs: dict[str, int]
    """VL-Phantom pairs per generation task."""
    validation_cases: int = 0
    """Cases per modality (and pairs per task) simulated for validation losses."""
    packs: tuple[str, ...] = ()
    """Real data packs, used where they are present."""
    text_packs: tuple[str, ...] = ()
    """Packs of questions without images, for the language model."""
    real_share: float = Field(default=0.25, ge=0, le=1)
    """Share of the examples of a batch that are real, where a family has real ones."""


class Recipe(Strict):
    """Everything about one run."""

    name: str
    variant: str
    seed: int = 0
    data: DataPlan
    mlp_width: PositiveInt
    heads: PositiveInt
    codec: CodecSteps
    codec_colour: ColourSteps
    language: Steps
    tower: TowerSteps
    teacher: Steps
    tower_deep: Steps
    stage1_comprehension: Steps
    stage1_generation: Steps
    stage2: Steps
    stage3_comprehension: Steps
    stage3_generation: Steps
    stage3_words: Steps
    stage3_findings: FindingSteps
    guidance: float = Field(default=1.0, ge=0, le=20)
    """How much the finished model's pictures follow their words when nobody says."""
    turns: PositiveInt = 8
    """Questions about one image learned in one conversation."""
    checkpoint_seconds: PositiveFloat = 60


def recipe_names() -> list[str]:
    """Names of the bundled recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def recipe_path(name: str) -> Path:
    """A bundled recipe by name, or a file by path."""
    if name in recipe_names():
        return RECIPES / f"{name}.yaml"
    if Path(name).is_file():
        return Path(name)
    raise RecipeError(
        f"no recipe '{name}'", allowed=", ".join(recipe_names()) + " or a YAML file",
        next_step=closest(name, recipe_names()),
    )  # fmt: skip


def load_recipe(name: str, *, cuda: bool = False) -> Recipe:
    """Read and check a recipe; with ``cuda`` its ``on_cuda`` values take the place of the others.

    Raises ``RecipeError`` that lists every problem at once.
    """
    path = recipe_path(name)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise RecipeError(f"{path} is not YAML", found=str(fault).splitlines()[0]) from fault
    if not isinstance(content, dict):
        raise RecipeError(f"{path} is not a recipe", found=type(content).__name__, allowed="a mapping of settings")
    larger = content.pop("on_cuda", {})
    if cuda:
        content = merged(content, larger)
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as fault:
        problems = [f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in fault.errors()]
        raise RecipeError(f"{path} has {len(problems)} problems", found=" | ".join(problems)) from fault
    problems = [f"variant: unknown '{recipe.variant}'"] if recipe.variant not in VARIANTS else []
    problems += [f"data.cases: unknown modality '{name}'" for name in recipe.data.cases if name not in MODALITIES]
    problems += [f"data.pairs: unknown task '{name}'" for name in recipe.data.pairs if name not in GENERATION_TASKS]
    if problems:
        raise RecipeError(f"{path} has {len(problems)} problems", found=" | ".join(problems))
    return recipe


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` laid over it, mappings merged key by key."""
    result = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result

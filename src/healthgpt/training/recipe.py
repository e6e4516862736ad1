"""A recipe: one strict YAML file with every number of a run of one stage."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

from healthgpt.training.stages import StageName

Share = Annotated[float, Field(ge=0, lt=1)]


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""One name or a list of them."""


class Strict(BaseModel):
    """Unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Start(Strict):
    """Which weights a run begins with, in one of three ways.

    ``model``: a bundled, published or own model folder, or the folder of an earlier run; of several, the later ones
    are laid over the first where their stages trained. ``parts_of``: backbone, tower, codec and words of such a model;
    what the stages train begins anew. ``base`` and ``tower``: a published language model and CLIP tower (hub id or
    folder), with the released ``codec`` (``last.ckpt``, its ``model.yaml`` beside it) where pictures are drawn.
    """

    model: Names = ()
    """A finished model, or several runs to join."""
    parts_of: str | None = None
    """A model of which only the frozen parts are taken."""
    base: str | None = None
    """A published language model: hub id or folder."""
    tower: str | None = None
    """A published CLIP vision tower: hub id or folder."""
    codec: Path | None = None
    """The released VQGAN's ``last.ckpt``."""


class PluginShape(Strict):
    """What a plugin that begins anew is made of, where it is not the variant's H-LoRA. ``rank``: merged rank."""

    kind: Literal["hlora", "lora", "moelora"]
    """H-LoRA, or what it is compared with."""
    rank: PositiveInt
    """Of all experts together."""
    experts: PositiveInt = 1
    """LoRA has one."""
    alpha: PositiveFloat
    """Over the merged rank."""


class DataPart(Strict):
    """Records to learn from: a built data set, or an export of your own (images and a CSV), which is built first.

    ``share``: of every batch, where parts are mixed by share; all parts have one or none has. The filters keep records
    of these sources, tasks, kinds and families; empty: of all.
    """

    folder: Path | None = None
    """A data set that ``healthgpt data build`` or ``data phantom`` made."""
    export: Path | None = None
    """Images and a CSV (docs/how-to/own-export.md)."""
    share: float | None = Field(default=None, gt=0, le=1)
    """Of every batch."""
    sources: Names = ()
    """Names of data sets in it."""
    tasks: Names = ()
    """Such as x-ray or ct-to-mri."""
    kinds: Names = ()
    """Types of question, such as report."""
    families: Names = ()
    """comprehension, generation."""


class Optimisation(Strict):
    """AdamW, weight decay 0, and how long (HealthGPT, table 8). One of ``epochs`` and ``steps``."""

    learning_rate: float = Field(gt=0)
    """Of plugins and tables."""
    adapter_learning_rate: float | None = Field(default=None, gt=0)
    """Of visual adapters, where it differs."""
    global_batch: PositiveInt
    """Rows per step, over all devices and accumulated micro-batches."""
    micro_batch: PositiveInt
    """Rows in memory at a time on one device."""
    epochs: PositiveFloat | None = None
    """How often every row is seen."""
    steps: PositiveInt | None = None
    """How many global batches."""
    schedule: Literal["warm-up", "constant", "cosine"] = "warm-up"
    """``warm-up``: linear rise, then constant. ``cosine``: the same rise, then down to nothing."""
    warm_up: Share = 0.03
    """Share of the steps in which the rate rises."""
    dropout: Share = 0.0
    """On what H-LoRA's A gives, in the plugins that train."""
    beta2: float = Field(default=0.999, gt=0, lt=1)
    clip: PositiveFloat = 1.0
    """Largest gradient norm."""
    average: float | None = Field(default=None, gt=0, lt=1)
    """Decay of an exponential moving average of what trains, which is then what is validated and kept; None: none."""


class Hardware(Strict):
    """How the work is laid out on devices; changes no result but by rounding."""

    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    """Of frozen weights and of products; what trains is kept in 32 bits."""
    quantize: Literal["int8", "int4"] | None = None
    """The frozen backbone's linear layers in 8 or 4 bits."""
    parallel: Literal["ddp", "fsdp", "deepspeed"] = "ddp"
    """Where there are several processes: the model replicated, sharded, or gradients and
    optimiser sharded by DeepSpeed (ZeRO 2)."""
    activation_checkpointing: bool = False
    packing: bool = False
    """Rows laid end to end up to ``max_length`` instead of padded."""
    loader_workers: NonNegativeInt = 0
    """Processes per device that read images ahead."""
    cache_features: bool = True
    """Keep the frozen tower's features on disk."""


class Rows(Strict):
    """How records become rows of a batch."""

    turns: PositiveInt = 1
    """Most questions about one image in one row."""
    max_length: PositiveInt = 2048
    """Tokens of a row, visual tokens included."""
    too_long: Literal["refuse", "cut"] = "refuse"
    """What happens to a response that does not fit: the run is refused, or the response is cut and counted."""
    quarantine_share: float = Field(default=0.01, ge=0, le=1)
    """Share of records whose image is missing or unreadable beyond which the run is refused."""


class Watch(Strict):
    """What is recorded while a run goes on. Counts of steps, but for ``checkpoint_minutes``."""

    validate_every: PositiveInt = 500
    """Each validation is followed by a checkpoint."""
    validation_rows: PositiveInt = 200
    """Rows of the validation split per task."""
    samples: NonNegativeInt = 4
    """Questions asked, or pictures drawn, of each task at every validation and of the test split; a few are shown."""
    checkpoint_minutes: PositiveFloat = 15
    """Most that a kill costs."""
    keep: PositiveInt = 2
    """Latest checkpoints kept beside the best one."""
    finish_with: Literal["last", "best"] = "last"
    """The weights the run ends with: those of its last step, or of the validation with the lowest loss."""
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ("tensorboard",)
    """TensorBoard writes to RUN/logs; the others need their package."""


class Guard(Strict):
    """When a step is skipped, and when skipping is enough."""

    spike: PositiveFloat = 3.0
    """A loss this many times the recent median, and a nat above it, is a spike."""
    window: PositiveInt = 50
    """Steps the median is taken over; until so many were made only what is not finite is skipped."""
    most_skipped: PositiveInt = 10
    """Steps in a row that may be skipped before the run stops."""


class Recipe(Strict):
    """Everything about one run."""

    name: str = Field(pattern=r"^[\w.-]+$")
    """Of the run's folder and of the finished model."""
    variant: str
    """A model size: nano, m3, l14, xl32; ``released`` for a model imported on another base."""
    stage: StageName
    """What trains, and from what: see the stages."""
    about: str = ""
    """One line for people."""
    seed: int = Field(default=0, ge=0)
    """Of the order of rows, of dropout, and of what begins anew."""
    start: Start
    """Which weights the run begins with."""
    plugin: PluginShape | None = None
    """Of the families that this stage trains, where they begin anew here."""
    grains: Literal["published", "swapped", "merged"] = "published"
    """Hierarchical visual perception as published, or its ablations: shallow features for reading and deep ones for
    drawing, or the mean of both for both."""
    data: tuple[DataPart, ...]
    """A list of parts."""
    rows: Rows = Rows()
    """How records become rows."""
    optimisation: Optimisation
    """Rates, batch, length."""
    hardware: Hardware = Hardware()
    """How the work is laid out."""
    watch: Watch = Watch()
    """What is recorded."""
    guard: Guard = Guard()
    """What is skipped."""

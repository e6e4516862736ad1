"""The stages as a table: what each trains, whose records it learns from, and what must have come before (table 7)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from healthgpt.errors import RecipeError
from healthgpt.tasks import Family

StageName = Literal[
    "stage1-comprehension",
    "stage1-generation",
    "stage2",
    "stage3-comprehension",
    "stage3-generation",
    "mixed",
    "finetune-comprehension",
    "finetune-generation",
]
STAGE_NAMES: tuple[StageName, ...] = get_args(StageName)


@dataclass(frozen=True)
class Stage:
    """One row of the table.

    ``trains``: groups of ``parameters.GROUPS``; everything else stays as it is, bit for bit. ``needs``: stages the
    weights it starts from must have been through; ``spoils``: stages whose result it would undo, so they must not
    have happened. ``fresh``: it may start from parts that no stage has trained.
    """

    title: str
    trains: tuple[str, ...]
    families: tuple[Family, ...]
    needs: tuple[StageName, ...] = ()
    spoils: tuple[StageName, ...] = ()
    fresh: bool = False


READS, DRAWS = "comprehension plugin", "generation plugin"
TUNED: tuple[StageName, ...] = (
    "stage2", "stage3-comprehension", "stage3-generation", "mixed", "finetune-comprehension", "finetune-generation",
)  # fmt: skip

STAGES: dict[StageName, Stage] = {
    "stage1-comprehension": Stage(
        "alignment for reading: captions", ("abstract adapter",), ("comprehension",),
        spoils=("stage1-comprehension", *TUNED), fresh=True,
    ),
    "stage1-generation": Stage(
        "alignment for drawing: image to its own codes", ("concrete adapter", DRAWS, "image rows"), ("generation",),
        spoils=("stage1-generation", *TUNED), fresh=True,
    ),
    "stage2": Stage(
        "fusion: one table and head for both families", ("fusion",), ("comprehension", "generation"),
        needs=("stage1-comprehension", "stage1-generation"), spoils=TUNED,
    ),
    "stage3-comprehension": Stage(
        "instruction tuning for reading", (READS, "abstract adapter"), ("comprehension",),
        needs=("stage1-comprehension", "stage1-generation", "stage2"),
        spoils=("stage3-comprehension", "mixed", "finetune-comprehension"),
    ),
    "stage3-generation": Stage(
        "instruction tuning for drawing", (DRAWS, "concrete adapter"), ("generation",),
        needs=("stage1-comprehension", "stage1-generation", "stage2"),
        spoils=("stage3-generation", "mixed", "finetune-generation"),
    ),
    "mixed": Stage(
        "both families at once, the baseline of table 5",
        ("abstract adapter", "concrete adapter", READS, DRAWS, "image rows"), ("comprehension", "generation"),
        spoils=("stage1-comprehension", "stage1-generation", *TUNED), fresh=True,
    ),
    "finetune-comprehension": Stage(
        "a finished model goes on learning to read", (READS, "abstract adapter"), ("comprehension",),
    ),
    "finetune-generation": Stage(
        "a finished model goes on learning to draw", (DRAWS, "concrete adapter"), ("generation",),
    ),
}  # fmt: skip


def check_history(stage: StageName, history: Iterable[str], where: str) -> None:
    """``RecipeError`` unless weights that have been through ``history`` may go into ``stage``; ``where`` names them."""
    been, row = list(history), STAGES[stage]
    missing = [name for name in row.needs if name not in been]
    undone = [name for name in row.spoils if name in been]
    if missing or undone:
        raise RecipeError(
            f"{stage} cannot start from {where}",
            found=f"weights that have been through {', '.join(been) or 'no stage'}",
            allowed="weights that "
            + (f"have been through {', '.join(row.needs)}" if row.needs else "no stage has trained")
            + (f" and not through {', '.join(undone)}" if undone else ""),
            next_step=f"train {missing[0]} first" if missing else "start from the run before that stage",
        )

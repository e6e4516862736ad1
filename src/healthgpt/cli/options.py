"""The options ask, chat, generate and demo share, and the checks on them that need no model."""

from pathlib import Path
from typing import Annotated

import typer

from healthgpt.errors import DataError, InputError

Model = Annotated[str, typer.Option("--model", help="Name of a model (see 'healthgpt models list') or its folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
Temperature = Annotated[float, typer.Option("--temperature", help="0 always takes the likeliest token.")]
TopK = Annotated[int, typer.Option("--top-k", help="Draw from the K likeliest tokens only; 0 for all.")]
TopP = Annotated[float, typer.Option("--top-p", help="Draw from the likeliest tokens of this total probability.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the draws; the same seed, the same result.")]
MaxNewTokens = Annotated[int, typer.Option("--max-new-tokens", min=1, help="Longest answer, in tokens.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
Dtype = Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16.")]
Quantize = Annotated[str | None, typer.Option("--quantize", help="int8 or int4: the language model in 8 or 4 bits.")]
Slice = Annotated[int | None, typer.Option("--slice", min=0, help="Slice of a volume or frame; the middle if unset.")]


def check_slice(image: str | None, slice_index: int | None) -> None:
    """Refuse a slice of nothing."""
    if image is None and slice_index is not None:
        raise InputError(
            "--slice needs an image", found=f"--slice {slice_index} and no image", next_step="leave --slice out"
        )


def check_packs(packs: Path | None) -> None:
    """Refuse a folder of real packs that is not there."""
    if packs is not None and not packs.is_dir():
        raise DataError(f"no folder of packs at {packs}", next_step="leave --packs out, or name the folder they lie in")

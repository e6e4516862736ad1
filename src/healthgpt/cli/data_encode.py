"""``healthgpt data encode``: the target images of a data set to VQ indices, beside its records."""

from pathlib import Path
from typing import Annotated

import typer

from healthgpt.cli import options
from healthgpt.cli.console import note, working
from healthgpt.errors import ModelError


def encode(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A finished data set.")],
    model: options.Model = "nano",
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images encoded at once.")] = 32,
    device: options.Device = "auto",
) -> None:
    """Encode every target image with a model's codec; a stopped run goes on where it was."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from healthgpt.backbone.load import device_named
    from healthgpt.data.codes import encode_targets
    from healthgpt.inference.session import model_folder
    from healthgpt.model.checkpoint import read_config
    from healthgpt.vq.store import load_codec

    place = device_named(device)
    source = model_folder(model)
    if not (source / "vqgan").is_dir():
        raise ModelError(f"model '{model}' has no codec", next_step="name a model that draws")
    with working(f"loading the codec of {model}"):
        codec = load_codec(source / "vqgan").to(place)
        preprocessing = read_config(source).codec_preprocessing
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        line = bar.add_task("encoding")
        made = encode_targets(
            folder, codec, preprocessing, batch=batch,
            progress=lambda images: bar.update(line, description=f"{images:,} images encoded"),
        )  # fmt: skip
    note(f"{made.images:,} target images as {made.grid[0]} x {made.grid[1]} codes in {folder / 'codes' / made.codec}")

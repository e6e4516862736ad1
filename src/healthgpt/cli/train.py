"""``healthgpt train``: run a training recipe, or tell what it will cost."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from healthgpt.cli import options
from healthgpt.cli.console import note, print_table
from healthgpt.errors import InputError, RecipeError


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A bundled recipe's name ('healthgpt recipes') or a YAML file.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the run; runs/RECIPE if unset.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="A data set, or a folder of images with a CSV, in place of the recipe's."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", help="A model or an earlier run to start from, in place of the recipe's.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Tell memory, work and days, and leave.")] = False,
    gpu: Annotated[str, typer.Option("--gpu", help="For --plan: the card.")] = "H100-80GB",
    gpu_memory: Annotated[
        float | None, typer.Option("--gpu-memory", min=0.1, help="For --plan: gigabytes of each; the card's if unset.")
    ] = None,
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="For --plan: how many.")] = 1,
    packs: Annotated[
        Path | None, typer.Option("--packs", help="For the recipe nano: folder of real data packs to mix in.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run, and fail if there is none. Without it both is tried.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes that prepare data; the number of cores if unset.")
    ] = None,
    device: options.Device = "auto",
) -> None:
    """Train a model by a recipe; a run that was stopped goes on with the same command."""
    options.check_packs(packs)

    from healthgpt.training.recipe_files import load_recipe, read_yaml, recipe_path

    path = recipe_path(recipe)
    content = read_yaml(path)
    root = output or Path("runs") / str(content.get("name", path.stem))
    if resume and not ((root / "run.json").is_file() or (root / "recipe.json").is_file()):
        raise RecipeError(f"no run to resume at {root}", next_step="name its folder with --output")
    if "stage" not in content and "codec" in content:
        from healthgpt.cli.train_nano import train_from_nothing

        if data is not None or start is not None or plan:
            raise InputError(
                "--data, --start and --plan are for recipes of one stage", found=recipe,
                next_step="this one makes its own data; see 'healthgpt recipes'",
            )  # fmt: skip
        train_from_nothing(recipe, root, packs, workers, device)
        return
    if packs is not None:
        raise InputError("--packs is for the recipe nano", found=recipe, next_step="give --data")
    chosen = load_recipe(path, _changes(content, data, start), on_this_disk=not plan)
    if plan:
        _tell_plan(chosen, gpu, gpu_memory, gpus)
        return

    from healthgpt.backbone.load import device_named
    from healthgpt.cli.train_watch import Watching
    from healthgpt.training.run import train as run_stage

    place = device_named(device).type
    if place == "mps":
        raise InputError("training does not run on mps", allowed="--device cpu or cuda")
    with Watching(chosen, root) as watcher:
        model = run_stage(chosen, root, watcher, workers=workers or os.cpu_count() or 1, cpu=place == "cpu")
    if watcher.speaks:
        note(f"model: {model}\nreport: {root / 'report.html'}")
        question = (
            "healthgpt ask IMAGE QUESTION" if chosen.stage.endswith("comprehension") else "healthgpt generate TASK"
        )
        note(f"next: {question} --model {model}")


def _changes(content: dict[str, Any], data: Path | None, start: str | None) -> dict[str, object]:
    """What the command line says in place of the file."""
    changes: dict[str, object] = {}
    if start is not None:
        changes["start"] = {"model": start}
    if data is not None:
        parts = content.get("data")
        if not isinstance(parts, list) or len(parts) != 1 or not isinstance(parts[0], dict):
            raise InputError(
                "--data takes the place of one part of the data", found=f"{len(parts or [])} parts in the recipe",
                next_step="name the folders in the recipe",
            )  # fmt: skip
        built = any((data / name).is_file() for name in ("manifest.json", "records.jsonl"))
        kept = {key: value for key, value in parts[0].items() if key not in ("folder", "export")}
        changes["data"] = [{("folder" if built else "export"): str(data), **kept}]
    return changes


def _tell_plan(recipe: Any, gpu: str, gpu_memory: float | None, gpus: int) -> None:
    from healthgpt.training.cost.plan import explain, predict

    print_table(
        f"{recipe.name} on {gpus} x {gpu}", ["what", "predicted", "how it arises"],
        [list(line) for line in explain(predict(recipe, gpu_memory, gpus, gpu))],
    )  # fmt: skip

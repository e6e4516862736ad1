"""``healthgpt models import``: the authors' released files to one model folder, safetensors throughout."""

from pathlib import Path
from typing import Annotated, Any

import typer

from healthgpt.cli.console import note, working
from healthgpt.errors import ModelError
from healthgpt.whole_folder import check_vacant, whole_folder

File = Path | None


def import_released(
    base: Annotated[str, typer.Option("--base", help="The base language model: a folder or a hub id.")],
    vision: Annotated[str, typer.Option("--vision", help="The CLIP vision tower: a folder or a hub id.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model folder to write.")],
    comprehension: Annotated[File, typer.Option("--comprehension", help="com_hlora_weights*.bin")] = None,
    generation: Annotated[File, typer.Option("--generation", help="gen_hlora_weights.bin")] = None,
    fusion: Annotated[File, typer.Option("--fusion", help="fusion_layer_weights.bin")] = None,
    vqgan: Annotated[File, typer.Option("--vqgan", help="The VQGAN's last.ckpt.")] = None,
    vqgan_config: Annotated[
        File, typer.Option("--vqgan-config", help="Its model.yaml; looked for beside it if unset.")
    ] = None,
    template: Annotated[str | None, typer.Option("--template", help="Prompt template; the variant's if unset.")] = None,
    comprehension_alpha: Annotated[
        float | None, typer.Option("--comprehension-alpha", help="Over the merged rank; the variant's if unset.")
    ] = None,
    generation_alpha: Annotated[
        float | None, typer.Option("--generation-alpha", help="Over the merged rank; the variant's if unset.")
    ] = None,
    codes: Annotated[
        int | None,
        typer.Option("--codes", min=1, help="Codes added to the vocabulary, where no fusion file tells; or 8192."),
    ] = None,
) -> None:
    """Import the authors' released weights; any plugin may be left out."""
    given: dict[Any, Path] = {"comprehension": comprehension, "generation": generation}  # type: ignore[dict-item]
    given = {family: path for family, path in given.items() if path is not None}
    if not given:
        raise ModelError("no plugin to import", next_step="give --comprehension, --generation or both")
    for path in (*given.values(), fusion, vqgan, vqgan_config):
        if path is not None and not path.is_file() and not (path in given.values() and path.is_dir()):
            raise ModelError(f"no file {path}", next_step="check the path")
    check_vacant(output)

    from healthgpt.backbone.hub import source_of
    from healthgpt.inference.released import CODES, ReleasedFiles, Untold, base_of, import_files

    sources = source_of(base), source_of(vision)
    base_folder, base_source = base_of(base, sources[0])
    files = ReleasedFiles(base_folder, base_of(vision, sources[1])[0], given, fusion, vqgan, vqgan_config, base_source)
    alphas: dict[Any, float | None] = {"comprehension": comprehension_alpha, "generation": generation_alpha}
    with whole_folder(output) as partial, working("importing"):
        left_out = import_files(partial, output.name, files, Untold(template, alphas, codes or CODES))
    for name in left_out:
        note(f"not used: {name}")
    note(f'next: healthgpt ask IMAGE "What does this image show?" --model {output}')

"""``healthgpt models import``: the authors' released files to one model folder, safetensors throughout."""

from pathlib import Path
from typing import Annotated, Any

import typer

from healthgpt.cli.console import note, working
from healthgpt.cli.whole_folder import check_vacant, whole_folder
from healthgpt.errors import ModelError

TEMPLATE_OF = {"m3": "phi3_instruct", "l14": "phi4_instruct", "xl32": "qwen_2"}
UNEXTENDED = ("qwen_2",)
"""Templates of releases whose vocabulary was never extended by codes."""
CODES = 8192
"""Codes by which the others were."""

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
        int, typer.Option("--codes", min=1, help="Codes added to the vocabulary, where no fusion file tells.")
    ] = CODES,
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

    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with whole_folder(output) as partial, working("importing"):
        left_out = _write(
            partial, output.name, base, vision, given, fusion, vqgan, vqgan_config, template,
            {"comprehension": comprehension_alpha, "generation": generation_alpha}, codes,
        )  # fmt: skip
    for name in left_out:
        note(f"not used: {name}")
    note(f'next: healthgpt ask IMAGE "What does this image show?" --model {output}')


def _write(
    folder: Path,
    name: str,
    base: str,
    vision: str,
    plugins: dict[Any, Path],
    fusion: Path | None,
    vqgan: Path | None,
    vqgan_config: Path | None,
    template: str | None,
    alphas: dict[Any, float | None],
    codes: int,
) -> tuple[str, ...]:
    """Build the model and write its folder; returns the names of tensors that were left out."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    from healthgpt.backbone.prompts import template_named
    from healthgpt.model.checkpoint import ModelConfig, save_model
    from healthgpt.model.published import build_published, matching_variant, preprocessing_of
    from healthgpt.vision.preprocess import Preprocessing
    from healthgpt.vq.published import read_published
    from healthgpt.vq.store import save_codec

    try:
        config = AutoConfig.from_pretrained(base)
        tokenizer = AutoTokenizer.from_pretrained(base)
        generation = GenerationConfig.from_pretrained(base)
    except (OSError, ValueError) as fault:
        found = " ".join(str(fault).split())[:200]
        raise ModelError(
            f"the base model {base} cannot be read", found=found,
            allowed="a folder with config.json, generation_config.json, tokenizer and weights",
        ) from fault  # fmt: skip
    row = matching_variant(config.hidden_size, config.num_hidden_layers)
    if template is None and row is None:
        raise ModelError(
            "the prompt template is not known", found=f"a base of width {config.hidden_size}, none of the published",
            allowed=", ".join(TEMPLATE_OF.values()), next_step="give --template",
        )  # fmt: skip
    chosen = template_named(template or TEMPLATE_OF[row.name])  # type: ignore[union-attr]
    extended = chosen.name not in UNEXTENDED
    left_out: tuple[str, ...] = ()
    grid = None
    squash = Preprocessing(size=row.codec_image_size if row else 256, fit="squash")
    if vqgan is not None:
        beside = vqgan.with_name("model.yaml")
        codec, shape, left_out = read_published(vqgan, vqgan_config or (beside if beside.is_file() else None))
        save_codec(folder / "vqgan", codec, shape, torch.float32)
        grid, squash = codec.grid[0], Preprocessing(size=codec.image_size, fit="squash")
    model, specs, layout, variant = build_published(
        base=base, vision=vision, plugin_files=plugins, fusion_file=fusion,
        text_tokens=len(tokenizer) if extended else None, codes=codes if extended else 0, grid=grid, alphas=alphas,
    )  # fmt: skip
    tokenizer.save_pretrained(folder / "tokenizer")
    stops = generation.eos_token_id
    used = [path.name for path in (*plugins.values(), fusion, vqgan) if path is not None]
    described = ModelConfig(
        name=name, variant=variant.name if variant else "released", template=chosen.name, text_size=layout.text_size,
        code_count=layout.code_count, grid=model.fusion.grid_rows.shape[0], context=config.max_position_embeddings,
        hidden_size=config.hidden_size, grains=model.vision.hidden_states, preprocessing=preprocessing_of(vision),
        codec_preprocessing=squash, plugins=model.plugins, apart=tuple(model.fusion.apart),  # type: ignore[arg-type]
        stop_ids=tuple(stops if isinstance(stops, list) else [stops] if stops is not None else []),
        repetition_penalty=generation.repetition_penalty or 1.0,
        licence="as published with the weights; research use only",
        provenance=f"imported from {', '.join(used)} on {base}",
    )  # fmt: skip
    save_model(folder, model, described, specs)
    return left_out

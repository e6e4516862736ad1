"""The authors' releases: what each is made of, and how its files become a model folder.

``released_folder("m3")`` downloads the published parts at pinned revisions and imports them once; the language model
itself stays in the hub's cache and the folder refers to it. The VQGAN is not on the hub: without it a model answers,
and says what it needs to draw.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from transformers import AutoConfig, AutoTokenizer, GenerationConfig
from transformers.utils import logging

from healthgpt.backbone.hub import PINNED, Published, fetched, fetched_all, model_home
from healthgpt.backbone.prompts import template_named
from healthgpt.errors import ModelError
from healthgpt.model.checkpoint import ModelConfig, save_model
from healthgpt.model.published import build_published, matching_variant, preprocessing_of
from healthgpt.tasks import Family
from healthgpt.variants import Variant
from healthgpt.vision.preprocess import Preprocessing
from healthgpt.vq.published import read_published
from healthgpt.vq.store import save_codec
from healthgpt.whole_folder import whole_folder

TEMPLATE_OF = {"m3": "phi3_instruct", "l14": "phi4_instruct", "xl32": "qwen_2"}
UNEXTENDED = ("qwen_2",)
"""Templates of releases whose vocabulary was never extended by codes."""
CODES = 8192
"""Codes by which the others were."""
PUBLISHED_STAGES: tuple[tuple[str, Family | None], ...] = (
    ("stage1-comprehension", "comprehension"), ("stage1-generation", "generation"), ("stage2", None),
    ("stage3-comprehension", "comprehension"), ("stage3-generation", "generation"),
)  # fmt: skip
"""What the authors' weights have been through (table 7), and the family whose plugin it concerns."""
CODEC, CODEC_CONFIG = "last.ckpt", "model.yaml"


@dataclass(frozen=True)
class Release:
    """The hub repositories a release is made of, and which file of its own holds what."""

    base: Published
    plugins: Published
    comprehension: str
    generation: str | None = None
    fusion: str | None = None


RELEASES = {
    "m3": Release(
        PINNED["microsoft/Phi-3-mini-4k-instruct"], PINNED["lintw/HealthGPT-M3"], "com_hlora_weights.bin",
        "gen_hlora_weights.bin", "fusion_layer_weights.bin",
    ),
    "l14": Release(PINNED["microsoft/phi-4"], PINNED["lintw/HealthGPT-L14"], "com_hlora_weights_phi4.bin"),
    "xl32": Release(
        PINNED["Qwen/Qwen2.5-32B-Instruct"], PINNED["lintw/HealthGPT-XL32"], "com_hlora_weights_QWEN_32B.bin"
    ),
}  # fmt: skip
VISION = PINNED["openai/clip-vit-large-patch14-336"]
"""The tower of all three."""


@dataclass(frozen=True)
class ReleasedFiles:
    """What an import reads: ``base`` and ``vision`` are folders, the rest the authors' files."""

    base: Path
    vision: Path
    plugins: Mapping[Family, Path]
    fusion: Path | None = None
    vqgan: Path | None = None
    vqgan_config: Path | None = None
    base_source: Published | None = None
    """Where ``base`` is published: the model folder then refers to it and does not hold it."""


@dataclass(frozen=True)
class Untold:
    """What no tensor tells; the variant's where None."""

    template: str | None = None
    alphas: Mapping[Family, float | None] = field(default_factory=dict)
    codes: int = CODES
    """Codes added to the vocabulary, where no fusion file tells."""


def codec_place() -> Path:
    """The folder a person puts the published VQGAN in."""
    return model_home() / "downloads" / "vqgan"


def released_folder(name: str) -> Path:
    """The model folder of a release, downloaded and imported where it is not there yet.

    ``ModelError`` names every part that cannot be had.
    """
    release, folder, codec = RELEASES[name], model_home() / name, codec_place() / CODEC
    codec_came_later = codec.is_file() and release.generation is not None and not (folder / "vqgan").is_dir()
    if (folder / "config.json").is_file() and not codec_came_later:
        return folder
    base, vision, plugins = fetched_all([release.base, VISION, release.plugins])
    files: dict[Family, Path] = {"comprehension": plugins / release.comprehension}
    if release.generation is not None:
        files["generation"] = plugins / release.generation
    fresh = folder.with_name(f"{name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    with whole_folder(fresh) as partial:
        import_files(
            partial, name,
            ReleasedFiles(
                base, vision, files, None if release.fusion is None else plugins / release.fusion,
                codec if codec.is_file() and release.generation is not None else None,
                base_source=_as_fetched(release.base, base),
            ),
            Untold(),
        )  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)  # only now that the new one is whole
    fresh.rename(folder)
    return folder


def base_of(base: str, source: Published | None) -> tuple[Path, Published | None]:
    """The folder of a ``--base`` or ``--vision``, downloaded when it is a repository, and where it is published."""
    if source is None:
        return Path(base), None
    folder = fetched(source)
    return folder, _as_fetched(source, folder)


def _as_fetched(source: Published, folder: Path) -> Published:
    """The source at the very commit that was downloaded: the hub's cache names a snapshot's folder by it."""
    return replace(source, revision=folder.name) if folder.parent.name == "snapshots" else source


def import_files(folder: Path, name: str, files: ReleasedFiles, untold: Untold) -> tuple[str, ...]:
    """Write the model folder of released files; returns the names of tensors that were left out.

    ``ModelError`` names the file that does not fit, what it holds and what was expected.
    """
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    base, vision = str(files.base), str(files.vision)
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
    template = template_named(untold.template or _template(row, config.hidden_size))
    extended = template.name not in UNEXTENDED
    left_out: tuple[str, ...] = ()
    grid = None
    squash = Preprocessing(size=row.codec_image_size if row else 256, fit="squash")
    if files.vqgan is not None:
        beside = files.vqgan.with_name(CODEC_CONFIG)
        codec, shape, left_out = read_published(
            files.vqgan, files.vqgan_config or (beside if beside.is_file() else None)
        )
        save_codec(folder / "vqgan", codec, shape, torch.float32)
        grid, squash = codec.grid[0], Preprocessing(size=codec.image_size, fit="squash")
    model, specs, layout, variant = build_published(
        base=base, vision=vision, plugin_files=files.plugins, fusion_file=files.fusion,
        text_tokens=len(tokenizer) if extended else None, codes=untold.codes if extended else 0, grid=grid,
        alphas=untold.alphas,
    )  # fmt: skip
    tokenizer.save_pretrained(folder / "tokenizer")
    stops = generation.eos_token_id
    used = [path.name for path in (*files.plugins.values(), files.fusion, files.vqgan) if path is not None]
    source = files.base_source
    described = ModelConfig(
        name=name, variant=variant.name if variant else "released", template=template.name,
        text_size=layout.text_size, code_count=layout.code_count, grid=model.fusion.grid_rows.shape[0],
        context=config.max_position_embeddings, hidden_size=config.hidden_size, grains=model.vision.hidden_states,
        preprocessing=preprocessing_of(vision), codec_preprocessing=squash, plugins=model.plugins,
        stages=tuple(stage for stage, family in PUBLISHED_STAGES if family is None or family in model.plugins),
        apart=tuple(model.fusion.apart),  # type: ignore[arg-type]
        stop_ids=tuple(stops if isinstance(stops, list) else [stops] if stops is not None else []),
        repetition_penalty=generation.repetition_penalty or 1.0, backbone_source=source,
        licence="as published with the weights; research use only",
        provenance=f"imported from {', '.join(used)} on {f'{source.repo} at {source.revision}' if source else base}",
    )  # fmt: skip
    save_model(folder, model, described, specs)
    return left_out


def _template(row: Variant | None, hidden_size: int) -> str:
    if row is None:
        raise ModelError(
            "the prompt template is not known", found=f"a base of width {hidden_size}, none of the published",
            allowed=", ".join(TEMPLATE_OF.values()), next_step="give --template",
        )  # fmt: skip
    return TEMPLATE_OF[row.name]

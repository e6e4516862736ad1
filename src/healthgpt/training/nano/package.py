"""From the finished parts to one model folder: half-precision safetensors, tokenizer, codec, description, hashes."""

import shutil

import torch

from healthgpt.model.build import plugin_specs
from healthgpt.model.checkpoint import ModelConfig, save_model
from healthgpt.training.nano.pretrain_codec import trained_codec
from healthgpt.training.nano.pretrain_language import tokenizer_of
from healthgpt.training.nano.stage_data import preprocessing_of
from healthgpt.training.nano.stage_run import model_after
from healthgpt.training.nano.workspace import Workspace
from healthgpt.variants import variant_named
from healthgpt.vq.store import CodecShape, save_codec

STAGES = (
    "stage1-comprehension", "stage1-generation", "stage2", "stage3-comprehension", "stage3-generation", "stage3-words",
    "stage3-findings",
)  # fmt: skip
STAGE_OF = {"stage3-words": "stage3-generation", "stage3-findings": "stage3-generation"}
"""Parts that are more of a stage of the paper."""
STORED = torch.float16


def package_part(workspace: Workspace) -> None:
    """Write RUN/model whole or not at all."""
    recipe = workspace.recipe
    variant = variant_named(recipe.variant)
    partial = workspace.root / "model.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tokenizer_of(workspace).save_pretrained(partial / "tokenizer")
    plan = recipe.codec
    shape = CodecShape(
        image_size=variant.codec_image_size, code_count=variant.code_count, embed_dim=plan.embed_dim, fold=plan.fold,
        widths=plan.widths, encoder_blocks=plan.encoder_blocks, decoder_blocks=plan.decoder_blocks,
        attention=plan.attention,
    )  # fmt: skip
    save_codec(partial / "vqgan", trained_codec(workspace), shape, STORED)
    model = model_after(workspace, STAGES)
    specs = plugin_specs(variant)
    preprocessing = preprocessing_of(variant)
    config = ModelConfig(
        name=recipe.name, variant=recipe.variant, template=variant.template, text_size=variant.text_size,
        code_count=variant.code_count, grid=variant.grid, context=variant.context, hidden_size=variant.hidden_size,
        grains=model.vision.hidden_states, preprocessing=preprocessing, codec_preprocessing=preprocessing,
        plugins=model.plugins, stages=tuple(dict.fromkeys(STAGE_OF.get(part, part) for part in STAGES)),
        guidance=recipe.guidance, licence="Apache-2.0; research use only",
        provenance=f"recipe {recipe.name}, seed {recipe.seed}; VL-Phantom"
        + (" and the real packs named in the model card" if workspace.packs is not None else " alone"),
    )  # fmt: skip
    save_model(partial, model, config, specs, STORED)
    shutil.rmtree(workspace.model, ignore_errors=True)
    partial.replace(workspace.model)
    workspace.finish("package")

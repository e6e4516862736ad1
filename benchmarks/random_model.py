"""One set of random weights in the structure of the released M3, at any size: what the speed benchmarks run.

``MIDSIZE`` is the size they name: Phi-3's structure at hidden size 512 with 8 blocks and 8 heads, MLP 1,376
(8192 / 3072 x 512, rounded up to a multiple of 32), M3's vocabulary of 40,206 ids, its H-LoRA ranks and experts, its
32 x 32 codes, and a vision tower of the real ViT-L/14-336 dimensions. As in the released weights reading has tables
of its own (the base model's, new rows their mean) and drawing has the fusion file's.

Random plugins act (B is not zero), and in the drawing head the rows of the codes are ``LOUD`` times as large as
all others, so that a greedy choice over the whole vocabulary always falls on a code, as it does for trained weights;
otherwise a path that may emit anything and one that may emit codes alone would draw different pictures.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn
from transformers import Phi3Config, Phi3Model

from healthgpt.backbone.prompts import Prompt
from healthgpt.inference.decode import Ask
from healthgpt.inference.sampling import Sampling
from healthgpt.model.build import FAMILIES, layout_of, new_tower, plugin_specs
from healthgpt.model.fusion import Fusion, Tables
from healthgpt.model.healthgpt import HealthGPTModel
from healthgpt.model.published import GRAINS, fill_tables, widened
from healthgpt.plugins.attach import attach, make_routable
from healthgpt.plugins.store import adapter_maker
from healthgpt.tasks import Family
from healthgpt.tokens import IMAGE_SLOT
from healthgpt.variants import VARIANTS, Variant
from healthgpt.vision.grains import GrainedVision

MIDSIZE = replace(VARIANTS["m3"], name="midsize", hidden_size=512, layers=8, mlp_size=1376, heads=8, kv_heads=8)
TASK_OF: dict[Family, str] = {"comprehension": "x-ray", "generation": "reconstruct"}
WEIGHT_SPREAD = 0.02
BLOCK_SPREAD = 0.06
"""Of the blocks' own weights: three times Phi-3's start, so that greedy codes do not settle into a short cycle."""
LOUD = 4.0
OPENING, QUESTION = 14, 12
"""Ids of Phi-3's system and user text before the image, and of an ordinary question and the assistant's marker."""


def phi3_config(variant: Variant, attention: str, vocabulary: int) -> Phi3Config:
    """Phi-3-mini-4k's configuration at the variant's size."""
    return Phi3Config(
        vocab_size=vocabulary, hidden_size=variant.hidden_size, intermediate_size=variant.mlp_size,
        num_hidden_layers=variant.layers, num_attention_heads=variant.heads, num_key_value_heads=variant.kv_heads,
        max_position_embeddings=variant.context, original_max_position_embeddings=variant.context,
        sliding_window=2047, rms_norm_eps=1e-5, pad_token_id=None, bos_token_id=None, eos_token_id=None,
        tie_word_embeddings=False, initializer_range=BLOCK_SPREAD, attn_implementation=attention,
    )  # fmt: skip


def random_model(variant: Variant, families: Sequence[Family] = FAMILIES, seed: int = 0) -> HealthGPTModel:
    """A model with these families resident, its weights decided by ``seed``, in float32 on the CPU."""
    torch.manual_seed(seed)
    backbone = Phi3Model(phi3_config(variant, "sdpa", vocabulary=1))
    backbone.set_input_embeddings(nn.Identity())
    vision = GrainedVision(new_tower(variant), variant.hidden_size, {GRAINS[f][0]: GRAINS[f][1] for f in families})
    apart: tuple[Family, ...] = ("comprehension",) if len(families) > 1 else ()
    fusion = Fusion(layout_of(variant), variant.hidden_size, variant.grid, apart)
    for extra in (fusion.grid_rows, fusion.grid_columns):
        nn.init.zeros_(extra)  # the released weights have none
    make_routable(backbone)
    for family in families:
        attach(backbone, family, adapter_maker(plugin_specs(variant)[family]))
        _draw_tables(fusion.tables(family), family, variant)
    for name, parameter in backbone.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=WEIGHT_SPREAD)
    model = HealthGPTModel(backbone, vision, fusion, {family: family for family in families})
    return model.eval().requires_grad_(False)


def _draw_tables(tables: Tables, family: Family, variant: Variant) -> None:
    layout = layout_of(variant)
    embedding, head = torch.randn(2, layout.total, variant.hidden_size) * WEIGHT_SPREAD
    if family == "comprehension":
        embedding, head = (widened(rows, layout.text_size, layout.total) for rows in (embedding, head))
    else:
        head[layout.first_code : layout.end] *= LOUD
    fill_tables(tables, embedding, head, layout.text_size)


def random_ask(variant: Variant, family: Family, seed: int, new_tokens: int) -> Ask:
    """Random words around a random image, greedily answered or drawn: the shape of Phi-3's template."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(3, variant.text_size, (OPENING + QUESTION,), generator=generator).tolist()
    prompt = Prompt()
    prompt.add(words[:OPENING])
    prompt.add([IMAGE_SLOT] * variant.image_tokens)
    prompt.add(words[OPENING:], instruction=True)
    if family == "generation":
        prompt.add([layout_of(variant).start])
    pixels = torch.randn(3, variant.image_size, variant.image_size, generator=generator)
    return Ask(prompt, TASK_OF[family], pixels, Sampling(), new_tokens)

"""CPU-sized everything: a tiny tokenizer, backbone, tower and model with random weights, built in a moment."""

from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import nn
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from healthgpt.backbone.prompts import PromptBuilder, template_named
from healthgpt.model.build import assemble, layout_of, new_tower, plugin_specs
from healthgpt.model.checkpoint import ModelConfig, save_model
from healthgpt.model.healthgpt import HealthGPTModel
from healthgpt.tasks import Grain
from healthgpt.variants import VARIANTS, PluginSize, Variant
from healthgpt.vision.clip import HiddenState
from healthgpt.vision.preprocess import Preprocessing
from healthgpt.vq.store import CodecShape, save_codec

SENTENCES = [
    "is there a nodule in the left lung", "yes", "no", "what modality is this image", "ct", "mri",
    "describe this image", "a chest x-ray with a large heart", "turn this ct into an mri", "how many cells",
]  # fmt: skip


def tiny_variant(**changes) -> Variant:
    """nano in miniature: 16 px images, 4 visual tokens, 2 x 2 codes."""
    small = replace(
        VARIANTS["nano"], hidden_size=32, layers=2, mlp_size=48, heads=2, kv_heads=1, text_size=300, code_count=16,
        image_size=16, patch_size=8, vision_width=64, vision_layers=3, codec_image_size=16, grid=2, context=256,
        comprehension=PluginSize(rank=4, experts=2, alpha=8), generation=PluginSize(rank=8, experts=4, alpha=16),
    )  # fmt: skip
    return replace(small, **changes)


def tiny_tokenizer(size: int = 300) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with nano's special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
    )  # fmt: skip


def tiny_backbone(variant: Variant, seed: int = 0) -> nn.Module:
    """A random Llama decoder without its embedding table."""
    torch.manual_seed(seed)
    model = LlamaModel(
        LlamaConfig(
            vocab_size=variant.text_size, hidden_size=variant.hidden_size, intermediate_size=variant.mlp_size,
            num_hidden_layers=variant.layers, num_attention_heads=2, num_key_value_heads=1,
            max_position_embeddings=variant.context, attn_implementation="sdpa",
        )
    )  # fmt: skip
    model.set_input_embeddings(nn.Identity())
    return model.eval()


def tiny_model(
    seed: int = 0, *, trained: bool = True, grains: dict[Grain, HiddenState] | None = None, **changes
) -> tuple[HealthGPTModel, PromptBuilder, Variant]:
    """A random model and its prompt builder; ``trained`` gives the plugins non-zero B so that they act."""
    variant = tiny_variant(**changes)
    backbone = tiny_backbone(variant, seed)
    model = assemble(variant, backbone, new_tower(variant), grains=grains).eval()
    if trained:
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "task_embedding" in name or "instruction_embedding" in name:
                parameter.data = torch.randn(parameter.shape, generator=generator) * 0.05
            if "_head" in name or "embedding" in name:
                parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    builder = PromptBuilder(
        tiny_tokenizer(), layout_of(variant), template_named("nano"), variant.image_tokens, variant.context
    )
    return model, builder, variant


def save_tiny(folder: Path, seed: int = 0, **changes) -> HealthGPTModel:
    """A whole random model folder, codec and tokenizer included."""
    model, builder, variant = tiny_model(seed, **changes)
    builder.tokenizer.save_pretrained(folder / "tokenizer")
    shape = CodecShape(
        image_size=16, code_count=variant.code_count, embed_dim=4, fold=4, widths=(8, 16), encoder_blocks=(0, 1),
        decoder_blocks=(0, 1), attention=False,
    )  # fmt: skip
    torch.manual_seed(seed)
    save_codec(folder / "vqgan", shape.build(), shape, torch.float32)
    preprocessing = Preprocessing(size=variant.image_size)
    config = ModelConfig(
        name="tiny", variant="nano", template="nano", text_size=variant.text_size, code_count=variant.code_count,
        grid=variant.grid, context=variant.context, hidden_size=variant.hidden_size,
        grains=model.vision.hidden_states, preprocessing=preprocessing, codec_preprocessing=preprocessing,
        plugins=model.plugins, licence="none", provenance="random weights of a test",
    )  # fmt: skip
    save_model(folder, model, config, plugin_specs(variant), torch.float32)
    return model

"""Named model sizes as literal rows: every dimension that no weight file tells by itself.

m3, l14 and xl32 are the published sizes (HealthGPT, table 6 and the released checkpoints); nano and
nano-large (what the nano recipe trains where there is a GPU) are this project's own. Only
``model/build.py`` and the recipes read this table; constructors take plain numbers.
"""

from dataclasses import dataclass

from healthgpt.errors import ModelError, closest


@dataclass(frozen=True)
class PluginSize:
    """One family's H-LoRA: ``rank`` is the merged rank (experts x rank per expert); ``alpha`` is over it."""

    rank: int
    experts: int
    alpha: float


@dataclass(frozen=True)
class Variant:
    """One model size. Lengths in tokens, images in pixels (square), ``grid`` in codes per side."""

    name: str
    backbone: str
    template: str
    hidden_size: int
    layers: int
    text_size: int
    code_count: int
    image_size: int
    patch_size: int
    vision_width: int
    vision_layers: int
    codec_image_size: int
    grid: int
    context: int
    comprehension: PluginSize
    generation: PluginSize
    mlp_size: int
    heads: int
    kv_heads: int
    fused: bool = False
    """Query, key and value are one linear layer, gate and up another (Phi)."""
    projection_biases: bool = False
    """Query, key and value have biases (Qwen2)."""
    concrete_state: int = 1
    """Hidden state used for drawing: after the first block."""
    abstract_state: int = -2
    """Hidden state used for reading: the penultimate one."""

    @property
    def image_tokens(self) -> int:
        """Visual tokens per image, class token dropped."""
        return (self.image_size // self.patch_size) ** 2


VARIANTS: dict[str, Variant] = {
    "nano": Variant(
        "nano", backbone="nano (Llama architecture, trained by this project)", template="nano",
        hidden_size=256, layers=5, text_size=2048, code_count=1024,
        image_size=128, patch_size=8, vision_width=192, vision_layers=5,
        codec_image_size=128, grid=16, context=1024,
        comprehension=PluginSize(rank=48, experts=4, alpha=96),
        generation=PluginSize(rank=96, experts=4, alpha=192),
        mlp_size=640, heads=4, kv_heads=4,
    ),
    "nano-large": Variant(
        "nano-large", backbone="nano on a GPU (Llama architecture, trained by this project)", template="nano",
        hidden_size=512, layers=10, text_size=4096, code_count=1024,
        image_size=128, patch_size=8, vision_width=384, vision_layers=10,
        codec_image_size=128, grid=16, context=1024,
        comprehension=PluginSize(rank=64, experts=4, alpha=128),
        generation=PluginSize(rank=192, experts=4, alpha=384),
        mlp_size=1408, heads=8, kv_heads=8,
    ),
    "m3": Variant(
        "m3", backbone="microsoft/Phi-3-mini-4k-instruct", template="phi3_instruct",
        hidden_size=3072, layers=32, text_size=32_011, code_count=8192,
        image_size=336, patch_size=14, vision_width=1024, vision_layers=24,
        codec_image_size=256, grid=32, context=4096,
        comprehension=PluginSize(rank=64, experts=4, alpha=128),
        generation=PluginSize(rank=256, experts=4, alpha=512),
        mlp_size=8192, heads=32, kv_heads=32, fused=True,
    ),
    "l14": Variant(
        "l14", backbone="microsoft/phi-4", template="phi4_instruct",
        hidden_size=5120, layers=40, text_size=100_352, code_count=8192,
        image_size=336, patch_size=14, vision_width=1024, vision_layers=24,
        codec_image_size=256, grid=32, context=16_384,
        comprehension=PluginSize(rank=32, experts=4, alpha=64),
        generation=PluginSize(rank=128, experts=4, alpha=256),
        mlp_size=17_920, heads=40, kv_heads=10, fused=True,
    ),
    "xl32": Variant(
        "xl32", backbone="Qwen/Qwen2.5-32B-Instruct", template="qwen_2",
        hidden_size=5120, layers=64, text_size=151_665, code_count=8192,
        image_size=336, patch_size=14, vision_width=1024, vision_layers=24,
        codec_image_size=256, grid=32, context=32_768,
        comprehension=PluginSize(rank=32, experts=4, alpha=64),
        generation=PluginSize(rank=128, experts=4, alpha=256),
        mlp_size=27_648, heads=40, kv_heads=8, projection_biases=True,
    ),
}  # fmt: skip


def variant_named(name: str) -> Variant:
    """The row of that name; ``ModelError`` with the closest match when there is none."""
    if name not in VARIANTS:
        raise ModelError(
            f"unknown variant '{name}'", allowed=", ".join(VARIANTS), next_step=closest(name, list(VARIANTS))
        )
    return VARIANTS[name]

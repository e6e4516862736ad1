"""The published inference path, re-created plainly: what the speed benchmarks run against.

As the released code works: a Hugging Face ``Phi3ForCausalLM`` with eager attention, a plain H-LoRA around each linear
layer of its blocks, the whole CLIP tower run with all its hidden states kept, a two-layer projector, visual
features spliced between the words in embedding space, and ``generate`` choosing greedily over the whole extended
vocabulary, one image at a time, one family at a time. The library is the installed one; where it has become thriftier
than the release the published studies used (4.41), its old behaviour is restored: scores of every position of the
prompt are computed, in float32, where today's ``generate`` keeps the last position's alone.

Both paths compute with the same numbers: the weights are copies of a ``HealthGPTModel``'s, laid out in memory as a
checkpoint is.
"""

from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import init_empty_weights
from random_model import phi3_config
from torch import nn
from transformers import CLIPVisionModel, GenerationConfig, Phi3ForCausalLM

from healthgpt.inference.decode import Ask
from healthgpt.model.healthgpt import HealthGPTModel
from healthgpt.model.published import GRAINS
from healthgpt.plugins.attach import RoutedLinear, decoder_blocks, routed_layers
from healthgpt.plugins.hlora import HLoRA
from healthgpt.tasks import Family
from healthgpt.tokens import IMAGE_SLOT
from healthgpt.variants import Variant

STOP_IDS = [32000, 32001, 32007]
"""M3's, from its base model's generation config."""


class PlainHLoRA(nn.Module):
    """y = W0 x + B(dropout(s A x) * weights), each router weight repeated for the columns of its expert."""

    def __init__(self, base: nn.Linear, plugin: HLoRA) -> None:
        super().__init__()
        self.base = deepcopy(base)
        self.lora_A, self.lora_B, self.lora_route = deepcopy([plugin.lora_A, plugin.lora_B, plugin.lora_route])
        self.dropout = nn.Dropout(plugin.dropout.p)
        self.scale, self.experts = plugin.scale, plugin.experts

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result = self.base(x)
        weights = F.softmax(self.lora_route(x), dim=-1)
        expanded = weights.repeat_interleave(self.lora_A.out_features // self.experts, dim=-1)
        return result + self.lora_B(self.dropout(self.lora_A(x) * self.scale) * expanded)


class WholePromptScores(Phi3ForCausalLM):
    """Scores every position in float32, as the class did in the release the published studies used."""

    def forward(self, *args: Any, logits_to_keep: Any = 0, **kwargs: Any) -> Any:
        output = super().forward(*args, logits_to_keep=0, **kwargs)
        output.logits = output.logits.float()
        return output


class PublishedPath:
    """One family of a model as the released scripts run it."""

    def __init__(self, model: HealthGPTModel, family: Family, variant: Variant) -> None:
        tables = model.fusion.tables(family)
        embedding = torch.cat([tables.text_embedding, tables.image_embedding])
        head = torch.cat([tables.text_head, tables.image_head])
        with init_empty_weights(include_buffers=False):
            self.language = WholePromptScores(phi3_config(variant, "eager", embedding.shape[0]))
            self.tower = CLIPVisionModel._from_config(model.vision.tower.config, attn_implementation="eager")
        state = {
            f"model.{name.replace('.base.', '.')}": tensor.clone()
            for name, tensor in model.backbone.state_dict().items()
            if ".adapters." not in name
        }
        self.language.load_state_dict(
            {**state, "model.embed_tokens.weight": embedding, "lm_head.weight": head}, assign=True
        )
        self.tower.load_state_dict(model.vision.tower.clip.state_dict(), assign=True)
        blocks = decoder_blocks(self.language)
        for name, layer in routed_layers(model.backbone):
            blocks.set_submodule(name, _plain(layer, model.plugins[family]))
        grain, self.hidden_state = GRAINS[family]
        self.projector = model.vision.adapters[grain]
        self.language.eval()
        self.tower.eval()
        self.language.generation_config = GenerationConfig(eos_token_id=STOP_IDS, pad_token_id=STOP_IDS[0])

    @torch.inference_mode()
    def generate(self, ask: Ask) -> list[int]:
        """The ids that follow one prompt with its image, greedily, stop id included."""
        states = self.tower(ask.pixels_3SS.unsqueeze(0), output_hidden_states=True).hidden_states
        visual = self.projector(states[self.hidden_state][:, 1:])[0]
        ids = torch.tensor(ask.prompt.ids)
        first = ask.prompt.ids.index(IMAGE_SLOT)
        embed = self.language.get_input_embeddings()
        parts = [embed(ids[:first]), visual, embed(ids[first + visual.shape[0] :])]
        embedded = torch.cat(parts).unsqueeze(0)
        output = self.language.generate(
            inputs_embeds=embedded, attention_mask=torch.ones(embedded.shape[:2], dtype=torch.long), do_sample=False,
            max_new_tokens=ask.max_new_tokens, use_cache=True,
        )  # fmt: skip
        return output[0].tolist()


def _plain(layer: RoutedLinear, plugin: str) -> PlainHLoRA:
    adapter = layer.adapters[plugin]
    assert isinstance(adapter, HLoRA)
    return PlainHLoRA(layer.base, adapter)

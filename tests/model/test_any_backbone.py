"""One loader for every family of decoders: fused and separate projections, shared keys, tied heads, long rope."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)

from healthgpt.errors import ModelError
from healthgpt.model.fusion import Fusion
from healthgpt.model.published import fill_tables, read_base, widened
from healthgpt.plugins.attach import attach, make_routable
from healthgpt.plugins.hlora import HLoRA
from healthgpt.plugins.routing import Route
from healthgpt.tokens import TokenLayout

SIZE = {
    "vocab_size": 70, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
LONG_ROPE = {
    "rope_type": "longrope", "rope_theta": 10_000.0, "short_factor": [1.0] * 4, "long_factor": [2.0] * 4,
    "original_max_position_embeddings": 32,
}  # fmt: skip
LLAMA3_ROPE = {
    "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
FUSED, SEPARATE = 4, 7
"""Linear layers of a block whose projections are fused (qkv, out, gate-up, down) or not."""
FAMILIES = {
    "phi-3, fused": (Phi3Config(**SIZE), FUSED),
    "phi-3, long rope": (Phi3Config(**SIZE, rope_parameters=LONG_ROPE, original_max_position_embeddings=32), FUSED),
    "llama-3, its rope": (LlamaConfig(**SIZE, rope_parameters=LLAMA3_ROPE), SEPARATE),
    "llama, tied head": (LlamaConfig(**SIZE, tie_word_embeddings=True), SEPARATE),
    "qwen-2.5, biases": (Qwen2Config(**SIZE), SEPARATE),
    "qwen-3, normalised queries": (Qwen3Config(**SIZE, head_dim=8), SEPARATE),
    "mistral": (MistralConfig(**SIZE), SEPARATE),
    "gemma, scaled rows": (GemmaConfig(**SIZE, head_dim=8), SEPARATE),
}


@pytest.fixture(params=list(FAMILIES))
def family(request, tmp_path):
    """Folder, the library's model, linear layers a block."""
    config, linears = FAMILIES[request.param]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(tmp_path)
    return tmp_path, model, linears


def test_an_untrained_plugin_on_any_decoder_changes_nothing(family):
    folder, library, linears = family
    decoder, embedding, head = read_base(str(folder))
    fusion = Fusion(TokenLayout(64, 3), 32, 0)  # six padding rows of 70 become codes and markers
    fill_tables(fusion, widened(embedding, 64, 70), widened(head, 64, 70), 64)
    layers = make_routable(decoder)
    assert len(layers) == 2 * linears, layers
    attach(decoder, "reading", lambda inner, outer: HLoRA(inner, outer, 8, 4, 16.0))
    ids = torch.randint(0, 64, (2, 9))
    with torch.inference_mode():
        hidden = decoder(
            inputs_embeds=fusion.look_up(ids), use_cache=False, plugin_route=Route.of_rows(["reading"] * 2)
        )
        ours = fusion.score(hidden.last_hidden_state)
        theirs = library(input_ids=ids).logits
    torch.testing.assert_close(ours[..., :64], theirs[..., :64], atol=1e-5, rtol=1e-4)
    mean = ours[..., :64].mean(-1, keepdim=True)  # what widened rows score
    torch.testing.assert_close(ours[..., 64:], mean.expand(-1, -1, 6), atol=1e-5, rtol=1e-4)


def test_a_decoder_without_linear_layers_is_refused_by_name(tmp_path):
    model = AutoModelForCausalLM.from_config(GPT2Config(vocab_size=70, n_embd=32, n_layer=2, n_head=2, n_positions=32))
    with pytest.raises(ModelError, match=r"no linear layers to attach plugins to.*GPT2Model"):
        make_routable(model.base_model)

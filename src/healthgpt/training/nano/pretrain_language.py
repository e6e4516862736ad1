"""nano's language model before it is frozen: a tokenizer and a small Llama trained on the text alone."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from healthgpt.backbone.load import load_tokenizer
from healthgpt.backbone.prompts import template_named
from healthgpt.record import read_records
from healthgpt.sources.catalog import SOURCES, present
from healthgpt.training.nano.loop import run_steps
from healthgpt.training.nano.workspace import Workspace
from healthgpt.variants import variant_named

BLANKS = ((r"(?<! ) (?=\d)", ""), (r"  (?=\d)", " "), (r"(?<=\d) (?=[^\w\s])", ""))
"""What to put in place of blanks in decoded text. The tokenizer sets every digit apart and puts a blank before each
piece, so ``t1-weighted`` comes back as ``t 1 -weighted`` and a digit after a true blank has two before it."""
SPECIAL = ("<|pad|>", "<|end|>", "<|user|>", "<|assistant|>")
ROW_LENGTH = 128


def conversations(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Every training question with its answer, then the text-only packs'."""
    for record in read_records(workspace.data / "records.jsonl"):
        if record.split == "train":
            yield record.instruction, record.response
    if workspace.packs is not None:
        for name in present(workspace.packs):
            pairs = SOURCES[name].text_pairs
            if name in workspace.recipe.data.text_packs and pairs is not None:
                yield from pairs(workspace.packs)


def train_tokenizer(texts: Iterator[str], size: int) -> PreTrainedTokenizerFast:
    """A lower-casing byte-level BPE of at most ``size`` ids; digits stand alone so that numbers can be counted."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=True)]
    )
    mended = [decoders.Replace(Regex(pattern), content) for pattern, content in BLANKS]
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), *mended])
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
    )  # fmt: skip


def tokenizer_part(workspace: Workspace) -> None:
    """Train and save the tokenizer, and the whole text as one array of ids."""
    pairs = list(conversations(workspace))
    size = variant_named(workspace.recipe.variant).text_size
    tokenizer = train_tokenizer((text for pair in pairs for text in pair if text), size)
    folder = workspace.part("tokenizer")
    tokenizer.save_pretrained(folder / "tokenizer")
    template = template_named(variant_named(workspace.recipe.variant).template)
    texts = [f"{template.user}{q}{template.assistant}{a}{template.close}" for q, a in pairs if a]
    ids = [
        row for start in range(0, len(texts), 10_000) for row in tokenizer(texts[start : start + 10_000])["input_ids"]
    ]
    order = np.random.default_rng(workspace.recipe.seed).permutation(len(ids))
    flat = np.concatenate([np.asarray(ids[row], dtype=np.uint16) for row in order])
    np.save(folder / "text.npy", flat)
    workspace.finish("tokenizer", entries=len(tokenizer), text_tokens=int(flat.size))


def language_config(workspace: Workspace) -> LlamaConfig:
    """nano's Llama: every dimension from the variant and the recipe."""
    variant = variant_named(workspace.recipe.variant)
    return LlamaConfig(
        vocab_size=variant.text_size, hidden_size=variant.hidden_size, intermediate_size=workspace.recipe.mlp_width,
        num_hidden_layers=variant.layers, num_attention_heads=workspace.recipe.heads,
        num_key_value_heads=workspace.recipe.heads, max_position_embeddings=variant.context,
        tie_word_embeddings=False, pad_token_id=0, bos_token_id=None, eos_token_id=1,
    )  # fmt: skip


def language_part(workspace: Workspace) -> None:
    """Next-token prediction on rows of ``ROW_LENGTH`` ids cut anywhere from the text."""
    plan, seed = workspace.recipe.language, workspace.recipe.seed
    text = np.load(workspace.part("tokenizer") / "text.npy")
    torch.manual_seed(seed)
    model = LlamaForCausalLM(language_config(workspace))
    model.to(torch.device(workspace.device))  # type: ignore[arg-type]  # the library's wrapper hides its signature
    model.train()
    parameters = dict(model.named_parameters())

    def compute(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([seed, 1, step])
        starts = rng.integers(0, text.size - ROW_LENGTH - 1, plan.batch)
        rows = np.stack([text[start : start + ROW_LENGTH + 1] for start in starts]).astype(np.int64)
        ids = torch.from_numpy(rows).to(workspace.device)
        with torch.autocast(workspace.device, torch.bfloat16):
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        return F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten()), {}

    run_steps(
        workspace.part("language"), plan, [(parameters, plan.learning_rate)], compute, seed=seed,
        checkpoint_seconds=workspace.recipe.checkpoint_seconds, device=workspace.device,
    )  # fmt: skip
    workspace.keep("language", parameters)
    workspace.finish("language")


def tokenizer_of(workspace: Workspace) -> PreTrainedTokenizerBase:
    """The run's tokenizer."""
    return load_tokenizer(Path(workspace.part("tokenizer") / "tokenizer"))

"""nano's vision tower before it is frozen: contrastive pre-training on images and their words.

Two contrasts are learned together. Whole against whole (CLIP, Radford et al., 2021): an image and its
words, a report and two of its questions with their answers, must find each other in the batch. Statement
against rivals: a question with its right answer must fit the image better than the same question with
answers that are right for other images. A statement looks at the patches it needs (words attend to image
regions, as in GLoRIA, Huang et al., ICCV 2021) of the penultimate state, the one reading uses, so small
findings count as much as the modality.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Encoding
from torch import nn

from healthgpt.data.dataset import Examples, Reading, load_examples
from healthgpt.model.build import new_tower
from healthgpt.record import Record
from healthgpt.training.loop import attention_for, run_steps
from healthgpt.training.pretrain_language import tokenizer_of
from healthgpt.training.stage_data import preprocessing_of
from healthgpt.training.workspace import Workspace
from healthgpt.variants import variant_named
from healthgpt.vision.clip import VisionTower

LONGEST_TEXT = 96
TEXT_LAYERS = 2
STATEMENTS = 6
"""Statements about one image in one step."""
RIVALS = 3
"""At most so many wrong answers beside the right one."""


class Pairing(nn.Module):
    """Both sides of both contrasts, with one learned temperature each."""

    def __init__(self, tower: VisionTower, width: int, vocabulary: int, space: int = 128) -> None:
        super().__init__()
        self.tower = tower
        self.image_norm, self.patch_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.image_projection = nn.Linear(2 * width, space, bias=False)
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.randn(LONGEST_TEXT, width) * 0.02)
        block = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, F.gelu, batch_first=True, norm_first=True)
        self.text_blocks = nn.TransformerEncoder(block, TEXT_LAYERS, enable_nested_tensor=False)
        self.text_norm = nn.LayerNorm(width)
        self.text_projection = nn.Linear(width, space, bias=False)
        self.query, self.claim = nn.Linear(width, space), nn.Linear(width, space, bias=False)
        self.key, self.value = nn.Linear(width, space), nn.Linear(width, space)
        self.log_scale = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))
        self.log_statement_scale = nn.Parameter(torch.tensor(np.log(1 / 0.1), dtype=torch.float32))

    def see(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised last and penultimate states, (N, 1 + P, width) each; reading will use the penultimate."""
        penultimate = self.tower.states(pixels, -2)
        last = self.tower.clip.encoder.layers[-1](penultimate, None)
        return self.image_norm(last), self.patch_norm(penultimate)

    def read(self, ids_BT: torch.Tensor) -> torch.Tensor:
        """Texts (B, width): the mean over their words; ``ids_BT`` padded with 0."""
        padding = ids_BT == 0
        words = self.text_blocks(self.words(ids_BT) + self.positions[: ids_BT.shape[1]], src_key_padding_mask=padding)
        kept = (~padding).unsqueeze(-1)
        said: torch.Tensor = self.text_norm((words * kept).sum(1) / kept.sum(1).clamp_min(1))
        return said

    def likeness(self, states: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        """Whole against whole: similarities (images, texts)."""
        seen = torch.cat([states[:, 0], states[:, 1:].mean(1)], dim=-1)
        images = F.normalize(self.image_projection(seen).float(), dim=-1)
        said = F.normalize(self.text_projection(texts).float(), dim=-1)
        return images @ said.T * self.log_scale.exp().clamp(max=100)

    def support(self, states: torch.Tensor, statements: torch.Tensor) -> torch.Tensor:
        """How well each image bears out its own statements: (N, 1 + P, width), (N, M, width) -> (N, M)."""
        found = F.scaled_dot_product_attention(
            self.query(statements).unsqueeze(1), self.key(states).unsqueeze(1), self.value(states).unsqueeze(1)
        ).squeeze(1)
        claims = F.normalize(self.claim(statements).float(), dim=-1)
        return (F.normalize(found.float(), dim=-1) * claims).sum(-1) * self.log_statement_scale.exp().clamp(max=100)


def question_of(record: Record) -> str:
    """The question without its options."""
    return record.instruction.split(" Options: ")[0]


class Rivals:
    """For every question, the answers it has in the data: what a wrong statement is made of."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        answers: dict[str, dict[str, None]] = {}
        for reading in readings:
            for record in reading.records:
                if record.kind != "report":
                    answers.setdefault(question_of(record).lower(), {})[record.response] = None
        self.answers = {question: list(seen) for question, seen in answers.items() if len(seen) > 1}

    def statements(self, reading: Reading, rng: np.random.Generator) -> list[list[str]]:
        """Up to ``STATEMENTS`` lists: a question with its right answer first, then with up to ``RIVALS`` wrong ones."""
        asked = [record for record in reading.records if question_of(record).lower() in self.answers]
        chosen = []
        for index in rng.permutation(len(asked))[:STATEMENTS]:
            record = asked[index]
            wrong = [answer for answer in self.answers[question_of(record).lower()] if answer != record.response]
            wrong = [wrong[i] for i in rng.permutation(len(wrong))[:RIVALS]]
            chosen.append([f"{question_of(record)} {answer}." for answer in (record.response, *wrong)])
        return chosen


def words_of(reading: Reading, rng: np.random.Generator) -> str:
    """The report, where there is one, and two questions with their answers."""
    reports = [record.response for record in reading.records if record.kind == "report"]
    asked = [record for record in reading.records if record.kind != "report"]
    chosen = rng.permutation(len(asked))[:2]
    return " ".join(reports[:1] + [f"{asked[i].instruction} {asked[i].response}." for i in chosen])


def pick(
    examples: Examples, by_task: dict[str, list[int]], step: int, batch: int, rng: np.random.Generator
) -> list[int]:
    """Indices of one batch: mixed modalities on even steps, one modality on odd ones."""
    if step % 2 == 0:
        return rng.integers(0, len(examples.readings), batch).tolist()
    names = sorted(by_task)
    own = by_task[names[int(rng.integers(len(names)))]]
    return [own[i] for i in rng.integers(0, len(own), batch)]


def contrast(similarities: torch.Tensor, texts: list[str]) -> torch.Tensor:
    """Symmetric cross-entropy in which equal words share the target."""
    same = torch.tensor([[float(a == b) for b in texts] for a in texts], device=similarities.device)
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(similarities, target) + F.cross_entropy(similarities.T, target)) / 2


def padded(encodings: Sequence[Encoding], device: str) -> torch.Tensor:
    """Token ids (B, T) padded with 0, cut to ``LONGEST_TEXT``."""
    ids = [encoding.ids[:LONGEST_TEXT] for encoding in encodings]
    batch = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.long)
    for row, row_ids in enumerate(ids):
        batch[row, : len(row_ids)] = torch.tensor(row_ids)
    return batch.to(device)


def tower_part(workspace: Workspace) -> None:
    """Train the tower; only it is kept."""
    plan, seed, device = workspace.recipe.tower, workspace.recipe.seed, workspace.device
    variant = variant_named(workspace.recipe.variant)
    preprocessing = preprocessing_of(variant)
    tokenizer = tokenizer_of(workspace).backend_tokenizer
    examples = load_examples(workspace.data, "train", preprocessing)
    rivals = Rivals(examples.readings)
    by_task: dict[str, list[int]] = {}
    for index, reading in enumerate(examples.readings):
        by_task.setdefault(reading.task, []).append(index)
    torch.manual_seed(seed)
    tower = new_tower(variant)
    tower.clip.set_attn_implementation(attention_for(device))
    model = Pairing(tower, variant.vision_width, variant.text_size).to(device).train()

    def compute(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([seed, 2, step])
        readings = [examples.readings[i] for i in pick(examples, by_task, step, plan.batch, rng)]
        texts = [words_of(reading, rng) for reading in readings]
        statements = [rivals.statements(reading, rng) for reading in readings]
        spoken = list(dict.fromkeys(text for own in statements for choices in own for text in choices))
        place = {text: number for number, text in enumerate(spoken)}
        slots = torch.full((len(readings), STATEMENTS, 1 + RIVALS), -1)
        for row, own in enumerate(statements):
            for number, choices in enumerate(own):
                slots[row, number, : len(choices)] = torch.tensor([place[text] for text in choices])
        slots = slots.to(device)
        pixels = preprocessing.normalise(examples.squares([reading.image for reading in readings])).to(device)
        encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
        stated = tokenizer.encode_batch(spoken, add_special_tokens=False)
        with torch.autocast(device, torch.bfloat16):
            last, penultimate = model.see(pixels)
            likeness = model.likeness(last, model.read(padded(encoded, device)))
            claims = model.read(padded(stated, device))[slots.clamp_min(0).flatten(1)]
            support = model.support(penultimate, claims).view(slots.shape)
        asked = slots[..., 0] >= 0
        scores = support.masked_fill(slots < 0, float("-inf"))[asked]
        right = torch.zeros(len(scores), dtype=torch.long, device=device)
        told = F.cross_entropy(scores, right) if len(scores) else support.sum() * 0
        whole = contrast(likeness.float(), texts)
        figures = {
            "whole": float(whole.detach()),
            "told": float(told.detach()),
            "told_right": float((scores.argmax(1) == 0).float().mean()),
        }
        return told + 0.3 * whole, figures

    run_steps(
        workspace.part("tower"), plan, [(dict(model.named_parameters()), plan.learning_rate)], compute, seed=seed,
        checkpoint_seconds=workspace.recipe.checkpoint_seconds, device=device,
    )  # fmt: skip
    workspace.keep("tower", {name: tensor for name, tensor in model.tower.state_dict().items()})
    workspace.finish("tower")

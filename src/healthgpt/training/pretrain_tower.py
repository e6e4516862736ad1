"""nano's vision tower before it is frozen: contrastive pre-training on images and their words.

Two contrasts are learned together. Whole against whole (CLIP, Radford et al., 2021): an image and its
words, a report and two of its questions with their answers, must find each other in the batch. Answer
against rivals: what a question finds in the image must be closer to its right answer than to answers that
are right for other images. A question looks at the patches it needs (words attend to image regions, as in
GLoRIA, Huang et al., ICCV 2021) of the penultimate state, the one reading uses, so small findings count as
much as the modality.

Most steps look at a random part of each image's patches (FLIP, Li et al., CVPR 2023): more images in the same
time. Training has two phases: the whole tower first; then all but the embedding and the first block, so that
drawing, which sees through those alone, can be trained at the same time.
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
from healthgpt.training.config import TowerSteps
from healthgpt.training.loop import attention_for, run_steps
from healthgpt.training.pretrain_language import tokenizer_of
from healthgpt.training.stage_data import preprocessing_of
from healthgpt.training.workspace import Workspace
from healthgpt.variants import variant_named
from healthgpt.vision.clip import VisionTower
from healthgpt.vision.initialise import initialise

LONGEST_TEXT = 96
TEXT_LAYERS = 2
QUESTIONS = 6
"""Questions about one image in one step."""
HEADS = 4
"""Places a question may look at in one go."""
RIVALS = 3
"""At most so many wrong answers beside the right one."""
UNMASKED = 0.2
"""Last share of a phase's steps, in which every patch is seen again."""
SHALLOW = ("tower.clip.embeddings.", "tower.clip.pre_layrnorm.", "tower.clip.encoder.layers.0.")
"""What the concrete grain sees through."""


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
        self.look = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.finding = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, space))
        self.claim = nn.Linear(width, space, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))
        self.log_answer_scale = nn.Parameter(torch.tensor(np.log(1 / 0.1), dtype=torch.float32))

    def see(self, pixels: torch.Tensor, kept: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised last and penultimate states, (N, 1 + P, width) each; reading will use the penultimate.

        ``kept`` (N, K): only these patches of each image.
        """
        penultimate = self.tower.states(pixels, -2, kept)
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

    def support(self, states: torch.Tensor, questions: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        """How well each image bears out the answers to its own questions.

        states (N, 1 + P, width), questions (N, Q, width), answers (N, Q, C, width) -> scores (N, Q, C).
        """
        seen, _ = self.look(questions, states, states, need_weights=False)
        found = F.normalize(self.finding(torch.cat([seen, questions], dim=-1)).float(), dim=-1)
        claims = F.normalize(self.claim(answers).float(), dim=-1)
        return torch.einsum("nqd,nqcd->nqc", found, claims) * self.log_answer_scale.exp().clamp(max=100)


def question_of(record: Record) -> str:
    """The question without its options."""
    return record.instruction.split(" Options: ")[0]


class Rivals:
    """For every question, the answers it has in the data: what a wrong answer is drawn from."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        answers: dict[str, dict[str, None]] = {}
        for reading in readings:
            for record in reading.records:
                if record.kind != "report":
                    answers.setdefault(question_of(record).lower(), {})[record.response] = None
        self.answers = {question: list(seen) for question, seen in answers.items() if len(seen) > 1}

    def choices(self, reading: Reading, rng: np.random.Generator) -> list[tuple[str, list[str]]]:
        """Up to ``QUESTIONS`` questions, each with its right answer first and up to ``RIVALS`` wrong ones after it."""
        asked = [record for record in reading.records if question_of(record).lower() in self.answers]
        chosen = []
        for index in rng.permutation(len(asked))[:QUESTIONS]:
            record = asked[index]
            wrong = [answer for answer in self.answers[question_of(record).lower()] if answer != record.response]
            wrong = [wrong[i] for i in rng.permutation(len(wrong))[:RIVALS]]
            chosen.append((question_of(record), [record.response, *wrong]))
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


def new_pairing(workspace: Workspace) -> Pairing:
    """An untrained pair of image and text side."""
    variant = variant_named(workspace.recipe.variant)
    torch.manual_seed(workspace.recipe.seed)
    tower = new_tower(variant)
    initialise(tower)
    tower.clip.set_attn_implementation(attention_for(workspace.device))
    return Pairing(tower, variant.vision_width, variant.text_size)


def tower_state(workspace: Workspace) -> dict[str, torch.Tensor]:
    """The tower as far as it is trained; drawing may start before the deep phase ends, which it does not see."""
    trained = workspace.trained("tower-deep" if workspace.is_done("tower-deep") else "tower")
    return {name.removeprefix("tower."): t for name, t in trained.items() if name.startswith("tower.")}


def tower_part(workspace: Workspace) -> None:
    """The whole tower."""
    pairing = new_pairing(workspace)
    optimise_pairing(workspace, "tower", workspace.recipe.tower, pairing, dict(pairing.named_parameters()), seed=2)


def deep_part(workspace: Workspace) -> None:
    """All but what drawing sees through."""
    pairing = new_pairing(workspace)
    pairing.load_state_dict(workspace.trained("tower"))
    learned = {}
    for name, parameter in pairing.named_parameters():
        if name.startswith(SHALLOW):
            parameter.requires_grad_(False)
        else:
            learned[name] = parameter
    optimise_pairing(workspace, "tower-deep", workspace.recipe.tower_deep, pairing, learned, seed=5)


def optimise_pairing(
    workspace: Workspace, name: str, plan: TowerSteps, pairing: Pairing, learned: dict[str, nn.Parameter], *, seed: int
) -> None:
    """One phase of the contrastive training; both sides are kept for the next."""
    device = workspace.device
    preprocessing = preprocessing_of(variant_named(workspace.recipe.variant))
    tokenizer = tokenizer_of(workspace).backend_tokenizer
    examples = load_examples(workspace.data, "train", preprocessing)
    rivals = Rivals(examples.readings)
    by_task: dict[str, list[int]] = {}
    for index, reading in enumerate(examples.readings):
        by_task.setdefault(reading.task, []).append(index)
    model = pairing.to(device).train()
    patches = model.tower.patches

    def compute(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([workspace.recipe.seed, seed, step])
        readings = [examples.readings[i] for i in pick(examples, by_task, step, plan.batch, rng)]
        texts = [words_of(reading, rng) for reading in readings]
        asked = [rivals.choices(reading, rng) for reading in readings]
        spoken = list(dict.fromkeys(t for own in asked for question, choices in own for t in (question, *choices)))
        place = {text: number for number, text in enumerate(spoken)}
        questions = torch.zeros(len(readings), QUESTIONS, dtype=torch.long)
        answers = torch.full((len(readings), QUESTIONS, 1 + RIVALS), -1)
        for row, own in enumerate(asked):
            for number, (question, choices) in enumerate(own):
                questions[row, number] = place[question]
                answers[row, number, : len(choices)] = torch.tensor([place[text] for text in choices])
        kept = None
        if plan.seen < 1 and step < (1 - UNMASKED) * plan.steps:
            order = rng.random((len(readings), patches)).argsort(1)[:, : max(1, round(plan.seen * patches))]
            kept = torch.from_numpy(order).to(device)
        pixels = preprocessing.normalise(examples.squares([reading.image for reading in readings])).to(device)
        encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
        stated = tokenizer.encode_batch(spoken, add_special_tokens=False)
        with torch.autocast(device, torch.bfloat16):
            last, penultimate = model.see(pixels, kept)
            likeness = model.likeness(last, model.read(padded(encoded, device)))
            said = model.read(padded(stated, device))
            support = model.support(penultimate, said[questions.to(device)], said[answers.clamp_min(0).to(device)])
        held = (answers[..., 0] >= 0).to(device)
        scores = support.masked_fill((answers < 0).to(device), float("-inf"))[held]
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
        workspace.part(name), plan, [(learned, plan.learning_rate)], compute, seed=workspace.recipe.seed,
        checkpoint_seconds=workspace.recipe.checkpoint_seconds, device=device,
    )  # fmt: skip
    workspace.keep(name, model.state_dict())
    workspace.finish(name)

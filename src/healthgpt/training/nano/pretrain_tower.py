"""nano's vision tower before it is frozen, in two phases.

First the whole tower learns two contrasts together. Whole against whole (CLIP, Radford et al., 2021): an image and
its words, a report and two of its questions with their answers, must find each other in the batch. Answer against
rivals (``statements.py``): what a question finds in the image must be closer to its right answer than to answers
that are right for other images. Most steps look at a random part of each image's patches (FLIP, Li et al., CVPR
2023): more images in the same time.

Then the blocks between what drawing sees through and the penultimate state, the one reading uses, learn from the
teacher (``pretrain_teacher.py``): its feature of every patch, and its answers. The embedding and the first block
stay, so drawing can be trained at the same time.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from healthgpt.data.dataset import Examples, Reading, load_examples
from healthgpt.model.build import new_tower
from healthgpt.training.nano.loop import attention_for, run_steps
from healthgpt.training.nano.pretrain_language import tokenizer_of
from healthgpt.training.nano.pretrain_teacher import TEACHER_QUESTIONS, trained_teacher
from healthgpt.training.nano.recipe import TowerSteps
from healthgpt.training.nano.stage_data import preprocessing_of
from healthgpt.training.nano.statements import LONGEST_TEXT, QUESTIONS, Inquiry, Rivals, padded, told_loss
from healthgpt.training.nano.workspace import Workspace
from healthgpt.variants import variant_named
from healthgpt.vision.clip import VisionTower
from healthgpt.vision.initialise import initialise

TEXT_LAYERS = 2
UNMASKED = 0.2
"""Last share of a phase's steps, in which every patch is seen again."""
TOLD = 0.5
"""Weight of the answers beside the features in the second phase."""


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
        self.log_scale = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))
        self.inquiry = Inquiry(width)

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


class Pupil(nn.Module):
    """The tower with a projection of its penultimate state onto the teacher's features."""

    def __init__(self, tower: VisionTower, width: int) -> None:
        super().__init__()
        self.tower = tower
        self.norm = nn.LayerNorm(width)
        self.imitate = nn.Linear(width, width)

    def see(self, pixels: torch.Tensor) -> torch.Tensor:
        """Patches (N, P, width), with mean 0 and deviation 1 as the teacher's."""
        states = self.imitate(self.norm(self.tower(pixels, -2)))
        return F.layer_norm(states.float(), states.shape[-1:])

    def learned(self) -> dict[str, nn.Parameter]:
        """What the second phase trains: from the second block to the last but one, norm and projection."""
        last = self.tower.depth - 1
        blocks = tuple(f"tower.clip.encoder.layers.{index}." for index in range(1, last))
        return {name: p for name, p in self.named_parameters() if name.startswith((*blocks, "norm.", "imitate."))}


def start_tower(workspace: Workspace) -> VisionTower:
    """The run's tower before any training."""
    tower = new_tower(variant_named(workspace.recipe.variant))
    initialise(tower)
    tower.clip.set_attn_implementation(attention_for(workspace.device))
    return tower


def tower_state(workspace: Workspace) -> dict[str, torch.Tensor]:
    """The tower as far as it is trained; drawing may start before the deep phase ends, which it does not see."""
    trained = workspace.trained("tower-deep" if workspace.is_done("tower-deep") else "tower")
    return {name.removeprefix("tower."): t for name, t in trained.items() if name.startswith("tower.")}


def tower_part(workspace: Workspace) -> None:
    """The whole tower, by both contrasts."""
    plan, device, seed = workspace.recipe.tower, workspace.device, workspace.recipe.seed
    variant = variant_named(workspace.recipe.variant)
    preprocessing = preprocessing_of(variant)
    tokenizer = tokenizer_of(workspace).backend_tokenizer
    examples = load_examples(workspace.data, "train", preprocessing)
    rivals = Rivals(examples.readings)
    by_task: dict[str, list[int]] = {}
    for index, reading in enumerate(examples.readings):
        by_task.setdefault(reading.task, []).append(index)
    torch.manual_seed(seed)
    model = Pairing(start_tower(workspace), variant.vision_width, variant.text_size).to(device).train()
    patches = model.tower.patches

    def compute(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([seed, 2, step])
        readings = [examples.readings[i] for i in pick(examples, by_task, step, plan.batch, rng)]
        texts = [words_of(reading, rng) for reading in readings]
        quiz = rivals.quiz(readings, tokenizer, rng, device, QUESTIONS)
        kept = seen_patches(plan, step, patches, len(readings), rng)
        pixels = preprocessing.normalise(examples.squares([reading.image for reading in readings])).to(device)
        encoded = padded(tokenizer.encode_batch(texts, add_special_tokens=False), device)
        with torch.autocast(device, torch.bfloat16):
            last, penultimate = model.see(pixels, None if kept is None else kept.to(device))
            likeness = model.likeness(last, model.read(encoded))
            support = model.inquiry.support(penultimate, model.read(quiz.texts_TL), quiz)
        told, right = told_loss(support, quiz.answers_NQC)
        whole = contrast(likeness.float(), texts)
        figures = {"whole": float(whole.detach()), "told": float(told.detach()), "told_right": right}
        return told + 0.3 * whole, figures

    run_steps(
        workspace.part("tower"), plan, [(dict(model.named_parameters()), plan.learning_rate)], compute, seed=seed,
        checkpoint_seconds=workspace.recipe.checkpoint_seconds, device=device,
    )  # fmt: skip
    workspace.keep("tower", model.state_dict())
    workspace.finish("tower")


def seen_patches(
    plan: TowerSteps, step: int, patches: int, images: int, rng: np.random.Generator
) -> torch.Tensor | None:
    """Which patches of each image a step looks at, (images, K); None for all of them."""
    if plan.seen == 1 or step >= (1 - UNMASKED) * plan.steps:
        return None
    order = rng.random((images, patches)).argsort(1)[:, : max(1, round(plan.seen * patches))]
    return torch.from_numpy(order)


def deep_part(workspace: Workspace) -> None:
    """The blocks drawing does not see through learn the teacher's features and answers."""
    plan, device, seed = workspace.recipe.tower_deep, workspace.device, workspace.recipe.seed
    variant = variant_named(workspace.recipe.variant)
    preprocessing = preprocessing_of(variant)
    examples = load_examples(workspace.data, "train", preprocessing)
    rivals = Rivals(examples.readings)
    teacher = trained_teacher(workspace, len(rivals.statements))
    torch.manual_seed(seed)
    pupil = Pupil(start_tower(workspace), variant.vision_width)
    pupil.tower.load_state_dict(tower_state(workspace))
    pupil.to(device).train().requires_grad_(False)
    learned = pupil.learned()
    for parameter in learned.values():
        parameter.requires_grad_(True)

    def compute(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([seed, 5, step])
        readings = [examples.readings[i] for i in rng.integers(0, len(examples.readings), plan.batch)]
        claims = rivals.claims(readings, rng, device, TEACHER_QUESTIONS)
        pixels = preprocessing.normalise(examples.squares([reading.image for reading in readings])).to(device)
        with torch.autocast(device, torch.bfloat16):
            shown, seen = teacher.see(pixels), pupil.see(pixels)
            told, right = told_loss(teacher.support(seen, claims), claims)
        likeness = F.mse_loss(seen, shown)
        figures = {"unlike": float(likeness.detach()), "told": float(told.detach()), "told_right": right}
        return likeness + TOLD * told, figures

    run_steps(
        workspace.part("tower-deep"), plan, [(learned, plan.learning_rate)], compute, seed=seed,
        checkpoint_seconds=workspace.recipe.checkpoint_seconds, device=device,
    )  # fmt: skip
    workspace.keep("tower-deep", pupil.state_dict())
    workspace.finish("tower-deep")

"""The tower's teacher: a small convolutional network that learns the second contrast first.

From some ten thousand images a transformer learns what kind of image it sees and little else: after 30,000 of
them nano's tower still answered "is there an effusion?" by chance. Convolutions need far fewer, for neighbourhood
is built into them. So a convolutional network of the same output shape learns to answer, and the tower then
learns its feature of every patch (dense distillation, as transformers learn from convolutional teachers in
DeiT, Touvron et al., ICML 2021). The teacher is thrown away afterwards.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from healthgpt.data.dataset import load_examples
from healthgpt.training.loop import run_steps
from healthgpt.training.pretrain_language import tokenizer_of
from healthgpt.training.stage_data import preprocessing_of
from healthgpt.training.statements import Inquiry, Quiz, Rivals, told_loss
from healthgpt.training.workspace import Workspace
from healthgpt.variants import variant_named

FOLD = 4
WIDTHS = (48, 112, 192)
"""Channels at a quarter, an eighth and a sixteenth of the image's side."""
TEACHER_QUESTIONS = 10


class Block(nn.Module):
    """Two 3x3 convolutions with batch statistics around a skip: (N, width, h, w) -> the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.first_norm, self.second_norm = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(self.first_norm(self.first(features)))
        return F.relu(features + self.second_norm(self.second(hidden)))


class Teacher(nn.Module):
    """Convolutional eye, words as bags, and the head of the second contrast.

    ``grid``: patches per side of the tower it teaches.
    """

    def __init__(self, width: int, vocabulary: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        quarter, eighth, sixteenth = WIDTHS

        def narrowing(inner: int, outer: int, stride: int) -> nn.Sequential:
            convolution = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(outer), nn.ReLU())

        self.fine = nn.Sequential(
            nn.PixelUnshuffle(FOLD), narrowing(3 * FOLD**2, quarter, 1), Block(quarter), narrowing(quarter, eighth, 2),
            Block(eighth), Block(eighth),
        )  # fmt: skip
        self.coarse = nn.Sequential(narrowing(eighth, sixteenth, 2), Block(sixteenth), Block(sixteenth))
        self.from_fine, self.from_coarse = nn.Conv2d(eighth, width, 1), nn.Conv2d(sixteenth, width, 1)
        self.words = nn.Embedding(vocabulary, width, padding_idx=0)
        self.phrase = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.LayerNorm(width))
        self.inquiry = Inquiry(width)

    def see(self, pixels_N3SS: torch.Tensor) -> torch.Tensor:
        """Mean and patch features (N, 1 + P, width), each with mean 0 and deviation 1."""
        fine = self.fine(pixels_N3SS)
        coarse = F.interpolate(self.from_coarse(self.coarse(fine)), scale_factor=2.0)
        patches = F.adaptive_avg_pool2d(self.from_fine(fine) + coarse, self.grid).flatten(2).transpose(1, 2)
        states = torch.cat([patches.mean(1, keepdim=True), patches], dim=1)
        return F.layer_norm(states.float(), states.shape[-1:])

    def read(self, ids_TL: torch.Tensor) -> torch.Tensor:
        """Texts (T, width) as bags of words; ids padded with 0."""
        counts = (ids_TL != 0).sum(1, keepdim=True).clamp_min(1)
        bag: torch.Tensor = self.phrase(self.words(ids_TL).sum(1) / counts**0.5)
        return bag

    def support(self, states: torch.Tensor, quiz: Quiz) -> torch.Tensor:
        """Scores (N, Q, C) of the quiz's answers, given (N, 1 + P, width) features."""
        return self.inquiry.support(states, self.read(quiz.texts_TL), quiz)


def new_teacher(workspace: Workspace) -> Teacher:
    """An untrained teacher for the run's tower."""
    variant = variant_named(workspace.recipe.variant)
    torch.manual_seed(workspace.recipe.seed)
    return Teacher(variant.vision_width, variant.text_size, variant.image_size // variant.patch_size)


def trained_teacher(workspace: Workspace) -> Teacher:
    """The finished teacher, frozen, answering by its running statistics."""
    teacher = new_teacher(workspace)
    teacher.load_state_dict(workspace.trained("teacher"))
    return teacher.requires_grad_(False).eval().to(workspace.device)


def teacher_part(workspace: Workspace) -> None:
    """The second contrast alone, on whole images."""
    plan, device = workspace.recipe.teacher, workspace.device
    preprocessing = preprocessing_of(variant_named(workspace.recipe.variant))
    examples = load_examples(workspace.data, "train", preprocessing)
    rivals, tokenizer = Rivals(examples.readings), tokenizer_of(workspace).backend_tokenizer
    teacher = new_teacher(workspace).to(device).train()

    def compute(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([workspace.recipe.seed, 6, step])
        readings = [examples.readings[i] for i in rng.integers(0, len(examples.readings), plan.batch)]
        quiz = rivals.quiz(readings, tokenizer, rng, device, TEACHER_QUESTIONS)
        pixels = preprocessing.normalise(examples.squares([reading.image for reading in readings])).to(device)
        with torch.autocast(device, torch.bfloat16):
            support = teacher.support(teacher.see(pixels), quiz)
        loss, right = told_loss(support, quiz)
        return loss, {"told_right": right}

    run_steps(
        workspace.part("teacher"), plan, [(dict(teacher.named_parameters()), plan.learning_rate)], compute,
        seed=workspace.recipe.seed, buffers=dict(teacher.named_buffers()),
        checkpoint_seconds=workspace.recipe.checkpoint_seconds, device=device,
    )  # fmt: skip
    workspace.keep("teacher", teacher.state_dict())
    workspace.finish("teacher")

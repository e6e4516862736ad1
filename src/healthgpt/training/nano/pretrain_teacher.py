"""The tower's teacher: a small convolutional network that learns the second contrast first.

From some ten thousand images a transformer learns what kind of image it sees and little else: after 30,000 of
them nano's tower still answered "is there an effusion?" by chance. Two things make it hard. Convolutions know
neighbourhood from the start, a transformer does not. And where question and image meet in one small network,
nothing is learned of the image before the question is understood. So the teacher is convolutional, and has for every
question with every answer, a *statement*, a vector of its own that weighs what is seen. The tower then learns the
teacher's feature of every patch (dense distillation, as transformers learn from convolutional teachers in DeiT,
Touvron et al., ICML 2021). The teacher is thrown away afterwards.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from healthgpt.data.dataset import load_examples
from healthgpt.training.nano.loop import run_steps
from healthgpt.training.nano.stage_data import preprocessing_of
from healthgpt.training.nano.statements import Rivals, told_loss
from healthgpt.training.nano.workspace import Workspace
from healthgpt.variants import variant_named

FOLD = 4
WIDTHS = (48, 112, 192)
"""Channels at a quarter, an eighth and a sixteenth of the image's side."""
TEACHER_QUESTIONS = 10
QUARTERS = 2
"""Parts per side within which features are gathered: sides and zones are told apart."""
GATHERED = 512


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
    """A convolutional eye and one vector for each statement.

    ``grid``: patches per side of the tower it teaches; ``statements``: how many there are.
    """

    def __init__(self, width: int, grid: int, statements: int) -> None:
        super().__init__()
        self.grid = grid
        quarter, eighth, sixteenth = WIDTHS

        def narrowing(inner: int, outer: int, stride: int) -> nn.Sequential:
            convolution = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(outer), nn.ReLU())

        self.fine = nn.Sequential(
            narrowing(3 * FOLD**2 + 2, quarter, 1), Block(quarter), narrowing(quarter, eighth, 2),
            Block(eighth), Block(eighth),
        )  # fmt: skip
        self.coarse = nn.Sequential(narrowing(eighth, sixteenth, 2), Block(sixteenth), Block(sixteenth))
        self.from_fine, self.from_coarse = nn.Conv2d(eighth, width, 1), nn.Conv2d(sixteenth, width, 1)
        self.gathered = nn.Sequential(nn.Linear(2 * QUARTERS**2 * width, GATHERED), nn.GELU())
        self.statements = nn.Embedding(statements, GATHERED)
        nn.init.normal_(self.statements.weight, std=GATHERED**-0.5)

    def see(self, pixels_N3SS: torch.Tensor) -> torch.Tensor:
        """Patch features (N, P, width), each with mean 0 and deviation 1."""
        folded = F.pixel_unshuffle(pixels_N3SS, FOLD)
        line = torch.linspace(-1, 1, folded.shape[-1], device=folded.device)
        places = torch.stack(torch.meshgrid(line, line, indexing="ij")).expand(len(folded), -1, -1, -1)
        fine = self.fine(torch.cat([folded, places], dim=1))
        coarse = F.interpolate(self.from_coarse(self.coarse(fine)), scale_factor=2.0)
        patches = F.adaptive_avg_pool2d(self.from_fine(fine) + coarse, self.grid).flatten(2).transpose(1, 2)
        return F.layer_norm(patches.float(), patches.shape[-1:])

    def support(self, patches_NPW: torch.Tensor, claims_NQC: torch.Tensor) -> torch.Tensor:
        """Scores (N, Q, C) of statements, from mean and maximum of the features in each quarter of the image.

        ``claims_NQC``: numbers of statements, -1 for none (its score means nothing).
        """
        map_NWGG = patches_NPW.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        pooled = (F.adaptive_avg_pool2d(map_NWGG, QUARTERS), F.adaptive_max_pool2d(map_NWGG, QUARTERS))
        seen = self.gathered(torch.cat(pooled, dim=1).flatten(1))
        return torch.einsum("nd,nqcd->nqc", seen, self.statements(claims_NQC.clamp_min(0))).float()


def new_teacher(workspace: Workspace, statements: int) -> Teacher:
    """An untrained teacher for the run's tower."""
    variant = variant_named(workspace.recipe.variant)
    torch.manual_seed(workspace.recipe.seed)
    return Teacher(variant.vision_width, variant.image_size // variant.patch_size, statements)


def trained_teacher(workspace: Workspace, statements: int) -> Teacher:
    """The finished teacher, frozen, answering by its running statistics."""
    teacher = new_teacher(workspace, statements)
    teacher.load_state_dict(workspace.trained("teacher"))
    return teacher.requires_grad_(False).eval().to(workspace.device)


def teacher_part(workspace: Workspace) -> None:
    """The second contrast alone, on whole images."""
    plan, device = workspace.recipe.teacher, workspace.device
    preprocessing = preprocessing_of(variant_named(workspace.recipe.variant))
    examples = load_examples(workspace.data, "train", preprocessing)
    rivals = Rivals(examples.readings)
    teacher = new_teacher(workspace, len(rivals.statements)).to(device).train()

    def compute(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([workspace.recipe.seed, 6, step])
        readings = [examples.readings[i] for i in rng.integers(0, len(examples.readings), plan.batch)]
        claims = rivals.claims(readings, rng, device, TEACHER_QUESTIONS)
        pixels = preprocessing.normalise(examples.squares([reading.image for reading in readings])).to(device)
        with torch.autocast(device, torch.bfloat16):
            support = teacher.support(teacher.see(pixels), claims)
        loss, right = told_loss(support, claims)
        return loss, {"told_right": right}

    run_steps(
        workspace.part("teacher"), plan, [(dict(teacher.named_parameters()), plan.learning_rate)], compute,
        seed=workspace.recipe.seed, buffers=dict(teacher.named_buffers()),
        checkpoint_seconds=workspace.recipe.checkpoint_seconds, device=device,
    )  # fmt: skip
    workspace.keep("teacher", teacher.state_dict())
    workspace.finish("teacher")

"""nano's vision tower before it is frozen: contrastive pre-training on images and their words (CLIP, 2021).

The words of an image are its report and two of its questions with their answers. Half of the batches
hold one modality only, so that findings and not the modality must tell the images apart; pairs with
equal words count as matches.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from healthgpt.data.dataset import Examples, Reading, load_examples
from healthgpt.model.build import new_tower
from healthgpt.training.loop import run_steps
from healthgpt.training.pretrain_language import tokenizer_of
from healthgpt.training.stage_data import preprocessing_of
from healthgpt.training.workspace import Workspace
from healthgpt.variants import variant_named
from healthgpt.vision.clip import VisionTower

LONGEST_TEXT = 96
TEXT_LAYERS = 2


class Pairing(nn.Module):
    """Both sides of the contrast: image by its class token, words by their mean; one learned temperature."""

    def __init__(self, tower: VisionTower, width: int, vocabulary: int, space: int = 128) -> None:
        super().__init__()
        self.tower = tower
        self.image_norm = nn.LayerNorm(width)
        self.image_projection = nn.Linear(2 * width, space, bias=False)
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.randn(LONGEST_TEXT, width) * 0.02)
        block = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, F.gelu, batch_first=True, norm_first=True)
        self.text_blocks = nn.TransformerEncoder(block, TEXT_LAYERS, enable_nested_tensor=False)
        self.text_projection = nn.Linear(width, space, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))

    def forward(self, pixels: torch.Tensor, ids_BT: torch.Tensor) -> torch.Tensor:
        """Similarities (images, texts); ``ids_BT`` padded with 0."""
        states = self.image_norm(self.tower.states(pixels, -1))
        seen = torch.cat([states[:, 0], states[:, 1:].mean(1)], dim=-1)
        padding = ids_BT == 0
        words = self.text_blocks(self.words(ids_BT) + self.positions[: ids_BT.shape[1]], src_key_padding_mask=padding)
        kept = (~padding).unsqueeze(-1)
        said = (words * kept).sum(1) / kept.sum(1).clamp_min(1)
        images = F.normalize(self.image_projection(seen).float(), dim=-1)
        texts = F.normalize(self.text_projection(said).float(), dim=-1)
        return images @ texts.T * self.log_scale.exp().clamp(max=100)


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


def tower_part(workspace: Workspace) -> None:
    """Train the tower; only it is kept."""
    plan, seed = workspace.recipe.tower, workspace.recipe.seed
    variant = variant_named(workspace.recipe.variant)
    preprocessing = preprocessing_of(variant)
    tokenizer = tokenizer_of(workspace)
    examples = load_examples(workspace.data, "train", preprocessing)
    by_task: dict[str, list[int]] = {}
    for index, reading in enumerate(examples.readings):
        by_task.setdefault(reading.task, []).append(index)
    torch.manual_seed(seed)
    model = Pairing(new_tower(variant), variant.vision_width, variant.text_size).to(workspace.device).train()
    parameters = dict(model.named_parameters())

    def compute(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng([seed, 2, step])
        readings = [examples.readings[i] for i in pick(examples, by_task, step, plan.batch, rng)]
        texts = [words_of(reading, rng) for reading in readings]
        ids = [tokenizer.encode(text, add_special_tokens=False)[:LONGEST_TEXT] for text in texts]
        padded = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.long)
        for row, row_ids in enumerate(ids):
            padded[row, : len(row_ids)] = torch.tensor(row_ids)
        pixels = preprocessing.normalise(examples.squares([reading.image for reading in readings]))
        with torch.autocast(workspace.device, torch.bfloat16):
            similarities = model(pixels.to(workspace.device), padded.to(workspace.device))
        hits = (similarities.argmax(1).cpu() == torch.arange(len(ids))).float().mean()
        return contrast(similarities.float(), texts), {"hits": float(hits)}

    run_steps(
        workspace.part("tower"), plan, [(parameters, plan.learning_rate)], compute, seed=seed,
        checkpoint_seconds=workspace.recipe.checkpoint_seconds, device=workspace.device,
    )  # fmt: skip
    workspace.keep("tower", {name: tensor for name, tensor in model.tower.state_dict().items()})
    workspace.finish("tower")

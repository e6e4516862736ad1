"""The fusion embedding layer: one embedding table and one output head for words and pictures.

Both are kept as two blocks of rows, text and image vocabulary, so that a stage can train the new rows
alone, and so that decoding computes only the rows that are legal: words when answering, codes when
drawing. Task and instruction embeddings (framework figure of the paper) start at zero: a model without
them and a model that has not trained them are the same.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from healthgpt.tasks import GENERATION_TASKS, MODALITIES
from healthgpt.tokens import IMAGE_SLOT, TokenLayout

TASK_ROWS: dict[str, int] = dict.fromkeys(MODALITIES, 0) | {
    name: row for row, name in enumerate(GENERATION_TASKS, start=1)
}
"""Row of each task in the task embedding. All reading tasks share one: the modality is for the model to see."""


class Fusion(nn.Module):
    """Embedding table and head over ``layout.total`` ids, width ``hidden_size``."""

    def __init__(self, layout: TokenLayout, hidden_size: int) -> None:
        super().__init__()
        self.layout = layout
        self.text_embedding = nn.Parameter(torch.empty(layout.text_size, hidden_size))
        self.image_embedding = nn.Parameter(torch.empty(layout.image_size, hidden_size))
        self.text_head = nn.Parameter(torch.empty(layout.text_size, hidden_size))
        self.image_head = nn.Parameter(torch.empty(layout.image_size, hidden_size))
        self.task_embedding = nn.Parameter(torch.zeros(1 + len(GENERATION_TASKS), hidden_size))
        self.instruction_embedding = nn.Parameter(torch.zeros(hidden_size))
        for rows in (self.text_embedding, self.image_embedding, self.text_head, self.image_head):
            nn.init.normal_(rows, std=0.02)

    @torch.no_grad()
    def take_text_rows(self, embedding: torch.Tensor, head: torch.Tensor) -> None:
        """Start from a backbone's own tables; new rows become their mean, as in the released code.

        embedding, head: (rows >= text_size, hidden_size); rows past the text vocabulary are padding.
        A little noise on the new rows tells the codes apart.
        """
        text = self.layout.text_size
        for ours, image, theirs in (
            (self.text_embedding, self.image_embedding, embedding),
            (self.text_head, self.image_head, head),
        ):
            ours.copy_(theirs[:text])
            spread = theirs[:text].std()
            image.copy_(theirs[:text].mean(dim=0, keepdim=True) + torch.randn_like(image) * spread * 0.5)

    def embed(self, ids_BT: torch.Tensor, tasks: Sequence[str], instruction_BT: torch.Tensor | None) -> torch.Tensor:
        """(B, T) ids -> (B, T, hidden). ``IMAGE_SLOT`` positions hold only the task's vector, to be added to."""
        text = self.layout.text_size
        is_image = ids_BT >= text
        words = F.embedding(ids_BT.clamp(0, text - 1), self.text_embedding)
        pictures = F.embedding((ids_BT - text).clamp_min(0), self.image_embedding)
        embedded = torch.where(is_image.unsqueeze(-1), pictures, words)
        embedded = embedded.masked_fill((ids_BT == IMAGE_SLOT).unsqueeze(-1), 0.0)
        rows = torch.tensor([TASK_ROWS[task] for task in tasks], device=ids_BT.device)
        embedded = embedded + self.task_embedding[rows].unsqueeze(1)
        if instruction_BT is not None:
            embedded = embedded + instruction_BT.unsqueeze(-1) * self.instruction_embedding
        return embedded

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Over the whole joint vocabulary: (..., hidden) -> (..., layout.total)."""
        return torch.cat([self.text_logits(hidden), F.linear(hidden, self.image_head)], dim=-1)

    def text_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Over words alone: (..., hidden) -> (..., text_size)."""
        return F.linear(hidden, self.text_head)

    def code_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Over VQ codes alone: (..., hidden) -> (..., code_count)."""
        return F.linear(hidden, self.image_head[1 : 1 + self.layout.code_count])

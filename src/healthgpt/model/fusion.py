"""The fusion embedding layer: one embedding table and one output head for words and pictures.

Both are kept as two blocks of rows, text and image vocabulary, so that a stage can train the new rows
alone, and so that decoding computes only the rows that are legal: words when answering, codes when
drawing. One family may keep tables of its own (the published weights read with the base model's and draw with the
fusion file's). Task and instruction embeddings (framework figure of the paper) start at zero: a model without
them and a model that has not trained them are the same. Grid embeddings (row plus column) tell a drawing row
which cell a visual token lies over and which cell comes next; at zero they too are as if absent.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from healthgpt.tasks import GENERATION_TASKS, READING_TASKS, TASKS, Family
from healthgpt.tokens import IMAGE_SLOT, TokenLayout

TASK_ROWS: dict[str, int] = dict.fromkeys(READING_TASKS, 0) | {
    name: row for row, name in enumerate(GENERATION_TASKS, start=1)
}
"""Row of each task in the task embedding. All reading tasks share one: the modality is for the model to see."""


class Tables(nn.Module):
    """Rows of the embedding table and the head, text and image vocabulary apart: (ids, hidden_size) each."""

    def __init__(self, layout: TokenLayout, hidden_size: int) -> None:
        super().__init__()
        self.text_embedding = nn.Parameter(torch.empty(layout.text_size, hidden_size))
        self.image_embedding = nn.Parameter(torch.empty(layout.image_size, hidden_size))
        self.text_head = nn.Parameter(torch.empty(layout.text_size, hidden_size))
        self.image_head = nn.Parameter(torch.empty(layout.image_size, hidden_size))
        for rows in self.parameters():
            nn.init.normal_(rows, std=0.02)

    def look_up(self, ids_BT: torch.Tensor) -> torch.Tensor:
        """(B, T) ids -> (B, T, hidden); zeros where an ``IMAGE_SLOT`` stands."""
        text = self.text_embedding.shape[0]
        embedded = F.embedding(ids_BT.clamp(0, text - 1), self.text_embedding)
        if self.image_embedding.shape[0]:
            pictures = F.embedding((ids_BT - text).clamp_min(0), self.image_embedding)
            embedded = torch.where((ids_BT >= text).unsqueeze(-1), pictures, embedded)
        return embedded.masked_fill((ids_BT == IMAGE_SLOT).unsqueeze(-1), 0.0)

    def score(self, hidden: torch.Tensor) -> torch.Tensor:
        """Over the whole joint vocabulary: (..., hidden) -> (..., total)."""
        return torch.cat([F.linear(hidden, self.text_head), F.linear(hidden, self.image_head)], dim=-1)


class Fusion(Tables):
    """Embedding table and head over ``layout.total`` ids, width ``hidden_size``.

    Its own rows serve every family but those in ``apart``, which have tables of their own.
    """

    def __init__(self, layout: TokenLayout, hidden_size: int, grid: int, apart: Sequence[Family] = ()) -> None:
        super().__init__(layout, hidden_size)
        self.layout = layout
        self.apart = nn.ModuleDict({family: Tables(layout, hidden_size) for family in apart})
        self.task_embedding = nn.Parameter(torch.zeros(1 + len(GENERATION_TASKS), hidden_size))
        self.instruction_embedding = nn.Parameter(torch.zeros(hidden_size))
        self.grid_rows = nn.Parameter(torch.empty(grid, hidden_size))
        self.grid_columns = nn.Parameter(torch.empty(grid, hidden_size))
        for rows in (self.grid_rows, self.grid_columns):
            nn.init.normal_(rows, std=0.02)

    def tables(self, family: Family) -> Tables:
        """The tables that serve a family."""
        if family not in self.apart:
            return self
        own = self.apart[family]
        assert isinstance(own, Tables)
        return own

    @torch.no_grad()
    def take_text_rows(self, embedding: torch.Tensor, head: torch.Tensor) -> None:
        """Start from a backbone's own tables; new rows become their mean, as in the released code.

        embedding, head: (rows >= text_size, hidden_size); rows past the text vocabulary are padding.
        Noise of the tables' own spread on the new rows tells the codes apart.
        """
        text = self.layout.text_size
        for ours, image, theirs in (
            (self.text_embedding, self.image_embedding, embedding),
            (self.text_head, self.image_head, head),
        ):
            ours.copy_(theirs[:text])
            spread = theirs[:text].std()
            image.copy_(theirs[:text].mean(dim=0, keepdim=True) + torch.randn_like(image) * spread)

    @torch.no_grad()
    def place_codes(self, vectors: torch.Tensor) -> None:
        """Start the code rows from the codec's codebook (code_count, D): codes that look alike begin alike.

        The rows keep their mean and spread; half of their variance becomes a random projection of the
        standardised codebook, the same for table and head, and the other half stays what tells near twins apart.
        """
        standard = (vectors - vectors.mean(0)) / vectors.std(0).clamp_min(1e-6)
        projection = torch.randn(vectors.shape[1], self.image_embedding.shape[1], device=vectors.device)
        likeness = F.normalize(standard @ projection, dim=1) * projection.shape[1] ** 0.5
        for rows in (self.image_embedding, self.image_head):
            codes = rows[1 : 1 + self.layout.code_count]
            mean = codes.mean(dim=0, keepdim=True)
            codes.copy_(mean + (codes - mean + likeness * (codes - mean).std()) / 2**0.5)

    def embed(
        self,
        ids_BT: torch.Tensor,
        tasks: Sequence[str],
        instruction_BT: torch.Tensor | None,
        cells_BT: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, T) ids -> (B, T, hidden). ``IMAGE_SLOT`` positions get their visual token added later.

        ``cells_BT``: grid cell each position is about (``cells_of``), -1 for none; worked out from whole
        rows when not given.
        """
        embedded = self._by_family(tasks, ids_BT, Tables.look_up)
        rows = torch.tensor([TASK_ROWS[task] for task in tasks], device=ids_BT.device)
        embedded = embedded + self.task_embedding[rows].unsqueeze(1)
        if instruction_BT is not None:
            embedded = embedded + instruction_BT.unsqueeze(-1) * self.instruction_embedding
        cells = self.cells_of(ids_BT, tasks) if cells_BT is None else cells_BT
        return embedded + self._of_cells(cells)

    def _of_cells(self, cells_BT: torch.Tensor) -> torch.Tensor:
        """Row plus column embedding of each cell (B, T, hidden), zeros outside the grid.

        Both are looked up by themselves: adding up the whole grid first costs more than a decoder block a step.
        """
        grid = self.grid_rows.shape[0]
        inside = (cells_BT >= 0) & (cells_BT < grid**2)
        nowhere = self.grid_rows.new_zeros(1, self.grid_rows.shape[1])
        rows = torch.where(inside, cells_BT // max(grid, 1), grid)
        columns = torch.where(inside, cells_BT % max(grid, 1), grid)
        return F.embedding(rows, torch.cat([self.grid_rows, nowhere])) + F.embedding(
            columns, torch.cat([self.grid_columns, nowhere])
        )

    def cells_of(self, ids_BT: torch.Tensor, tasks: Sequence[str]) -> torch.Tensor:
        """The grid cell each position of a drawing row is about, raster order; -1 elsewhere.

        A visual token lies over a cell (only where there are as many as codes); the start marker and each
        code speak of the cell to be drawn next.
        """
        cells_per_image = self.grid_rows.shape[0] ** 2
        drawn = ids_BT >= self.layout.text_size
        seen = ids_BT == IMAGE_SLOT
        cells = torch.where(drawn, drawn.long().cumsum(1) - 1, -1)
        counts = seen.long().sum(1, keepdim=True)
        over = torch.where(counts == cells_per_image, seen.long().cumsum(1) - 1, -1)
        cells = torch.where(seen, over, cells)
        drawing = torch.tensor([TASKS[task].family == "generation" for task in tasks], device=ids_BT.device)
        return torch.where(drawing.unsqueeze(1), cells, -1)

    def _by_family(
        self, tasks: Sequence[str], rows: torch.Tensor, work: Callable[[Tables, torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """``work`` of each row's own tables on its row; ``tasks`` name the rows."""
        families = [TASKS[task].family for task in tasks]
        if len({id(self.tables(family)) for family in families}) == 1:
            return work(self.tables(families[0]), rows)
        parts: list[torch.Tensor | None] = [None] * len(families)
        for family in dict.fromkeys(families):
            own = [row for row, name in enumerate(families) if name == family]
            for row, part in zip(own, work(self.tables(family), rows[own]), strict=True):
                parts[row] = part
        return torch.stack([part for part in parts if part is not None])

    def logits(self, hidden: torch.Tensor, tasks: Sequence[str]) -> torch.Tensor:
        """Over the whole joint vocabulary: (B, ..., hidden) -> (B, ..., layout.total); ``tasks`` of the B rows."""
        return self._by_family(tasks, hidden, Tables.score)

    def text_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Over words alone, for reading: (..., hidden) -> (..., text_size)."""
        return F.linear(hidden, self.tables("comprehension").text_head)

    def code_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Over VQ codes alone, for drawing: (..., hidden) -> (..., code_count)."""
        return F.linear(hidden, self.tables("generation").image_head[1 : 1 + self.layout.code_count])

"""Rows end to end in few sequences: padding is not computed, and what a row's states are does not change.

Shape letters: B rows, T positions of the padded rows, P packed sequences, L positions of each, N positions that hold
something.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from healthgpt.tasks import Family

TRIED = 32
"""Lengths of sequences among which that with the fewest positions in all is chosen."""


@dataclass(frozen=True)
class Packing:
    """Which rows stand in which packed sequence.

    ``row_lengths``: positions of each of the B rows. ``sequences``: of each of the P packed sequences its rows, in the
    order they stand.
    """

    row_lengths: tuple[int, ...]
    sequences: tuple[tuple[int, ...], ...]

    @property
    def segment_lengths(self) -> tuple[tuple[int, ...], ...]:
        """The lengths of the rows in each packed sequence, from its start."""
        return tuple(tuple(self.row_lengths[row] for row in rows) for rows in self.sequences)

    @property
    def fullest(self) -> int:
        """L: positions of the fullest packed sequence."""
        return max(sum(lengths) for lengths in self.segment_lengths)

    def pack(self, rows_BTD: torch.Tensor) -> torch.Tensor:
        """(P, L, D) from right-padded rows; zeros past the last row of a sequence."""
        return self._moved(rows_BTD, self._places(rows_BTD.shape[1]), (len(self.sequences), self.fullest))

    def unpack(self, packed_PLD: torch.Tensor, positions: int) -> torch.Tensor:
        """(B, T, D) right-padded rows of T = ``positions`` from packed sequences; zeros on the padding."""
        in_rows_N, in_packed_N = self._places(positions)
        return self._moved(packed_PLD, (in_packed_N, in_rows_N), (len(self.row_lengths), positions))

    def positions(self, device: torch.device) -> torch.Tensor:
        """(P, L) int64: how far each position is from the start of its row; zeros past the last row."""
        counted_BT = torch.arange(max(self.row_lengths)).expand(len(self.row_lengths), -1)
        return self.pack(counted_BT.unsqueeze(-1)).squeeze(-1).to(device)

    def _places(self, positions: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(N,) each: where what is in the rows lies in (B, T) and in (P, L), flattened, T = ``positions``."""
        in_rows, in_packed = [], []
        for sequence, rows in enumerate(self.sequences):
            start = sequence * self.fullest
            for row in rows:
                length = self.row_lengths[row]
                in_rows.append(torch.arange(row * positions, row * positions + length))
                in_packed.append(torch.arange(start, start + length))
                start += length
        return torch.cat(in_rows), torch.cat(in_packed)

    @staticmethod
    def _moved(states: torch.Tensor, places: tuple[torch.Tensor, torch.Tensor], shape: tuple[int, int]) -> torch.Tensor:
        """States (·, ·, D) at the first places, set at the second places of zeros (*shape, D)."""
        origin_N, target_N = (place.to(states.device) for place in places)
        flat = states.new_zeros(shape[0] * shape[1], states.shape[2])
        held = states.flatten(0, 1).index_select(0, origin_N)
        return flat.index_copy(0, target_N, held).view(*shape, -1)


def pack_rows(row_lengths: Sequence[int], families: Sequence[Family], longest: int) -> Packing:
    """Rows end to end in sequences of at most ``longest`` positions: first fit, longest row first.

    The rows of one sequence are of one family, as a plugin serves whole sequences. Where shorter sequences leave less
    empty at their ends they are shorter, so there are never more positions than in padded rows. The same lengths and
    families always give the same packing. ValueError for a row that is empty or longer than ``longest``.
    """
    for row, length in enumerate(row_lengths):
        if not 1 <= length <= longest:
            raise ValueError(f"row {row} has {length} positions; a packed sequence holds 1 to {longest}")
    shortest = max(row_lengths)
    step = max(1, (longest - shortest) // TRIED)
    tried = [_first_fit(row_lengths, families, most) for most in range(shortest, longest + 1, step)]
    return min(tried, key=lambda packing: len(packing.sequences) * packing.fullest)


def _first_fit(row_lengths: Sequence[int], families: Sequence[Family], most: int) -> Packing:
    """Each row, the longest first, in the first sequence of its family that stays within ``most`` positions."""
    sequences: list[list[int]] = []
    held: list[int] = []
    for row in sorted(range(len(row_lengths)), key=lambda row: -row_lengths[row]):
        length, family = row_lengths[row], families[row]
        for sequence, rows in enumerate(sequences):
            if held[sequence] + length <= most and families[rows[0]] == family:
                rows.append(row)
                held[sequence] += length
                break
        else:
            sequences.append([row])
            held.append(length)
    return Packing(tuple(row_lengths), tuple(tuple(rows) for rows in sequences))


def lengths_of(mask_BT: torch.Tensor) -> list[int]:
    """Positions of each right-padded row; ValueError when a position that holds something follows padding."""
    if (mask_BT[:, 1:] & ~mask_BT[:, :-1]).any():
        raise ValueError("only rows padded on the right can be packed")
    return [int(length) for length in mask_BT.sum(dim=1).tolist()]

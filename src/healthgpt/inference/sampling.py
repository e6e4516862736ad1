"""One next id from one row of logits: greedy, or temperature, top-k and top-p with the row's own generator."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from healthgpt.errors import InputError


@dataclass(frozen=True)
class Sampling:
    """How to choose. ``temperature`` 0 is greedy; ``top_k`` 0 and ``top_p`` 1 cut nothing.

    ``repetition_penalty`` makes what was already said less likely (Keskar et al., 2019, section 4.1): its
    score is divided by it where positive, else multiplied; 1 changes nothing. A model's own setting, as its
    generation config has it; it acts on greedy choices too.

    ``guidance``: how many times what a picture's words change is counted (classifier-free guidance, Ho and
    Salimans, 2022, eq. 6, whose w is ``guidance`` - 1): 1 is the model as it is, 0 would not read the words. It
    acts where a task draws from words, and costs a second row.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    repetition_penalty: float = 1.0
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 10.0:
            raise InputError("--temperature is out of range", found=str(self.temperature), allowed="0 (greedy) to 10")
        if self.top_k < 0:
            raise InputError("--top-k is out of range", found=str(self.top_k), allowed="0 (off) or more")
        if not 0.0 < self.top_p <= 1.0:
            raise InputError("--top-p is out of range", found=str(self.top_p), allowed="above 0, up to 1 (off)")
        if not 0.0 <= self.guidance <= 20.0:
            raise InputError(
                "--guidance is out of range", found=str(self.guidance), allowed="0 to 20; 1 is the model as it is"
            )

    def generator(self) -> torch.Generator:
        """A fresh generator: a row draws the same numbers whatever else is in its batch."""
        return torch.Generator().manual_seed(self.seed)


def choose(logits_V: torch.Tensor, sampling: Sampling, generator: torch.Generator, said: Sequence[int] = ()) -> int:
    """Index of the chosen entry of one row of logits (V); ``said``: the entries chosen before, which are penalised."""
    if said and sampling.repetition_penalty != 1.0:
        places = torch.tensor(sorted(set(said)), device=logits_V.device)
        scores, penalty = logits_V[places], sampling.repetition_penalty
        logits_V = logits_V.index_copy(0, places, torch.where(scores < 0, scores * penalty, scores / penalty))
    if sampling.temperature == 0.0:
        return int(logits_V.argmax())
    scores = logits_V.float().cpu() / sampling.temperature
    if 0 < sampling.top_k < scores.numel():
        kept = scores.topk(sampling.top_k).values[-1]
        scores = scores.masked_fill(scores < kept, float("-inf"))
    if sampling.top_p < 1.0:
        ordered, order = scores.sort(descending=True)
        probabilities = ordered.softmax(0)
        outside = probabilities.cumsum(0) - probabilities >= sampling.top_p  # the first one always stays
        scores[order[outside]] = float("-inf")
    return int(torch.multinomial(scores.softmax(0), 1, generator=generator))

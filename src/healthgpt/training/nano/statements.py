"""What pre-training asks of an image: questions, each with its right answer and answers that are right elsewhere.

The second contrast of the tower (and the only one of its teacher): what a question finds in an image must be
closer to its right answer than to its rivals. A question looks at the patches it needs (words attend to image
regions, as in GLoRIA, Huang et al., ICCV 2021), so small findings count as much as the modality.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Encoding, Tokenizer
from torch import nn

from healthgpt.data.dataset import Reading
from healthgpt.record import Record

LONGEST_TEXT = 96
QUESTIONS = 6
"""Questions about one image in one step."""
RIVALS = 3
"""At most so many wrong answers beside the right one."""
HEADS = 4
"""Places a question may look at in one go."""


class Quiz(NamedTuple):
    """The questions of one batch. ``texts_TL``: token ids of every text in it, padded with 0.

    ``questions_NQ``: for each image its questions, as rows of ``texts_TL``. ``answers_NQC``: likewise the
    answers, the right one first, -1 where there is none.
    """

    texts_TL: torch.Tensor
    questions_NQ: torch.Tensor
    answers_NQC: torch.Tensor


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
        pairs = ((question, answer) for question, seen in self.answers.items() for answer in seen)
        self.statements = {pair: number for number, pair in enumerate(pairs)}
        """Every question with every answer it has: the number of the statement they make together."""

    def choices(self, reading: Reading, rng: np.random.Generator, most: int) -> list[tuple[str, list[str]]]:
        """Up to ``most`` questions, each with its right answer first and up to ``RIVALS`` wrong ones after it."""
        asked = [record for record in reading.records if question_of(record).lower() in self.answers]
        chosen = []
        for index in rng.permutation(len(asked))[:most]:
            record = asked[index]
            wrong = [answer for answer in self.answers[question_of(record).lower()] if answer != record.response]
            wrong = [wrong[i] for i in rng.permutation(len(wrong))[:RIVALS]]
            chosen.append((question_of(record), [record.response, *wrong]))
        return chosen

    def quiz(
        self, readings: Sequence[Reading], tokenizer: Tokenizer, rng: np.random.Generator, device: str, most: int
    ) -> Quiz:
        """Up to ``most`` questions about each image."""
        asked = [self.choices(reading, rng, most) for reading in readings]
        texts = list(dict.fromkeys(t for own in asked for question, choices in own for t in (question, *choices)))
        place = {text: number for number, text in enumerate(texts)}
        questions = torch.zeros(len(readings), most, dtype=torch.long)
        answers = torch.full((len(readings), most, 1 + RIVALS), -1)
        for row, own in enumerate(asked):
            for number, (question, choices) in enumerate(own):
                questions[row, number] = place[question]
                answers[row, number, : len(choices)] = torch.tensor([place[text] for text in choices])
        ids = padded(tokenizer.encode_batch(texts, add_special_tokens=False), device)
        return Quiz(ids, questions.to(device), answers.to(device))

    def claims(self, readings: Sequence[Reading], rng: np.random.Generator, device: str, most: int) -> torch.Tensor:
        """Up to ``most`` questions about each image as statements (N, Q, C): the right one first, -1 for none."""
        claims = torch.full((len(readings), most, 1 + RIVALS), -1)
        for row, reading in enumerate(readings):
            for number, (question, choices) in enumerate(self.choices(reading, rng, most)):
                made = [self.statements[question.lower(), answer] for answer in choices]
                claims[row, number, : len(made)] = torch.tensor(made)
        return claims.to(device)


def padded(encodings: Sequence[Encoding], device: str) -> torch.Tensor:
    """Token ids (B, T) padded with 0, cut to ``LONGEST_TEXT``."""
    ids = [encoding.ids[:LONGEST_TEXT] for encoding in encodings]
    batch = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.long)
    for row, row_ids in enumerate(ids):
        batch[row, : len(row_ids)] = torch.tensor(row_ids)
    return batch.to(device)


def told_loss(support_NQC: torch.Tensor, answers_NQC: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Cross-entropy of the right answers among their rivals, and the share of questions whose right one leads.

    ``answers_NQC``: -1 where there is no answer; what else it holds does not matter here.
    """
    held = answers_NQC[..., 0] >= 0
    scores = support_NQC.masked_fill(answers_NQC < 0, float("-inf"))[held]
    if not len(scores):
        return support_NQC.sum() * 0, 0.0
    loss = F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long, device=scores.device))
    return loss, float((scores.argmax(1) == 0).float().mean())


class Inquiry(nn.Module):
    """Looks at an image for a question and weighs the answers: the head of the second contrast."""

    def __init__(self, width: int, space: int = 128) -> None:
        super().__init__()
        self.look = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.finding = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, space))
        self.claim = nn.Linear(width, space, bias=False)
        self.log_answer_scale = nn.Parameter(torch.tensor(np.log(1 / 0.1), dtype=torch.float32))

    def support(self, states: torch.Tensor, said_TW: torch.Tensor, quiz: Quiz) -> torch.Tensor:
        """How well each image bears out the answers to its own questions: scores (N, Q, C).

        states (N, 1 + P, width); ``said_TW``: the quiz's texts, (T, width).
        """
        questions, answers = said_TW[quiz.questions_NQ], said_TW[quiz.answers_NQC.clamp_min(0)]
        seen, _ = self.look(questions, states, states, need_weights=False)
        found = F.normalize(self.finding(torch.cat([seen, questions], dim=-1)).float(), dim=-1)
        claims = F.normalize(self.claim(answers).float(), dim=-1)
        return torch.einsum("nqd,nqcd->nqc", found, claims) * self.log_answer_scale.exp().clamp(max=100)

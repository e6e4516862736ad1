"""Decoding with a KV cache: rows of both families side by side, each by its own grammar.

Prompts are padded on the left, prefilled together and advanced one id a step; a row that ends leaves the
batch, so short answers do not wait for pictures. The head scores only what is legal: the text rows for
words, the code rows for pictures. The end-of-image marker follows the last code by rule and is never computed.

A picture may be guided by its words (Ho and Salimans, 2022, eq. 6): a companion row draws the same codes without
the words, and what the words change counts ``guidance`` times.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from healthgpt.backbone.prompts import Prompt
from healthgpt.batch import Batch
from healthgpt.inference.cache import roomy_cache
from healthgpt.inference.grammar import Utterance
from healthgpt.inference.sampling import Sampling, choose
from healthgpt.model.healthgpt import HealthGPTModel
from healthgpt.tasks import TASKS


@dataclass(frozen=True)
class Ask:
    """One row to decode: prompt, task, image (3, S, S) if any, how to choose, and how much to emit.

    ``wordless``: the same prompt without the words that are to guide the picture; None where none are.
    """

    prompt: Prompt
    task: str
    pixels_3SS: torch.Tensor | None
    sampling: Sampling
    max_new_tokens: int
    wordless: Prompt | None = None


def left_padded(asks: Sequence[Ask]) -> Batch:
    """Prompts of different lengths as one batch, padding on the left."""
    length = max(len(ask.prompt) for ask in asks)
    ids = torch.zeros(len(asks), length, dtype=torch.long)
    mask = torch.zeros(len(asks), length, dtype=torch.bool)
    instruction = torch.zeros(len(asks), length, dtype=torch.bool)
    for row, ask in enumerate(asks):
        start = length - len(ask.prompt)
        ids[row, start:] = torch.tensor(ask.prompt.ids)
        mask[row, start:] = True
        instruction[row, start:] = torch.tensor(ask.prompt.instruction)
    images = [(row, ask.pixels_3SS) for row, ask in enumerate(asks) if ask.pixels_3SS is not None]
    return Batch(
        input_ids_BT=ids,
        mask_BT=mask,
        instruction_BT=instruction,
        tasks=tuple(ask.task for ask in asks),
        image_rows=tuple(row for row, _ in images),
        pixels_N3SS=torch.stack([pixels for _, pixels in images]) if images else None,
    )


@torch.inference_mode()
def decode_steps(
    model: HealthGPTModel, asks: Sequence[Ask], stop_ids: frozenset[int]
) -> Iterator[tuple[int, int, Utterance]]:
    """Yield (row, id, the row's utterance so far) for every id as soon as it is chosen; stop ids are not shown."""
    utterances = [
        Utterance("codes" if TASKS[ask.task].family == "generation" else "words", ask.max_new_tokens, stop_ids)
        for ask in asks
    ]
    generators = [ask.sampling.generator() for ask in asks]
    companions = {
        row: replace(ask, prompt=ask.wordless)
        for row, ask in enumerate(asks)
        if ask.wordless is not None and ask.sampling.guidance != 1.0
    }
    batch = left_padded([*asks, *companions.values()]).to(model.device)
    rows = [*range(len(asks)), *companions]  # which ask each live batch row belongs to: its own first, then companions
    mask = batch.mask_BT
    padded = not bool(mask.all())
    positions = (mask.long().cumsum(1) - 1).clamp_min(0)
    longest = max(ask.max_new_tokens for ask in asks)
    cache = roomy_cache(model.language_config, batch.input_ids_BT.shape[1] + longest)
    hidden = model.hidden(
        model.embed(batch), batch.tasks, mask_BT=mask if padded else None, positions_BT=positions, cache=cache
    )[:, -1]
    position = positions[:, -1]
    while rows:
        logits = _legal_logits(model, hidden, [asks[row].task for row in rows])
        chosen = {}
        for row, scores in _by_ask(rows, logits, asks).items():
            offset = 0 if utterances[row].alphabet == "words" else model.fusion.layout.first_code
            said = [token - offset for token in utterances[row].ids]
            index = choose(scores, asks[row].sampling, generators[row], said)
            log_probability = float(scores[index] - scores.logsumexp(0))
            chosen[row] = index + offset
            if utterances[row].push(index + offset, log_probability):
                yield row, index + offset, utterances[row]
        alive = [place for place, row in enumerate(rows) if not utterances[row].done]
        if not alive:
            return
        if len(alive) < len(rows):
            keep = torch.tensor(alive, device=model.device)
            cache.batch_select_indices(keep)
            mask, position = mask[keep], position[keep]
            rows = [rows[place] for place in alive]
            padded = not bool(mask.all())
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        position = position + 1
        ids = torch.tensor([[chosen[row]] for row in rows], device=model.device)
        tasks = [asks[row].task for row in rows]
        cells = [len(utterances[row].ids) if utterances[row].alphabet == "codes" else -1 for row in rows]
        hidden = model.hidden(
            model.fusion.embed(ids, tasks, None, torch.tensor(cells, device=model.device).unsqueeze(1)),
            tasks,
            mask_BT=mask if padded else None,
            positions_BT=position.unsqueeze(1),
            cache=cache,
        )[:, -1]


def decode(model: HealthGPTModel, asks: Sequence[Ask], stop_ids: frozenset[int]) -> list[Utterance]:
    """Decode every row to its end; results in the order asked."""
    utterances: dict[int, Utterance] = {}
    for row, _, utterance in decode_steps(model, asks, stop_ids):
        utterances[row] = utterance
    empty = Utterance("words", 0)
    return [utterances.get(row, empty) for row in range(len(asks))]


def _by_ask(rows: Sequence[int], logits: Sequence[torch.Tensor], asks: Sequence[Ask]) -> dict[int, torch.Tensor]:
    """Each ask's scores; where a companion row follows its own, guided away from what the companion expects."""
    scores: dict[int, torch.Tensor] = {}
    for row, own in zip(rows, logits, strict=True):
        if row in scores:
            without = own.log_softmax(0)
            own = without + asks[row].sampling.guidance * (scores[row].log_softmax(0) - without)
        scores[row] = own
    return scores


def _legal_logits(model: HealthGPTModel, hidden_BD: torch.Tensor, tasks: Sequence[str]) -> list[torch.Tensor]:
    """Per row the scores of its alphabet alone: (text_size) for words, (code_count) for codes."""
    output: list[torch.Tensor] = [hidden_BD.new_empty(0)] * len(tasks)
    for family, head in (("comprehension", model.fusion.text_logits), ("generation", model.fusion.code_logits)):
        places = [place for place, task in enumerate(tasks) if TASKS[task].family == family]
        if places:
            scores = head(hidden_BD[torch.tensor(places, device=hidden_BD.device)]).float()
            for place, row_scores in zip(places, scores, strict=True):
                output[place] = row_scores
    return output

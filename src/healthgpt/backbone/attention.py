"""Attention for training: whole rows on a CPU in causal blocks, and packed rows each by itself.

Causal blocks: what lies above the diagonal is never computed. The library's plain products score every query against
every key and then mask half of it away, and its fused CPU kernel is slow backwards. Cut into four blocks of queries,
each against the keys up to its own end, five eighths of the scores are left, and a 534-position step of nano takes a
quarter less time.

Packed rows stand end to end in one sequence. The backbone hands on ``segment_lengths``, and each row attends on its
own slice: no score across a border is computed, so none has to be masked.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

BLOCKS = 4
CAUSAL_BLOCKS, FUSED_KERNEL = "causal_blocks", "fused_kernel"
"""Names under which the library knows attention for training on a CPU and elsewhere."""


def causal_blocks(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """query (B, heads, T, D), key and value (B, kv heads, T, D) -> (B, T, heads, D), as the library calls it.

    For whole rows without a cache, padded on the right if at all; ValueError for a mask, a cache or dropout.
    """
    positions = query.shape[2]
    if attention_mask is not None or dropout or key.shape[2] != positions:
        raise ValueError("causal blocks are for training on whole rows without mask, cache or attention dropout")
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    query = query * scaling
    size = -(-positions // BLOCKS)
    future = torch.full((size, size), float("-inf"), device=query.device).triu(1)
    outputs = []
    for start in range(0, positions, size):
        end = min(start + size, positions)
        scores = query[:, :, start:end] @ key[:, :, :end].transpose(2, 3)
        length = end - start
        scores[..., start:] += future[:length, :length].to(scores.dtype)
        outputs.append(scores.softmax(dim=-1) @ value[:, :, :end])
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def causal_segments(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float,
    segment_lengths: Sequence[Sequence[int]],
    sliding_window: int | None = None,
    **kwargs: Any,
) -> torch.Tensor:
    """Packed rows, each attending to itself alone: shapes as in ``causal_blocks``, B packed sequences.

    ``segment_lengths``: the lengths of the rows in each packed sequence, from its start; the output is zero past them.
    ``sliding_window``: how many positions back a query sees, itself included; all when None. ValueError for a cache.
    """
    if key.shape[2] != query.shape[2]:
        raise ValueError("packed rows are whole: they attend without a cache")
    sequences = []
    for query_HLD, key_HLD, value_HLD, lengths in zip(query, key, value, segment_lengths, strict=True):
        rest = query.shape[2] - sum(lengths)
        sizes = [*lengths, rest]  # split, as its gradient is put together once, not once a row
        parts = zip(query_HLD.split(sizes, 1), key_HLD.split(sizes, 1), value_HLD.split(sizes, 1), strict=True)
        rows = []
        for length, (own_query, own_key, own_value) in zip(lengths, parts, strict=False):  # the rest is of no row
            mask = _window(length, sliding_window, query.device)
            states = own_query.unsqueeze(0), own_key.unsqueeze(0), own_value.unsqueeze(0)
            rows.append(sdpa_attention_forward(module, *states, mask, scaling=scaling, **kwargs)[0])
        sequences.append(F.pad(torch.cat(rows, dim=1), (0, 0, 0, 0, 0, rest)))
    return torch.cat(sequences)


def _window(length: int, sliding_window: int | None, device: torch.device) -> torch.Tensor | None:
    """Which keys (length, length) each query sees; None where that is all up to itself."""
    if sliding_window is None or length <= sliding_window:
        return None
    return torch.ones(length, length, dtype=torch.bool, device=device).tril().triu(1 - sliding_window)


def _attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    *,
    in_blocks: bool,
    segment_lengths: Sequence[Sequence[int]] | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Packed rows by segments, whole rows in blocks where those are wanted, all else by the library's fused kernel."""
    if segment_lengths is not None:
        packed = causal_segments(module, query, key, value, scaling, segment_lengths, dropout=dropout, **kwargs)
        return packed, None
    if attention_mask is not None and not attention_mask.numel():
        raise ValueError("positions start again within a sequence, and no segment_lengths say where its rows end")
    if in_blocks and attention_mask is None and not dropout and key.shape[2] == query.shape[2]:
        return causal_blocks(module, query, key, value, None, scaling)
    return sdpa_attention_forward(module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs)


def _mask(
    *,
    q_length: int,
    kv_length: int,
    attention_mask: torch.Tensor | None,
    allow_is_causal_skip: bool,
    **kwargs: Any,
) -> torch.Tensor | None:
    """The library's mask, but none for packed rows, which it knows by positions that start again.

    Positions squared a sequence would be made and not used. What stands in for it is empty: attention without
    ``segment_lengths`` refuses it, where None would let rows see each other.
    """
    if attention_mask is None and not allow_is_causal_skip and q_length == kv_length > 1:
        return torch.empty(0)
    return sdpa_mask(
        q_length=q_length, kv_length=kv_length, attention_mask=attention_mask,
        allow_is_causal_skip=allow_is_causal_skip, **kwargs,
    )  # fmt: skip


def attend_for_training(backbone: PreTrainedModel, device: str) -> None:
    """Choose the attention for training: packed rows by segments everywhere, whole rows in causal blocks on a CPU.

    Masked rows and rows with a cache are attended as they were before, so a model in training can also decode.
    """
    name = CAUSAL_BLOCKS if device == "cpu" else FUSED_KERNEL
    AttentionInterface.register(name, partial(_attend, in_blocks=device == "cpu"))
    AttentionMaskInterface.register(name, _mask)
    backbone.set_attn_implementation(name)

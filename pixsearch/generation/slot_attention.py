"""Attention of a line of tokens that belong to many rows, each to what its own slot holds.

Rows stand one behind the other in one line, without padding: first those that process a single
token, then those that process a longer piece. A single token sees its row's cells up to its own, so
it needs no mask; only a piece that goes on in the middle of a row does.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedConfig

NAME = "pixsearch_slots"  # as transformers knows it
ALIGNED = 8  # torch's kernels on a GPU take masks of such widths alone

Line = Float[Tensor, "1 num_heads line head_width"]
Memory = Float[Tensor, "num_slots num_kv_heads width head_width"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """Several tokens of one row.

    Attributes:
        first: place of its first token in the line.
        start: the row's cell of that token.
        mask: is added to the attention scores; None where the piece begins its row.
    """

    slot: int
    first: int
    start: int
    length: int
    mask: Float[Tensor, "length end"] | None

    @property
    def end(self) -> int:
        return self.start + self.length


@dataclass(frozen=True, kw_only=True, eq=False)
class SlotPlan:
    """Where the tokens of a line belong.

    Attributes:
        num_singles: rows, from the line's first, that bring one token.
        single_slots, single_cells: theirs.
        single_bounds: the same on the host: slot, and cells that the token sees.
        batch_mask: over all slots, where singles are computed in one call; None: one by one.
        pieces: of the other rows, in the line's order.
    """

    num_singles: int
    single_slots: Int[Tensor, " num_singles"]
    single_cells: Int[Tensor, " num_singles"]
    single_bounds: tuple[tuple[int, int], ...]
    batch_mask: Float[Tensor, "num_slots 1 1 seen"] | None
    pieces: tuple[Piece, ...]


def likes_one_call(device: torch.device) -> bool:
    """Whether single tokens are better computed in one padded call over all slots.

    Each over its own cells alone moves less memory, which is all that counts on a CPU; on a GPU so
    many small calls take longer than the padding.
    """
    return device.type != "cpu"


def plan_line(
    *,
    slots: Sequence[int],
    starts: Sequence[int],
    lengths: Sequence[int],
    num_slots: int,
    width: int,
    in_one_call: bool,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> SlotPlan:
    """The plan of a line in which `slots[i]` gets `lengths[i]` tokens from its cell `starts[i]` on.

    Args:
        lengths: rows with one token come first.
        num_slots, width: of the memory.
        in_one_call: see `likes_one_call`.
    """
    num_singles = sum(length == 1 for length in lengths)
    assert all(length == 1 for length in lengths[:num_singles]), "rows with one token come first"
    single_slots = torch.tensor(slots[:num_singles], device=device, dtype=torch.long)
    single_cells = torch.tensor(starts[:num_singles], device=device, dtype=torch.long)
    bounds = tuple((slot, start + 1) for slot, start in zip(slots, starts, strict=True))
    batch_mask = None
    if in_one_call and num_singles:
        longest = max(starts[:num_singles]) + 1
        seen = min(width, -(-longest // ALIGNED) * ALIGNED)
        ends = torch.zeros(num_slots, dtype=torch.long, device=device)
        ends[single_slots] = single_cells + 1
        hidden = torch.arange(seen, device=device) >= ends[:, None, None, None]
        batch_mask = _additive(hidden, dtype)
    pieces, first = [], num_singles
    for slot, start, length in list(zip(slots, starts, lengths, strict=True))[num_singles:]:
        mask = _piece_mask(start, length, dtype, device) if start else None
        pieces.append(Piece(slot=slot, first=first, start=start, length=length, mask=mask))
        first += length
    return SlotPlan(
        num_singles=num_singles,
        single_slots=single_slots,
        single_cells=single_cells,
        single_bounds=bounds[:num_singles],
        batch_mask=batch_mask,
        pieces=tuple(pieces),
    )


@contextmanager
def slot_attention(config: PreTrainedConfig) -> Iterator[None]:
    """Let a language model attend by slots for a while.

    Args:
        config: the language model's own.
    """
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def attend(
    module: nn.Module,
    query: Line,
    key: Memory,
    value: Memory,
    attention_mask: None,
    *,
    scaling: float,
    slot_plan: SlotPlan,
    **_: Any,
) -> tuple[Float[Tensor, "1 line num_heads head_width"], None]:
    """What transformers calls in each layer; keys and values are the cache's whole memory."""
    if slot_plan.batch_mask is not None:
        parts = [_singles_at_once(query, key, value, scaling, slot_plan)]
    else:
        parts = [
            _single(query[:, :, place], key[slot, :, :seen], value[slot, :, :seen], scaling)
            for place, (slot, seen) in enumerate(slot_plan.single_bounds)
        ]
    parts += [_piece(query, key, value, scaling, piece) for piece in slot_plan.pieces]
    return torch.cat(parts, dim=1), None


AttentionInterface.register(NAME, attend)


def _single(
    query: Float[Tensor, "1 num_heads head_width"],
    key: Float[Tensor, "num_kv_heads seen head_width"],
    value: Float[Tensor, "num_kv_heads seen head_width"],
    scaling: float,
) -> Float[Tensor, "1 1 num_heads head_width"]:
    """One token. Heads that share keys are so many queries of one head: none sees less."""
    grouped = query.reshape(len(key), -1, query.shape[-1])
    found = scaled_dot_product_attention(grouped[None], key[None], value[None], scale=scaling)
    return found.reshape(1, 1, *query.shape[1:])


def _singles_at_once(
    query: Line, key: Memory, value: Memory, scaling: float, plan: SlotPlan
) -> Float[Tensor, "1 num_singles num_heads head_width"]:
    """All single tokens in one call over all slots, those of resting rows for nothing."""
    num_slots, num_kv_heads, _, head_width = key.shape
    tokens = query[0, :, : plan.num_singles].transpose(0, 1)
    grouped = query.new_zeros(num_slots, num_kv_heads, query.shape[1] // num_kv_heads, head_width)
    grouped[plan.single_slots] = tokens.reshape(len(tokens), *grouped.shape[1:])
    seen = plan.batch_mask.shape[-1]
    found = scaled_dot_product_attention(
        grouped,
        key[:, :, :seen],
        value[:, :, :seen],
        attn_mask=plan.batch_mask.expand(-1, -1, grouped.shape[2], -1),
        scale=scaling,
    )
    return found[plan.single_slots].reshape(1, *tokens.shape)


def _piece(
    query: Line, key: Memory, value: Memory, scaling: float, piece: Piece
) -> Float[Tensor, "1 length num_heads head_width"]:
    own = query[:, :, piece.first : piece.first + piece.length]
    num_shared = query.shape[1] // key.shape[1]
    keys, values = (
        memory[piece.slot, None, :, : piece.end].repeat_interleave(num_shared, dim=1)
        if num_shared > 1
        else memory[piece.slot, None, :, : piece.end]
        for memory in (key, value)
    )
    found = scaled_dot_product_attention(
        own, keys, values, attn_mask=piece.mask, is_causal=piece.mask is None, scale=scaling
    )
    return found.transpose(1, 2)


def _piece_mask(
    start: int, length: int, dtype: torch.dtype, device: torch.device | str
) -> Float[Tensor, "length end"]:
    """A token of the piece sees itself and what stands before it."""
    cells = torch.arange(start + length, device=device)
    own = torch.arange(start, start + length, device=device)
    return _additive(cells > own[:, None], dtype)


def _additive(hidden: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(
        hidden, torch.finfo(dtype).min
    )

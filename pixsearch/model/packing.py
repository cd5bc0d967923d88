"""Conversations in fewer, fuller rows: those about one image share what they have in common.

A padded batch repeats the image's tokens in each conversation about it, and pads the short ones.
Packed, a common beginning is processed once, and several conversations stand in one row; no token
sees another conversation's own tokens, and each keeps the position that it has alone. The states
are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers import PreTrainedModel

from pixsearch.config import Attention
from pixsearch.model.backbone import Embedded

PADDING = -1
SHARED = -2  # the conversation of a token that several have in common
SLACK = 1.02  # how much more padding shorter rows may cost: attention is cheaper there


@dataclass(frozen=True, kw_only=True, eq=False)
class Segments:
    """Where conversations begin and end that stand one behind the other in one row.

    Attributes:
        bounds: 0, then the end of each.
        longest: tokens of the longest one.
    """

    bounds: Int[Tensor, " num_segments_and_one"]
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int]) -> "Segments":
        """
        >>> Segments.of([3, 2]).bounds
        tensor([0, 3, 5], dtype=torch.int32)
        """
        bounds = torch.tensor([0, *lengths]).cumsum(0)
        return cls(bounds=bounds.to(torch.int32), longest=max(lengths))

    def to(self, device: torch.device | str) -> "Segments":
        """The same on another device."""
        return Segments(bounds=self.bounds.to(device), longest=self.longest)

    @property
    def arguments(self) -> dict[str, Any]:
        """What transformers' flash attention calls them."""
        return {
            "cu_seq_lens_q": self.bounds,
            "cu_seq_lens_k": self.bounds,
            "max_length_q": self.longest,
            "max_length_k": self.longest,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Packing:
    """Where the tokens of a padded batch stand in the packed rows, and which see each other.

    Attributes:
        source: for each packed place the token's place in the flattened batch, PADDING if none.
        place: for each token of the batch its place in the flattened packed rows; 0 for padding.
        column: for each packed place the token's place in its own conversation.
        group: the same for conversations with a common beginning; PADDING for padding.
        conversation: the token's row of the batch, SHARED if it is of several, PADDING if none.
        segments: of `pack_apart` alone.
    """

    source: Int[Tensor, "num_rows packed_length"]
    place: Int[Tensor, "batch length"]
    column: Int[Tensor, "num_rows packed_length"]
    group: Int[Tensor, "num_rows packed_length"]
    conversation: Int[Tensor, "num_rows packed_length"]
    segments: Segments | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens that are processed, padding included."""
        return self.source.numel()

    def to(self, device: torch.device | str) -> "Packing":
        """The same on another device."""
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return Packing(
            **{name: one if one is None else one.to(device) for name, one in held.items()}
        )

    def pack(self, embedded: Embedded) -> Embedded:
        """What the language model is given, in packed rows."""
        chosen = self.source.clamp(min=0)
        positions = self.column
        if embedded.positions is not None:
            positions = embedded.positions.flatten(1)[:, chosen]
        is_image, deepstack = None, embedded.deepstack
        if embedded.is_image is not None:
            flat = embedded.is_image.flatten()
            is_image = flat[chosen] & (self.source != PADDING)
            rank = (flat.cumsum(0) - 1)[chosen][is_image]
            deepstack = tuple(layer[rank] for layer in embedded.deepstack)
        return Embedded(
            embeddings=embedded.embeddings.flatten(0, 1)[chosen],
            is_image=is_image,
            deepstack=deepstack,
            positions=positions,
        )

    def unpack(
        self, states: Float[Tensor, "num_rows packed_length width"]
    ) -> Float[Tensor, "batch length width"]:
        """The states in the places of the padded batch; those of padding mean nothing."""
        return states.flatten(0, 1)[self.place]

    def attention_arguments(self, backbone: PreTrainedModel, dtype: torch.dtype) -> dict[str, Any]:
        """Which tokens see each other, as the language model's kind of attention takes it."""
        kind = backbone.model.language_model.config._attn_implementation
        if kind == Attention.flash_attention_2:
            assert self.segments is not None, "flash attention knows no masks: pack_apart"
            return self.segments.arguments
        if kind == Attention.flex_attention:
            return {"attention_mask": self.block_mask()}
        return {"attention_mask": self.mask(dtype)}

    def mask(self, dtype: torch.dtype) -> Float[Tensor, "num_rows 1 packed_length packed_length"]:
        """What is added to the attention scores: 0 where a token may look, else the lowest number.

        A token sees what stands before it of its own conversation or is shared with it.
        """
        places = torch.arange(self.source.shape[1], device=self.source.device)
        rows = torch.arange(len(self.source), device=self.source.device)[:, None, None]
        seen = self._sees(rows, places[:, None], places)
        lowest = torch.finfo(dtype).min
        return torch.zeros_like(seen, dtype=dtype).masked_fill_(~seen, lowest)[:, None]

    def block_mask(self) -> BlockMask:
        """The same for flex_attention, which skips blocks in which nothing is seen."""
        num_rows, length = self.source.shape
        return create_block_mask(
            lambda row, head, query, key: self._sees(row, query, key),
            num_rows,
            None,
            length,
            length,
            device=str(self.source.device),
        )

    def _sees(self, row: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Whether a place of a packed row looks at another, elementwise."""
        of_key = self.conversation[row, key]
        same = (of_key == self.conversation[row, query]) | (of_key == SHARED)
        together = self.group[row, key] == self.group[row, query]
        return same & together & (key <= query)


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Rows of the batch with a common beginning of `shared` tokens."""

    rows: tuple[int, ...]
    shared: int
    length: int  # tokens in all


def pack(
    input_ids: Int[Tensor, "batch length"],
    lengths: Sequence[int],
    image_index: Sequence[int],
    *,
    capacity: int,
) -> Packing:
    """Put the conversations of a padded batch into packed rows.

    Args:
        lengths: of the conversations, without padding.
        image_index: for each its image, negative without one.
        capacity: most tokens of a packed row; one conversation alone may be longer.
    """
    ids = [row[:length] for row, length in zip(input_ids.tolist(), lengths, strict=True)]
    groups = _groups(ids, image_index, capacity)
    rows = _fill([group.length for group in groups], capacity)
    return _lay_out([[groups[i] for i in row] for row in rows], lengths, input_ids.shape[1])


def pack_apart(input_ids: Int[Tensor, "batch length"], lengths: Sequence[int]) -> Packing:
    """Put the conversations one behind the other into one row, nothing shared and no padding.

    For flash attention, which knows where a conversation ends, but no masks. The row's length costs
    nothing: each token is compared with those of its own conversation alone.
    """
    groups = [_Group(rows=(row,), shared=0, length=length) for row, length in enumerate(lengths)]
    laid_out = _lay_out([groups], lengths, input_ids.shape[1])
    return replace(laid_out, segments=Segments.of(lengths))


def _groups(ids: Sequence[list[int]], image_index: Sequence[int], capacity: int) -> list[_Group]:
    """Conversations about one image together, as many as fit a row; all others alone."""
    by_image: dict[object, list[int]] = {}
    for row, image in enumerate(image_index):
        by_image.setdefault(image if image >= 0 else ("none", row), []).append(row)
    groups = []
    for rows in by_image.values():
        current = [rows[0]]
        for row in rows[1:]:
            if _group([*current, row], ids).length > capacity:
                groups.append(_group(current, ids))
                current = []
            current.append(row)
        groups.append(_group(current, ids))
    return groups


def _group(rows: Sequence[int], ids: Sequence[list[int]]) -> _Group:
    shared = common_beginning([ids[row] for row in rows]) if len(rows) > 1 else 0
    length = shared + sum(len(ids[row]) - shared for row in rows)
    return _Group(rows=tuple(rows), shared=shared, length=length)


def common_beginning(sequences: Sequence[Sequence[int]]) -> int:
    """How many first elements are the same in all.

    >>> common_beginning([[1, 2, 3], [1, 2, 4], [1, 2]])
    2
    """
    for place, values in enumerate(zip(*sequences, strict=False)):
        if len(set(values)) > 1:
            return place
    return min(map(len, sequences))


def _fill(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Spread items over rows of like length: little padding first, short rows second."""
    candidates = [_spread(sizes, num_rows) for num_rows in range(1, len(sizes) + 1)]
    costs = [len(rows) * max(_loads(sizes, rows)) for rows in candidates]
    fitting = [
        (cost, rows)
        for cost, rows in zip(costs, candidates, strict=True)
        if max(_loads(sizes, rows)) <= max(capacity, max(sizes))
    ]
    least = min(cost for cost, _ in fitting)
    return next(rows for cost, rows in reversed(fitting) if cost <= SLACK * least)


def _spread(sizes: Sequence[int], num_rows: int) -> list[list[int]]:
    """The largest first, each to the row that is shortest so far.

    >>> _spread([5, 9, 4], 2)
    [[1], [0, 2]]
    """
    rows: list[list[int]] = [[] for _ in range(num_rows)]
    for item in sorted(range(len(sizes)), key=lambda item: -sizes[item]):
        min(rows, key=lambda row: sum(sizes[each] for each in row)).append(item)
    return rows


def _loads(sizes: Sequence[int], rows: Sequence[Sequence[int]]) -> list[int]:
    return [sum(sizes[item] for item in row) for row in rows]


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """Neighbouring tokens that go to neighbouring places.

    Attributes:
        owner: the row of the batch that they belong to, SHARED if several.
        readers: the rows that have them.
        start, end: their places in those rows.
    """

    owner: int
    readers: tuple[int, ...]
    start: int
    end: int


def _pieces(group: _Group, lengths: Sequence[int]) -> list[_Piece]:
    """What is shared, then each conversation's rest."""
    shared = _Piece(owner=SHARED, readers=group.rows, start=0, end=group.shared)
    rests = [
        _Piece(owner=row, readers=(row,), start=group.shared, end=lengths[row])
        for row in group.rows
    ]
    return [shared, *rests]


def _lay_out(rows: Sequence[Sequence[_Group]], lengths: Sequence[int], length: int) -> Packing:
    """Write the groups one behind the other."""
    shape = (len(rows), max(sum(group.length for group in row) for row in rows))
    packing = Packing(
        source=torch.full(shape, PADDING),
        place=torch.zeros(len(lengths), length, dtype=torch.long),
        column=torch.zeros(shape, dtype=torch.long),
        group=torch.full(shape, PADDING),
        conversation=torch.full(shape, PADDING),
    )
    for packed_row, groups in enumerate(rows):
        at = 0
        for group in groups:
            for piece in _pieces(group, lengths):
                _write(packing, packed_row, at, piece)
                at += piece.end - piece.start
            packing.group[packed_row, at - group.length : at] = group.rows[0]
    return packing


def _write(packing: Packing, packed_row: int, at: int, piece: _Piece) -> None:
    """Put a piece at a place of a packed row; changes the tensors of `packing`."""
    columns = torch.arange(piece.start, piece.end)
    cells = slice(at, at + len(columns))
    length, packed_length = packing.place.shape[1], packing.source.shape[1]
    packing.source[packed_row, cells] = columns + piece.readers[0] * length
    packing.column[packed_row, cells] = columns
    packing.conversation[packed_row, cells] = piece.owner
    for reader in piece.readers:
        packing.place[reader, columns] = columns - piece.start + at + packed_row * packed_length

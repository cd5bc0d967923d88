"""Conversations in fewer, fuller rows: those about one image share what they have in common.

A padded batch repeats the image's tokens in each conversation about it, and pads the short ones.
Packed, a common beginning is processed once, and several conversations stand in one row; no token
sees another conversation's own tokens, and each keeps the position that it has alone. The states
are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pixsearch.model.backbone import Embedded

PADDING = -1
SHARED = -1  # the conversation of a token that several have in common
SLACK = 1.02  # how much more padding shorter rows may cost: attention is cheaper there


@dataclass(frozen=True, kw_only=True, eq=False)
class Packing:
    """Where the tokens of a padded batch stand in the packed rows, and which see each other.

    Attributes:
        source: for each packed place the token's place in the flattened batch, PADDING if none.
        place: for each token of the batch its place in the flattened packed rows; 0 for padding.
        column: for each packed place the token's place in its own conversation.
        group: conversations with a common beginning; PADDING for padding.
        conversation: the token's row of the batch, SHARED if it is of several.
    """

    source: Int[Tensor, "num_rows packed_length"]
    place: Int[Tensor, "batch length"]
    column: Int[Tensor, "num_rows packed_length"]
    group: Int[Tensor, "num_rows packed_length"]
    conversation: Int[Tensor, "num_rows packed_length"]

    @property
    def num_tokens(self) -> int:
        """Tokens that are processed, padding included."""
        return self.source.numel()

    def to(self, device: torch.device | str) -> "Packing":
        """The same on another device."""
        moved = {field.name: getattr(self, field.name).to(device) for field in fields(self)}
        return Packing(**moved)

    def pack(self, embedded: Embedded) -> Embedded:
        """What the language model is given, in packed rows."""
        chosen = self.source.clamp(min=0)
        is_token = self.source != PADDING
        packed = replace(embedded, embeddings=embedded.embeddings.flatten(0, 1)[chosen])
        if embedded.positions is not None:
            packed = replace(packed, positions=embedded.positions.flatten(1)[:, chosen])
        if embedded.is_image is None:
            return packed
        is_image = embedded.is_image.flatten()
        packed_image = is_image[chosen] & is_token
        rank = (is_image.cumsum(0) - 1)[chosen][packed_image]
        return replace(
            packed,
            is_image=packed_image,
            deepstack=tuple(layer[rank] for layer in embedded.deepstack),
        )

    def unpack(
        self, states: Float[Tensor, "num_rows packed_length width"]
    ) -> Float[Tensor, "batch length width"]:
        """The states in the places of the padded batch; those of padding mean nothing."""
        return states.flatten(0, 1)[self.place]

    def mask(self, dtype: torch.dtype) -> Float[Tensor, "num_rows 1 packed_length packed_length"]:
        """What is added to the attention scores: 0 where a token may look, else the lowest number.

        A token sees what stands before it of its own conversation or is shared with it.
        """
        places = torch.arange(self.source.shape[1], device=self.source.device)
        of_key = self.conversation[:, None, :]
        same = (of_key == self.conversation[:, :, None]) | (of_key == SHARED)
        together = self.group[:, None, :] == self.group[:, :, None]
        seen = same & together & (places <= places[:, None])
        lowest = torch.finfo(dtype).min
        return torch.zeros_like(seen, dtype=dtype).masked_fill_(~seen, lowest)[:, None]


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


def _lay_out(rows: Sequence[Sequence[_Group]], lengths: Sequence[int], length: int) -> Packing:
    """Write the groups one behind the other: what is shared, then each conversation's rest."""
    packed_length = max(sum(group.length for group in row) for row in rows)
    shape = (len(rows), packed_length)
    source, column = torch.full(shape, PADDING), torch.zeros(shape, dtype=torch.long)
    group_of, conversation = torch.full(shape, PADDING), torch.full(shape, PADDING - 1)
    place = torch.zeros(len(lengths), length, dtype=torch.long)
    number = 0
    for packed_row, groups in enumerate(rows):
        at = 0
        for group in groups:
            first = group.rows[0]
            pieces = [(first, SHARED, 0, group.shared)]
            pieces += [(row, row, group.shared, lengths[row]) for row in group.rows]
            for row, owner, start, end in pieces:
                cells = slice(at, at + end - start)
                source[packed_row, cells] = torch.arange(start, end) + row * length
                column[packed_row, cells] = torch.arange(start, end)
                conversation[packed_row, cells] = owner
                group_of[packed_row, cells] = number
                readers = group.rows if owner == SHARED else (row,)
                for reader in readers:
                    here = packed_row * packed_length + torch.arange(cells.start, cells.stop)
                    place[reader, start:end] = here
                at = cells.stop
            number += 1
    return Packing(
        source=source, place=place, column=column, group=group_of, conversation=conversation
    )

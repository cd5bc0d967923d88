"""Embedding and head rows of PixSearch's own tokens, kept beside the backbone's.

The backbone's matrices are not resized: their rows then cannot move while only the new ones train,
whatever the optimizer does (weight decay, momentum), and its optimizer state stays small.
"""

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class NewTokenRows(nn.Module):
    """The rows of some ids.

    A backbone may hold rows for these ids already, spare ones or those of a token that means the
    same; they are then covered, not used.

    Args:
        ids: rising.
        tied: head rows and embedding rows are one, as in the backbone.
    """

    def __init__(self, *, ids: Sequence[int], width: int, tied: bool) -> None:
        super().__init__()
        self.ids = tuple(ids)
        self.embedding = nn.Parameter(torch.empty(len(ids), width))
        self.head = None if tied else nn.Parameter(torch.empty(len(ids), width))

    @property
    def head_rows(self) -> Float[Tensor, "num_rows width"]:
        return self.embedding if self.head is None else self.head

    def embed(
        self, input_ids: Int[Tensor, "batch length"], *, base: nn.Embedding
    ) -> Float[Tensor, "batch length width"]:
        """Embeddings of old and new tokens."""
        return self(input_ids, base=base)

    def logits(
        self, states: Float[Tensor, "*positions width"], *, base: nn.Linear
    ) -> Float[Tensor, "*positions vocabulary"]:
        """Scores of all tokens; new ones stand at their ids."""
        return self(states, base=base)

    def forward(self, given: Tensor, *, base: nn.Embedding | nn.Linear) -> Tensor:
        """`embed` or `logits`, by what kind `base` is.

        Both go through here: an engine that splits a module's weights gathers them for its forward.
        """
        if isinstance(base, nn.Embedding):
            return self._embed(given, base)
        return self._score(given, base)

    def _embed(
        self, input_ids: Int[Tensor, "batch length"], base: nn.Embedding
    ) -> Float[Tensor, "batch length width"]:
        is_new = torch.zeros_like(input_ids, dtype=torch.bool)
        row = torch.zeros_like(input_ids)
        for first_id, first_row, length in _runs(self.ids):
            place = input_ids - first_id
            in_run = (place >= 0) & (place < length)
            is_new = is_new | in_run
            row = torch.where(in_run, first_row + place, row)
        old = base(input_ids.masked_fill(is_new, 0))
        new = nn.functional.embedding(row, self.embedding)
        return torch.where(is_new[..., None], new.to(old.dtype), old)

    def _score(
        self, states: Float[Tensor, "*positions width"], base: nn.Linear
    ) -> Float[Tensor, "*positions vocabulary"]:
        old = base(states)
        new = nn.functional.linear(states, self.head_rows)
        pieces, end = [], 0
        for first_id, first_row, length in _runs(self.ids):
            pieces += [old[..., end:first_id], new[..., first_row : first_row + length]]
            end = first_id + length
        return torch.cat([*pieces, old[..., end:]], dim=-1)

    @torch.no_grad()
    def draw_like(
        self, *, embedding: nn.Embedding, head: nn.Linear, kept: Collection[int] = ()
    ) -> None:
        """Draw the rows as the backbone's are: same mean and deviation in every dimension.

        Args:
            kept: ids whose rows are those that the backbone has for them.
        """
        self._draw(self.embedding, embedding.weight, kept)
        if self.head is not None:
            self._draw(self.head, head.weight, kept)

    def _draw(
        self,
        rows: Float[Tensor, "num_rows width"],
        base: Float[Tensor, "num_old width"],
        kept: Collection[int],
    ) -> None:
        drawn = [token for token in self.ids if token not in kept]
        like = base[: min(drawn)] if drawn else base
        rows.copy_(like.mean(dim=0) + like.std(dim=0) * torch.randn_like(rows))
        for row, token in enumerate(self.ids):
            if token in kept:
                rows[row] = base[token]


def _runs(ids: Sequence[int]) -> list[tuple[int, int, int]]:
    """Neighbouring ids together: first id, first row, number.

    >>> _runs([7, 10, 11, 12])
    [(7, 0, 1), (10, 1, 3)]
    """
    runs: list[tuple[int, int, int]] = []
    for row, token in enumerate(ids):
        if runs and token == runs[-1][0] + runs[-1][2]:
            first_id, first_row, length = runs[-1]
            runs[-1] = (first_id, first_row, length + 1)
        else:
            runs.append((token, row, 1))
    return runs

"""Embedding and head rows of PixSearch's own tokens, kept beside the backbone's.

The backbone's matrices are not resized: their rows then cannot move while only the new ones train,
whatever the optimizer does (weight decay, momentum), and its optimizer state stays small.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class NewTokenRows(nn.Module):
    """The rows of the ids `first_id` to `first_id + num_rows - 1`.

    A backbone may hold spare rows for these ids already; they are then covered, not used.

    Args:
        tied: head rows and embedding rows are one, as in the backbone.
    """

    def __init__(self, *, first_id: int, num_rows: int, width: int, tied: bool) -> None:
        super().__init__()
        self.first_id = first_id
        self.embedding = nn.Parameter(torch.empty(num_rows, width))
        self.head = None if tied else nn.Parameter(torch.empty(num_rows, width))

    @property
    def head_rows(self) -> Float[Tensor, "num_rows width"]:
        return self.embedding if self.head is None else self.head

    def embed(
        self, input_ids: Int[Tensor, "batch length"], *, base: nn.Embedding
    ) -> Float[Tensor, "batch length width"]:
        """Embeddings of old and new tokens."""
        row = input_ids - self.first_id
        is_new = (row >= 0) & (row < len(self.embedding))
        old = base(input_ids.masked_fill(is_new, 0))
        new = nn.functional.embedding(row.clamp(0, len(self.embedding) - 1), self.embedding)
        return torch.where(is_new[..., None], new.to(old.dtype), old)

    def logits(
        self, states: Float[Tensor, "*positions width"], *, base: nn.Linear
    ) -> Float[Tensor, "*positions vocabulary"]:
        """Scores of all tokens; new ones stand at their ids."""
        old = base(states)
        new = nn.functional.linear(states, self.head_rows)
        after = self.first_id + len(self.embedding)
        return torch.cat([old[..., : self.first_id], new, old[..., after:]], dim=-1)

    @torch.no_grad()
    def draw_like(self, *, embedding: nn.Embedding, head: nn.Linear) -> None:
        """Draw the rows as the backbone's are: same mean and deviation in every dimension."""
        _draw_rows(self.embedding, like=embedding.weight[: self.first_id])
        if self.head is not None:
            _draw_rows(self.head, like=head.weight[: self.first_id])


def _draw_rows(
    rows: Float[Tensor, "num_rows width"], *, like: Float[Tensor, "num_old width"]
) -> None:
    rows.copy_(like.mean(dim=0) + like.std(dim=0) * torch.randn_like(rows))

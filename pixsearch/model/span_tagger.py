"""PLUM's tagger: it reads the language model's states and tells which words are grounded."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from pixsearch.rendering import SpanTag


class SpanTagger(nn.Module):
    """One transformer layer that looks both ways, and a score for each tag (PLUM.py:207-253, 354).

    The layer is `nn.TransformerEncoderLayer` (ReLU, the norms behind), but for the positions that
    look and those that are looked at: in generation only new ones look.

    Args:
        inner_width: of the feed-forward layer.
    """

    def __init__(self, *, width: int, num_heads: int, inner_width: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, inner_width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(inner_width, width),
        )
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, len(SpanTag))
        )

    @torch.no_grad()
    def draw(self, *, state_size: float) -> None:
        """Draw the weights anew: Xavier's, no offsets, as PLUM does.

        Args:
            state_size: root mean square of the states, for which the attention makes up: what it
                compares would grow with its square, and what it adds must be of the states' size.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        self.query.weight /= state_size
        self.key_value.weight /= state_size
        self.output.weight *= state_size

    def forward(
        self,
        states: Float[Tensor, "batch length width"],
        context: Float[Tensor, "batch context_length width"],
        is_seen: Bool[Tensor, "batch length context_length"] | None = None,
    ) -> Float[Tensor, "batch length num_tags"]:
        """Scores of the tags.

        Args:
            context: the states that are looked at; `states` are some of them.
            is_seen: which of them each position looks at; all by default.
        """
        mask = None if is_seen is None else is_seen[:, None]
        query = self._split(self.query(states))
        key, value = (self._split(part) for part in self.key_value(context).chunk(2, dim=-1))
        dropout = self.dropout.p if self.training else 0.0
        seen = F.scaled_dot_product_attention(query, key, value, mask, dropout_p=dropout)
        added = self.dropout(self.output(seen.transpose(1, 2).flatten(2)))
        states = self.attention_norm(states + added)
        states = self.feed_forward_norm(states + self.dropout(self.feed_forward(states)))
        return self.head(states)

    def _split(
        self, states: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "batch heads length head_width"]:
        return states.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def seen_by_tagger(
    is_boundary: Bool[Tensor, "batch length"], is_token: Bool[Tensor, "batch length"]
) -> Bool[Tensor, "batch length length"]:
    """What each position looks at: all that stands before the next boundary, nothing behind it.

    The model asks for masks at a `<search>`, so a tag must not hang on what comes after it; and the
    tags of a part are then the same whether or not the sequence went on.

    Args:
        is_boundary: at each `<search>` and at each end of an answer.
        is_token: False at padding, which nobody looks at.
    """
    length = is_boundary.shape[1]
    places = torch.arange(length, device=is_boundary.device)
    at_or_after = torch.where(is_boundary, places, length).flip(1).cummin(dim=1).values.flip(1)
    ends = F.pad(at_or_after[:, 1:], (0, 1), value=length)
    return (places < ends[..., None]) & is_token[:, None, :]


def find_spans(
    logits: Float[Tensor, "length num_tags"], can_ground: Sequence[bool]
) -> list[tuple[int, int]]:
    """The spans that a tagger finds: first token, the one behind the last.

    Args:
        can_ground: False at tokens that are none of the model's own words.
    """
    tags = logits.argmax(dim=-1).tolist()
    return spans_of([tag if can else 0 for tag, can in zip(tags, can_ground, strict=True)])


def spans_of(tags: Sequence[int]) -> list[tuple[int, int]]:
    """Each BEGIN with the INSIDE behind it; an INSIDE without a BEGIN is none (PLUM's `evaluate`).

    >>> spans_of([0, 1, 2, 0, 2, 1, 1])
    [(1, 3), (5, 6), (6, 7)]
    """
    spans: list[tuple[int, int]] = []
    for place, tag in enumerate(tags):
        if tag == SpanTag.BEGIN:
            spans.append((place, place + 1))
        elif tag == SpanTag.INSIDE and spans and spans[-1][1] == place:
            spans[-1] = (spans[-1][0], place + 1)
    return spans

"""What a forward in training returns."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from pixsearch.model.losses import Losses


@dataclass(frozen=True, kw_only=True, eq=False)
class PixSearchOutput:
    """What `PixSearch.forward` returns.

    Attributes:
        logits: at the supervised positions alone, row by row.
        mask_logits: one mask per grounded phrase, row by row.
        tag_logits: the tagger's scores, where the model has one.
    """

    losses: Losses
    logits: Float[Tensor, "num_tokens vocabulary"]
    mask_logits: Float[Tensor, "num_masks low low"]
    tag_logits: Float[Tensor, "batch length num_tags"] | None = None

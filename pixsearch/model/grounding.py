"""How words become a prompt of the mask decoder: the `seg` grounding (LISA).

Another grounding (`span`, PLUM) would be a second class with the same two methods.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pixsearch.config import SegState


@dataclass(frozen=True, kw_only=True, eq=False)
class GroundedStates:
    """The states that stand for the grounded phrases of a batch, row by row.

    Attributes:
        rows: for each phrase its row of the batch.
    """

    rows: Int[Tensor, " num_masks"]
    states: Float[Tensor, "num_masks width"]


class SegGrounding(nn.Module):
    """One token, <seg>, stands for the phrase before it.

    Args:
        seg_state: `predicting` takes the state from which <seg> is predicted, one position before
            it; `token` takes the state of <seg> itself.
    """

    def __init__(self, *, seg_id: int, seg_state: SegState, width: int, channels: int) -> None:
        super().__init__()
        self.seg_id = seg_id
        self.offset = 1 if seg_state is SegState.predicting else 0
        self.projection = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, channels)
        )

    @torch.no_grad()
    def draw(self, *, state_size: float) -> None:
        """Draw the projection anew, so that prompts have unit variance, as SAM's points have.

        Args:
            state_size: root mean square of the states. Where it is far from 1, a layer drawn for 1
                gives prompts that hardly differ, and masks are not learned for hundreds of steps.
        """
        first, _, second = self.projection
        nn.init.normal_(first.weight, std=(2 / first.in_features) ** 0.5 / state_size)
        nn.init.normal_(second.weight, std=second.in_features**-0.5)
        for layer in (first, second):
            nn.init.zeros_(layer.bias)

    def find(
        self, states: Float[Tensor, "batch length width"], input_ids: Int[Tensor, "batch length"]
    ) -> GroundedStates:
        """The state of every <seg> in the batch."""
        rows, columns = (input_ids == self.seg_id).nonzero(as_tuple=True)
        return GroundedStates(rows=rows, states=states[rows, columns - self.offset])

    def forward(
        self, states: Float[Tensor, "num_masks width"]
    ) -> Float[Tensor, "num_masks channels"]:
        """Prompts for the mask decoder."""
        return self.projection(states)

"""How words become a prompt of the mask decoder: the `seg` grounding (LISA).

Another grounding (`span`, PLUM) would be a second class with the same two methods.
"""

from dataclasses import dataclass

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

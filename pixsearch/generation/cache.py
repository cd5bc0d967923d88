"""Keys and values of many rows of different lengths, one slot of preallocated memory each.

A row's token at position p lies in cell p of its slot, so that a row is processed in as many pieces
as one likes. The pieces of several rows go through the language model in one line, without padding:

    plan = plan_line(slots=[0, 2], starts=[17, 0], lengths=[1, 40], …)
    cache.follow(plan)
    with slot_attention(language_model.config):
        language_model(inputs_embeds=…, position_ids=…, past_key_values=cache, slot_plan=plan)

transformers asks a cache for one thing: take the new keys and values of a layer, give all of them
back (`Cache.update`). This one gives back its whole memory; slot_attention.py knows what in it each
token may see.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor
from transformers import Cache, PreTrainedConfig
from transformers.cache_utils import CacheLayerMixin

from pixsearch.generation.slot_attention import SlotPlan

NewStates = Float[Tensor, "1 num_heads line head_width"]
Memory = Float[Tensor, "num_slots num_heads width head_width"]


@dataclass(kw_only=True)
class _Shape:
    """Of the memory, and where the next forward writes; shared by all layers."""

    num_slots: int
    width: int
    is_clean: bool
    plan: SlotPlan | None = None


class SlotLayer(CacheLayerMixin):
    """One layer's keys and values."""

    is_sliding = False

    def __init__(self, shape: _Shape) -> None:
        super().__init__()
        self._shape = shape

    def lazy_initialization(self, key_states: NewStates, value_states: NewStates) -> None:
        self.keys, self.values = self._allocate(key_states), self._allocate(value_states)
        self.is_initialized = True

    def update(
        self, key_states: NewStates, value_states: NewStates, *args: Any, **kwargs: Any
    ) -> tuple[Memory, Memory]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self._write(self.keys, key_states)
        self._write(self.values, value_states)
        return self.keys, self.values

    def reshape(self, moves: Mapping[int, tuple[int, int]]) -> None:
        """Take the shape that `_shape` has now; see `SlotCache.reshape`."""
        self.keys, self.values = self._moved(self.keys, moves), self._moved(self.values, moves)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._shape.width, 0

    def get_seq_length(self) -> int:
        return self._shape.width

    def get_max_length(self) -> int:
        return self._shape.width

    def _allocate(self, like: Float[Tensor, "_ num_heads _ head_width"]) -> Memory:
        """Memory of the shape that `_shape` has."""
        _, num_heads, _, head_width = like.shape
        size = (self._shape.num_slots, num_heads, self._shape.width, head_width)
        return like.new_zeros(size) if self._shape.is_clean else like.new_empty(size)

    def _moved(
        self, memory: Memory, moves: Mapping[int, tuple[int, int]]
    ) -> Float[Tensor, "new_slots num_heads new_width head_width"]:
        moved = self._allocate(memory)
        for old, (new, length) in moves.items():
            moved[new, :, :length] = memory[old, :, :length]
        return moved

    def _write(self, memory: Memory, states: NewStates) -> None:
        plan = self._shape.plan
        assert plan is not None, "a forward through a SlotCache needs a plan"
        if plan.num_singles:
            memory[plan.single_slots, :, plan.single_cells] = states[
                0, :, : plan.num_singles
            ].transpose(0, 1)
        for piece in plan.pieces:
            cells = memory[piece.slot, :, piece.start : piece.end]
            cells.copy_(states[0, :, piece.first : piece.first + piece.length])


class SlotCache(Cache):
    """A cache of rows that may stand at different positions.

    Attributes:
        num_slots: rows that it holds.
        width: most tokens of a row.
        in_one_call: single tokens of all rows are computed in one call (see `plan_line`).
    """

    def __init__(self, *, num_slots: int, width: int, in_one_call: bool = False) -> None:
        self.in_one_call = in_one_call
        # one call reads all cells, and weighs what it must not see with 0, which a NaN survives;
        # memory that nobody writes or reads is none that the system has to give
        self._shape = _Shape(num_slots=num_slots, width=width, is_clean=in_one_call)
        super().__init__(layer_class_to_replicate=partial(SlotLayer, self._shape))

    @property
    def num_slots(self) -> int:
        return self._shape.num_slots

    @property
    def width(self) -> int:
        return self._shape.width

    def follow(self, plan: SlotPlan) -> None:
        """Let the next forward write where a plan says."""
        self._shape.plan = plan

    def clear(self, slot: int) -> None:
        """Forget a row, so that no NaN of it can reach the slot's next owner."""
        if not self.in_one_call:
            return
        for layer in self.layers:
            layer.keys[slot] = 0
            layer.values[slot] = 0

    def reshape(self, *, num_slots: int, width: int, moves: Mapping[int, tuple[int, int]]) -> None:
        """Take another shape, layer by layer.

        Args:
            moves: for each slot that is kept its slot from now on and how many tokens it holds.
        """
        self._shape.num_slots, self._shape.width = num_slots, width
        for layer in self.layers:
            layer.reshape(moves)


def check_attention(config: PreTrainedConfig) -> None:
    """See that a language model looks at all that stands before, as slot attention does.

    Raises:
        ValueError: it has layers that look through a window, or that keep no keys and values.
    """
    layer_types = set(getattr(config, "layer_types", None) or []) - {"full_attention"}
    window = getattr(config, "sliding_window", None)
    if layer_types or window is not None:
        found = ", ".join(sorted(layer_types)) or f"sliding_window={window}"
        raise ValueError(
            f"model.language_model: its {config.model_type} has {found}; generation supports "
            "full attention alone, choose another backbone"
        )

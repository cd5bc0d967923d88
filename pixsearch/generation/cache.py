"""Keys and values of many rows of different lengths, one slot of preallocated memory each.

transformers asks a cache for one thing: take the new keys and values of a layer, give all of them
back (`Cache.update`). Where they go is decided here, by `SlotCache.plan`, once per forward; the
model gets position ids and a 4-D mask that say the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import Cache, PreTrainedConfig
from transformers.cache_utils import CacheLayerMixin

MASKED = ("sdpa", "eager")  # kinds of attention that add a 4-D mask, as tested
NewStates = Float[Tensor, "num_rows num_heads chunk head_width"]
SeenStates = Float[Tensor, "num_rows num_heads width head_width"]


@dataclass(kw_only=True)
class _Plan:
    """Where the next forward writes, shared by all layers.

    Attributes:
        slots: the row of memory that belongs to each row of the forward; a slice where they are
            neighbours, so that nothing is copied.
        slot_index, positions: the cell that each new token is written to.
        width: cells from the first that attention looks at, enough for the longest row.
    """

    num_slots: int
    capacity: int
    slots: slice | Int[Tensor, " num_rows"] | None = None
    slot_index: Int[Tensor, "num_rows 1"] | None = None
    positions: Int[Tensor, "num_rows chunk"] | None = None
    width: int = 0


class SlotLayer(CacheLayerMixin):
    """One layer's keys and values, `[slots, heads, capacity + 1, head width]`.

    The last cell takes what padding and resting rows would write; no row ever looks at it.
    """

    is_sliding = False

    def __init__(self, plan: _Plan) -> None:
        super().__init__()
        self._plan = plan

    def lazy_initialization(self, key_states: NewStates, value_states: NewStates) -> None:
        self.keys = self._allocate(key_states)
        self.values = self._allocate(value_states)
        self.is_initialized = True

    def update(
        self, key_states: NewStates, value_states: NewStates, *args: object, **kwargs: object
    ) -> tuple[SeenStates, SeenStates]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        return self._write(self.keys, key_states), self._write(self.values, value_states)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._plan.width, 0

    def get_seq_length(self) -> int:
        return self._plan.width

    def get_max_length(self) -> int:
        return self._plan.capacity

    def _allocate(self, states: NewStates) -> Tensor:
        _, num_heads, _, head_width = states.shape
        cells = self._plan.capacity + 1
        return states.new_zeros(self._plan.num_slots, num_heads, cells, head_width)

    def _write(self, memory: Tensor, states: NewStates) -> SeenStates:
        plan = self._plan
        memory[plan.slot_index, :, plan.positions] = states.transpose(1, 2)
        return memory[plan.slots, :, : plan.width]


class SlotCache(Cache):
    """A cache of `num_slots` rows that may stand at different positions.

    A row's token at position p lies in cell p of its slot, so that a row is processed in as many
    pieces as one likes, and the pieces of several rows in one forward:

        positions, mask = cache.plan(slots=[0, 2], starts=[17, 40], lengths=[3, 1])
        model(inputs_embeds=…, position_ids=positions, attention_mask=mask, past_key_values=cache)

    Args:
        capacity: most tokens of a row.
    """

    def __init__(self, *, num_slots: int, capacity: int) -> None:
        self._plan = _Plan(num_slots=num_slots, capacity=capacity)
        super().__init__(layer_class_to_replicate=partial(SlotLayer, self._plan))

    def plan(
        self,
        *,
        slots: Sequence[int],
        starts: Sequence[int],
        lengths: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> tuple[Int[Tensor, "num_rows chunk"], Float[Tensor, "num_rows 1 chunk width"]]:
        """Prepare the next forward: `slots[i]` gets `lengths[i]` tokens from `starts[i]` on.

        Shorter rows are padded on the right. A row of length 0 rests: it takes part in the forward
        so that its neighbours' memory need not be copied, and nothing of it is kept.

        Returns:
            The tokens' places in their sequences, and the mask that is added to the attention
            scores.
        """
        start = torch.tensor(starts, device=device)[:, None]
        length = torch.tensor(lengths, device=device)[:, None]
        offset = torch.arange(max(1, *lengths) if lengths else 1, device=device)[None, :]
        positions = start + torch.minimum(offset, (length - 1).clamp(min=0))
        plan = self._plan
        plan.positions = torch.where(offset < length, start + offset, plan.capacity)
        plan.slot_index = torch.tensor(slots, device=device)[:, None]
        plan.slots = _as_slice(slots) or plan.slot_index[:, 0]
        plan.width = max(1, *(s + n for s, n in zip(starts, lengths, strict=True)))
        return positions, _causal_mask(positions, plan.width, dtype)

    def clear(self, slot: int, *, length: int) -> None:
        """Forget a row, so that nothing of it, a NaN for one, can reach the slot's next owner."""
        for layer in self.layers:
            layer.keys[slot, :, :length] = 0
            layer.values[slot, :, :length] = 0

    def move(self, *, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of one slot to another and forget them at the source."""
        for layer in self.layers:
            layer.keys[target, :, :length] = layer.keys[source, :, :length]
            layer.values[target, :, :length] = layer.values[source, :, :length]
        self.clear(source, length=length)


def check_attention(config: PreTrainedConfig) -> None:
    """See that a language model looks at all that stands before, as the masks made here do.

    Raises:
        ValueError: it has layers that look through a window, or that keep no keys and values; or
            its attention takes no such masks.
    """
    if config._attn_implementation not in MASKED:
        raise ValueError(
            f"the language model attends by {config._attn_implementation}, generation masks by "
            f"{' or '.join(MASKED)} alone: load it with attn_implementation={MASKED[0]!r}"
        )
    layer_types = set(getattr(config, "layer_types", None) or []) - {"full_attention"}
    window = getattr(config, "sliding_window", None)
    if layer_types or window is not None:
        found = ", ".join(sorted(layer_types)) or f"sliding_window={window}"
        raise ValueError(
            f"model.language_model: its {config.model_type} has {found}; generation supports "
            "full attention alone, choose another backbone"
        )


def _as_slice(slots: Sequence[int]) -> slice | None:
    """The slice that names the same slots, if they are neighbours in rising order."""
    first = slots[0]
    if list(slots) == list(range(first, first + len(slots))):
        return slice(first, first + len(slots))
    return None


def _causal_mask(
    positions: Int[Tensor, "num_rows chunk"], width: int, dtype: torch.dtype
) -> Float[Tensor, "num_rows 1 chunk width"]:
    """0 where a token may look (itself and what stands before it), the lowest number elsewhere.

    Added, not boolean: transformers' eager attention adds whatever it is given.
    """
    cells = torch.arange(width, device=positions.device)
    hidden = cells > positions[:, None, :, None]
    return torch.zeros(hidden.shape, dtype=dtype, device=positions.device).masked_fill_(
        hidden, torch.finfo(dtype).min
    )

"""The rows that are in flight, one per slot of the cache, and the forwards that they need."""

from collections import deque
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pixsearch.config import SegState
from pixsearch.generation.cache import SlotCache
from pixsearch.generation.records import EngineStats
from pixsearch.generation.row import Row
from pixsearch.model import ImageFeatures, PixSearch
from pixsearch.model.backbone import Embedded, position_ids


class SlotBatch:
    """Rows in the slots 0, 1, …, without holes, so that a decode step reads the cache in place.

    Each id of a row is processed once: `forward` runs what is pending, be it a prompt, the evidence
    of a search or one sampled token.
    """

    def __init__(
        self, model: PixSearch, *, num_slots: int, capacity: int, stats: EngineStats
    ) -> None:
        self.rows: list[Row] = []
        self._model = model
        self._num_slots = num_slots
        self._cache = SlotCache(num_slots=num_slots, capacity=capacity)
        self._stats = stats
        self._pad = model.config.ids.pad
        self._keeps_seg_state = SegState(model.config.seg_state) is SegState.token
        self._next_states: Float[Tensor, "num_slots hidden"] | None = None

    def replace_finished(self, waiting: deque[Row]) -> tuple[list[Row], list[Row]]:
        """Take finished rows out and let waiting ones into all free slots.

        Returns:
            The rows that left and those that entered.
        """
        left, entered = [], []
        for slot, row in enumerate(self.rows):
            if row.finish_reason is not None:
                left.append(row)
                self._cache.clear(slot, length=row.num_processed)
                if waiting:
                    self.rows[slot] = waiting.popleft()
                    entered.append(self.rows[slot])
        while waiting and len(self.rows) < self._num_slots:
            self.rows.append(waiting.popleft())
            entered.append(self.rows[-1])
        self._close_holes()
        return left, entered

    def forward(self) -> None:
        """Process what is pending: new rows, rows with evidence, one token of each other row."""
        entered = [slot for slot, row in enumerate(self.rows) if row.num_processed == 0]
        if entered:
            self._forward(entered)
            self._stats.prefill_forwards += 1
        injected = [slot for slot, row in enumerate(self.rows) if len(row.pending_ids) > 1]
        if injected:
            self._forward(injected)
            self._stats.evidence_forwards += 1
        if any(row.pending_ids for row in self.rows):
            self._forward(range(len(self.rows)))  # rows with nothing pending rest
            self._stats.decode_forwards += 1

    @property
    def next_states(self) -> Float[Tensor, "num_rows hidden"]:
        """For each row the state that predicts its next token."""
        return self._next_states[: len(self.rows)]

    def _close_holes(self) -> None:
        """Move rows from the end into the slots of finished rows that no waiting row took."""
        slot = 0
        while slot < len(self.rows):
            if self.rows[slot].finish_reason is None:
                slot += 1
                continue
            last = self.rows.pop()
            if last.finish_reason is None:
                self._cache.move(source=len(self.rows), target=slot, length=last.num_processed)
                self.rows[slot] = last

    def _forward(self, slots: Sequence[int]) -> None:
        rows = [self.rows[slot] for slot in slots]
        pending = [row.pending_ids for row in rows]
        lengths = [len(ids) for ids in pending]
        embedded = self._embed(rows, pending)
        cells, mask = self._cache.plan(
            slots=slots,
            starts=[row.num_processed for row in rows],
            lengths=lengths,
            dtype=embedded.embeddings.dtype,
            device=embedded.embeddings.device,
        )
        positions = position_ids(
            self._model.family,
            cells,
            first=[row.first_placeholder for row in rows],
            sizes=[row.features.sizes[0] if row.features else None for row in rows],
        )
        states = self._model.language_states(
            embedded, mask, position_ids=positions, cache=self._cache
        )
        self._keep(states, slots, lengths)
        for row in rows:
            self._stats.processed.update(row.rendered.token_kind[row.num_processed :])
            row.num_processed = len(row.rendered)

    def _embed(self, rows: Sequence[Row], pending: Sequence[list[int]]) -> Embedded:
        """Embeddings of the pending ids, padded on the right; images stand in prompts alone."""
        chunk = max(len(ids) for ids in pending)
        padded = [ids + [self._pad] * (chunk - len(ids)) for ids in pending]
        input_ids = torch.tensor(padded, device=self._model.device)
        is_prompt = rows[0].num_processed == 0
        seen = [row for row in rows if is_prompt and row.features is not None]
        if not seen:
            return self._model.embed(input_ids, None, None)
        features = ImageFeatures.cat([row.features for row in seen]).to(device=input_ids.device)
        return self._model.embed(input_ids, features, self._image_index(rows))

    def _image_index(self, rows: Sequence[Row]) -> Int[Tensor, " num_rows"]:
        """Place of each row's image among those of `rows`, -1 without one."""
        has_image = torch.tensor([row.features is not None for row in rows])
        index = torch.where(has_image, has_image.cumsum(0) - 1, -1)
        return index.to(self._model.device)

    def _keep(
        self,
        states: Float[Tensor, "num_rows chunk hidden"],
        slots: Sequence[int],
        lengths: Sequence[int],
    ) -> None:
        """Keep the states that predict the next tokens, and those that masks may need."""
        if self._next_states is None:
            self._next_states = states.new_zeros(self._num_slots, states.shape[-1])
        moved = [index for index, length in enumerate(lengths) if length]
        last = [lengths[index] - 1 for index in moved]
        self._next_states[[slots[index] for index in moved]] = states[moved, last]
        for index in moved:
            row = self.rows[slots[index]]
            if row.limits.tags_phrases:
                row.states.append(states[index, : lengths[index]].clone())
            elif self._keeps_seg_state and row.grounded:
                phrase = row.grounded[-1]
                if phrase.position == row.num_processed:
                    phrase.states = states[index, :1].clone()

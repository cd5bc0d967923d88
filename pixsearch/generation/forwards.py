"""One forward of the language model for whatever is pending of many rows, without padding."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pixsearch.config import SegState
from pixsearch.generation.cache import SlotCache
from pixsearch.generation.records import EngineStats
from pixsearch.generation.row import Row
from pixsearch.generation.slot_attention import plan_line, slot_attention
from pixsearch.model import ImageFeatures, PixSearch
from pixsearch.model.backbone import Embedded, position_ids


class Forwards:
    """Processes prompts, evidence and sampled tokens of many rows in one line.

    The line: rows with one pending token, then longer pieces that hold no image, then rows that
    begin with one.
    """

    def __init__(self, model: PixSearch, stats: EngineStats) -> None:
        self._model = model
        self._stats = stats
        self._pad = model.config.ids.pad
        self._keeps_seg_state = SegState(model.config.seg_state) is SegState.token

    def run(self, rows: Sequence[Row], cache: SlotCache) -> Float[Tensor, "num_rows width"]:
        """Process all pending ids of rows that have a slot; each has at least one.

        Returns:
            For each row the state that predicts its next token.
        """
        order = sorted(range(len(rows)), key=lambda index: _place_in_line(rows[index]))
        line = [rows[index] for index in order]
        lengths = [row.num_pending for row in line]
        embedded = self._embed(line)
        plan = plan_line(
            slots=[row.slot for row in line],
            starts=[row.num_processed for row in line],
            lengths=lengths,
            num_slots=cache.num_slots,
            width=cache.width,
            in_one_call=cache.in_one_call,
            dtype=embedded.embeddings.dtype,
            device=self._model.device,
        )
        cache.follow(plan)
        with slot_attention(self._model.backbone.model.language_model.config):
            states = self._model.language_states(
                embedded, position_ids=self._positions(line), cache=cache, slot_plan=plan
            )[0]
        ends = torch.tensor(lengths).cumsum(0).tolist()
        for row, end, length in zip(line, ends, lengths, strict=True):
            self._keep(row, states[end - length : end])
            self._account(row)
        behind = {index: end - 1 for index, end in zip(order, ends, strict=True)}
        return states[[behind[index] for index in range(len(rows))]]

    def _embed(self, line: Sequence[Row]) -> Embedded:
        """Embeddings of the pending ids; images stand in rows that begin."""
        plain = [row for row in line if not _begins_with_image(row)]
        seen = line[len(plain) :]
        parts = []
        if plain:
            ids = [token for row in plain for token in row.pending_ids]
            parts.append(self._model.embed(torch.tensor([ids], device=self._model.device)))
        if seen:
            parts.append(self._embed_images(seen))
        return _joined(parts)

    def _embed_images(self, rows: Sequence[Row]) -> Embedded:
        device = self._model.device
        longest = max(row.num_pending for row in rows)
        padded = [row.pending_ids + [self._pad] * (longest - row.num_pending) for row in rows]
        features = ImageFeatures.cat([row.features for row in rows]).to(device=device)
        image_index = torch.arange(len(rows), device=device)
        found = self._model.embed(torch.tensor(padded, device=device), features, image_index)
        lengths = torch.tensor([row.num_pending for row in rows], device=device)
        is_token = torch.arange(longest, device=device) < lengths[:, None]
        return Embedded(
            embeddings=found.embeddings[is_token][None],
            is_image=found.is_image[is_token][None],
            deepstack=found.deepstack,
        )

    def _positions(self, line: Sequence[Row]) -> Int[Tensor, "*axes 1 line"]:
        num_singles = sum(row.num_pending == 1 for row in line)
        parts = []
        if num_singles:
            cells = torch.tensor([[row.num_processed] for row in line[:num_singles]])
            parts.append(self._axes(cells, line[:num_singles]).transpose(-1, -2))
        for row in line[num_singles:]:
            cells = torch.arange(row.num_processed, len(row.rendered))[None]
            parts.append(self._axes(cells, [row]))
        return torch.cat(parts, dim=-1).to(self._model.device)

    def _axes(
        self, cells: Int[Tensor, "num_rows length"], rows: Sequence[Row]
    ) -> Int[Tensor, "*axes num_rows length"]:
        return position_ids(
            self._model.family,
            cells,
            first=[row.first_placeholder for row in rows],
            sizes=[row.features.sizes[0] if row.features else None for row in rows],
        )

    def _keep(self, row: Row, states: Float[Tensor, "length width"]) -> None:
        """Keep the states that a mask may need, and no others.

        Of a row whose phrases are tagged these are all: the tagger attends to the whole row.
        """
        if row.limits.tags_phrases:
            row.states.append(states.clone())
        if not self._keeps_seg_state or not row.grounded:
            return
        phrase = row.grounded[-1]
        place = phrase.position - row.num_processed
        if phrase.states is None and phrase.mask is None and place >= 0:
            phrase.states = states[place : place + 1].clone()

    def _account(self, row: Row) -> None:
        """Count what was processed, and apart from it what had been processed before."""
        kinds = row.rendered.token_kind
        self._stats.recomputed_tokens += max(0, row.num_counted - row.num_processed)
        self._stats.processed.update(kinds[max(row.num_processed, row.num_counted) :])
        row.num_processed = len(row.rendered)
        row.num_counted = max(row.num_counted, row.num_processed)


def count_forward(rows: Sequence[Row], stats: EngineStats) -> None:
    """Count a forward of these rows by what it is for, before it runs.

    Several tokens are pending behind processed ones only where evidence has come.
    """
    singles = sum(row.num_pending == 1 for row in rows)
    begin = sum(row.num_processed == 0 for row in rows)
    stats.forwards += 1
    stats.prefill_forwards += begin > 0
    stats.reused_tokens += sum(row.num_processed for row in rows if row.num_pending > 1)
    stats.evidence_forwards += len(rows) > singles + begin
    stats.decode_steps += singles > 0


def _begins_with_image(row: Row) -> bool:
    return row.num_processed == 0 and row.features is not None


def _place_in_line(row: Row) -> tuple[bool, bool]:
    return row.num_pending > 1, _begins_with_image(row)


def _joined(parts: Sequence[Embedded]) -> Embedded:
    """One line behind another."""
    if len(parts) == 1:
        return parts[0]
    plain, seen = parts
    no_image = torch.zeros_like(plain.embeddings[..., 0], dtype=torch.bool)
    return Embedded(
        embeddings=torch.cat([plain.embeddings, seen.embeddings], dim=1),
        is_image=torch.cat([no_image, seen.is_image], dim=1),
        deepstack=seen.deepstack,
    )

"""Which token comes next: the logits, what the grammar bars, and the choice among the rest."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pixsearch.config import SegState
from pixsearch.generation.constraints import VocabularyConstraints
from pixsearch.generation.grammar import Phase, TokenClass, allowed_next, can_open_search
from pixsearch.generation.row import Row
from pixsearch.generation.spans import SpanTagging
from pixsearch.model import PixSearch

Choose = Callable[[Float[Tensor, "num_rows vocabulary"], Sequence[Row]], Int[Tensor, " num_rows"]]
"""Logits, minus infinity where the grammar bars a token, and their rows -> the next ids."""


def greedy(
    logits: Float[Tensor, "num_rows vocabulary"], rows: Sequence[Row]
) -> Int[Tensor, " num_rows"]:
    """The likeliest token of each row."""
    return logits.argmax(dim=-1)


class Choosing:
    """Chooses the next token of many rows and appends it."""

    def __init__(self, model: PixSearch, spans: SpanTagging, choose: Choose) -> None:
        self._model = model
        self._spans = spans
        self._choose = choose
        self._keeps_predicting_state = SegState(model.config.seg_state) is SegState.predicting
        self._search_id = model.config.ids.search
        self._constraints: VocabularyConstraints | None = None  # made at the first logits

    def append_next(
        self, rows: Sequence[Row], states: Float[Tensor, "num_rows width"]
    ) -> list[Row]:
        """Give each row the token that its state predicts; close answers that end in words.

        Returns:
            The rows whose logits are not finite. They got no token: an argmax would take a NaN for
            a word.
        """
        logits = self._model.next_logits(states).float()
        constraints = self._constraints_of(logits)
        is_finite = torch.isfinite(logits).all(dim=-1)
        logits = torch.where(is_finite[:, None], logits, 0)
        allowed = [allowed_next(row.state, row.limits) for row in rows]
        banned = constraints.banned(allowed)
        tokens = self._choose(logits.masked_fill(banned, -torch.inf), rows)
        barred = banned.gather(1, tokens[:, None])[:, 0]
        seen = torch.stack([tokens, logits.argmax(dim=-1), is_finite, barred])
        chosen, wished, finite, was_barred = seen.tolist()  # the one wait for the device
        assert not any(was_barred), "`choose` took a barred token"
        broken = []
        for index, row in enumerate(rows):
            if not finite[index]:
                broken.append(row)
                continue
            self._note_wish(row, wished[index], allowed[index])
            token = chosen[index]
            if token == self._search_id and row.limits.tags_phrases:
                one = slice(index, index + 1)
                token = self._read_before_search(row, logits[one], banned[one])
            self._append(row, token, constraints.class_of(token), states[index])
        return broken

    def _read_before_search(
        self,
        row: Row,
        logits: Float[Tensor, "1 vocabulary"],
        banned: Bool[Tensor, "1 vocabulary"],
    ) -> int:
        """Tag what a row has written that opens a search; one that can have no payload is undone.

        Returns:
            `<search>`, or what comes in its place.
        """
        num_tagged = row.num_tagged
        self._spans.read([row])
        if can_open_search(row.state, row.limits):
            return self._search_id
        row.num_tagged = num_tagged  # nothing is read before a search that does not come
        row.wanted_search = True
        banned[:, self._search_id] = True
        token = int(self._choose(logits.masked_fill(banned, -torch.inf), [row])[0])
        assert not banned[0, token], "`choose` took a barred token"
        return token

    def _append(
        self, row: Row, token: int, token_class: TokenClass, state: Float[Tensor, " width"]
    ) -> None:
        row.append(token, token_class)
        if token_class is TokenClass.SEG and self._keeps_predicting_state:
            row.grounded[-1].states = state[None].clone()
        if row.state.phase is Phase.ANSWER and self._model.renderer.has_ended(row.rendered):
            row.end(self._model.config.ids.end)

    def _note_wish(self, row: Row, wished: int, allowed: TokenClass) -> None:
        """Mark a row that would now search if it might."""
        if wished == self._search_id and row.state.phase is Phase.ANSWER:
            row.wanted_search |= TokenClass.SEARCH not in allowed

    def _constraints_of(
        self, logits: Float[Tensor, "num_rows vocabulary"]
    ) -> VocabularyConstraints:
        """The constraints for the width that the logits have."""
        if self._constraints is None:
            tokenizer, ids = self._model.tokenizer, self._model.config.ids
            vocabulary_size = logits.shape[-1]
            no_words = {*tokenizer.all_special_ids, *range(len(tokenizer), vocabulary_size)}
            self._constraints = VocabularyConstraints(
                ids, vocabulary_size=vocabulary_size, never=no_words, device=logits.device
            )
        return self._constraints

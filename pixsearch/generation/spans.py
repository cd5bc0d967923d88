"""Which of the words that rows have written are grounded, where a tagger tells."""

from collections.abc import Iterable, Sequence

import torch

from pixsearch.generation.row import GroundedPhrase, Row
from pixsearch.model import PixSearch
from pixsearch.model.grounding import SpanGrounding
from pixsearch.model.span_tagger import find_spans
from pixsearch.rendering import TokenKind
from pixsearch.tokens import TokenIds


class SpanTagging:
    """Reads what a row has written since it was last read, before a search or at its end.

    A tag thus hangs on nothing that comes after the search, as in training.
    """

    def __init__(self, model: PixSearch) -> None:
        self._grounding = model.grounding
        self._ids = model.config.ids

    def read(self, rows: Iterable[Row]) -> None:
        """Take the phrases that are grounded in rows of which all ids but an end are processed."""
        for row in rows:
            if row.limits.tags_phrases and row.num_tagged < row.num_processed:
                self._read(row)

    def _read(self, row: Row) -> None:
        """One row by itself: what it finds then does not hang on its neighbours."""
        assert isinstance(self._grounding, SpanGrounding)
        states = torch.cat(row.states)
        row.states = [states]
        start, end = row.num_tagged, row.num_processed
        scores = self._grounding.tagger(states[None, start:], states[None])[0]
        is_own = words_of_answer(
            row.rendered.input_ids[start:end], row.rendered.token_kind[start:end], self._ids
        )
        row.ground(
            [
                GroundedPhrase(
                    words=start + first,
                    position=start + behind - 1,
                    features=row.features,
                    states=states[start + first : start + behind],
                )
                for first, behind in find_spans(scores, is_own)
            ]
        )
        row.num_tagged = end


def words_of_answer(
    input_ids: Sequence[int], kinds: Sequence[TokenKind], ids: TokenIds
) -> list[bool]:
    """Where the model's own words stand: no special token, no words of a query."""
    is_own, in_search = [], False
    for token, kind in zip(input_ids, kinds, strict=True):
        in_search = token == ids.search or (in_search and token != ids.search_end)
        special = token == ids.end or token in ids.never_in_text
        is_own.append(kind is TokenKind.GENERATED and not in_search and not special)
    return is_own

"""The one engine: decode, stop at a search, inject what came back, go on."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from itertools import chain

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pixsearch.config import GenerationOptions, PolicyOptions, SegState
from pixsearch.generation.answering import AnyEngine, check_requests, refuse_not_finite
from pixsearch.generation.batch import SlotBatch
from pixsearch.generation.cache import check_attention
from pixsearch.generation.constraints import VocabularyConstraints
from pixsearch.generation.events import Event, Finished
from pixsearch.generation.features import IMAGES_PER_BATCH, RecentFeatures, RequestImages
from pixsearch.generation.grammar import Phase, TokenClass, allowed_next, can_open_search
from pixsearch.generation.masks import MaskDecoding
from pixsearch.generation.records import EngineStats, Request, Trajectory
from pixsearch.generation.row import Row, longest_row, open_row
from pixsearch.generation.searching import Searching
from pixsearch.generation.spans import SpanTagging
from pixsearch.model import ImageFeatures, PixSearch
from pixsearch.queries import Search

Choose = Callable[[Float[Tensor, "num_rows vocabulary"], Sequence[Row]], Int[Tensor, " num_rows"]]
"""Logits, minus infinity where the grammar bars a token, and their rows -> the next ids."""


def greedy(
    logits: Float[Tensor, "num_rows vocabulary"], rows: Sequence[Row]
) -> Int[Tensor, " num_rows"]:
    """The likeliest token of each row."""
    return logits.argmax(dim=-1)


class Engine(AnyEngine):
    """Answers requests under a policy.

        engine = Engine(model, searcher.search, PolicyOptions(), GenerationOptions())
        request = Request(id="1", question="Who made this cup?", image=image)
        (trajectory,) = engine.generate([request])

    Each round:
        1. finished rows leave their slots, waiting requests enter at once;
        2. one retrieval for all rows that closed a search: its evidence is appended as ids;
        3. each row's pending ids are processed: prompts together, evidence together, single tokens
           together; the cache is kept, nothing is computed twice;
        4. the grammar bars what may not come, and each row takes its next token; where phrases are
           tagged, a row that opens a search is read by the tagger first.

    Args:
        search: the retriever; the caller binds `policy.k` and `policy.region_crop` to it.
        feature_cache: key of an image → its features, kept by the caller and shared among engines;
            by default only the most recent images are kept.
        choose: how the next ids are drawn from the logits.

    Raises:
        ValueError: the language model does not look at all that stands before.
        FloatingPointError: (when it answers) a logit or a mask is not finite.
    """

    def __init__(
        self,
        model: PixSearch,
        search: Search,
        policy: PolicyOptions,
        options: GenerationOptions,
        *,
        feature_cache: MutableMapping[str, ImageFeatures] | None = None,
        choose: Choose = greedy,
    ) -> None:
        check_attention(model.backbone.model.language_model.config)
        self.stats = EngineStats()
        self._model = model
        self._policy = policy
        self._options = options
        self._choose = choose
        if feature_cache is None:
            feature_cache = RecentFeatures(2 * max(options.batch_size, IMAGES_PER_BATCH))
        self._images = RequestImages(model, feature_cache, self.stats)
        self._masks = MaskDecoding(model, self.stats)
        self._spans = SpanTagging(model)
        self._searching = Searching(
            search=search,
            policy=policy,
            renderer=model.renderer,
            masks=self._masks,
            stats=self.stats,
        )
        self._keeps_predicting_state = SegState(model.config.seg_state) is SegState.predicting
        self._search_id = model.config.ids.search
        self._constraints: VocabularyConstraints | None = None  # made at the first logits

    def stream(self, requests: Iterable[Request]) -> Iterator[Event]:
        rows = self._open(list(requests))
        if not rows:
            return
        batch = SlotBatch(
            self._model,
            num_slots=min(self._options.batch_size, len(rows)),
            capacity=longest_row(rows),
            stats=self.stats,
        )
        waiting, finished = deque(rows), []
        with _evaluating(self._model):
            while waiting or batch.rows:
                finished += self._round(batch, waiting)
                if len(finished) >= self._options.batch_size or not batch.rows:
                    for trajectory in self._finish(finished):
                        yield Finished(request_id=trajectory.request_id, trajectory=trajectory)
                    finished = []

    def _open(self, requests: Sequence[Request]) -> list[Row]:
        check_requests(requests)
        text_config = self._model.config.backbone.get_text_config()
        return [
            open_row(
                request,
                renderer=self._model.renderer,
                policy=self._policy,
                options=self._options,
                num_image_tokens=self._model.num_image_tokens(request.image),
                num_positions=getattr(text_config, "max_position_embeddings", None),
            )
            for request in requests
        ]

    @torch.no_grad()
    def _round(self, batch: SlotBatch, waiting: deque[Row]) -> list[Row]:
        """One round of all rows, see the class; returns the rows that left."""
        left, entered = batch.replace_finished(waiting)
        for index, row in enumerate(entered):
            upcoming = (other.request for other in chain(entered[index + 1 :], waiting))
            row.features = self._images.features_of(row.request, upcoming)
        asking = [row for row in batch.rows if row.awaits_evidence]
        if asking:
            self._searching.answer(asking)
        if batch.rows:
            batch.forward()
            self._take_next(batch)
        return left

    def _take_next(self, batch: SlotBatch) -> None:
        """Choose the next token of each row and append it."""
        states, rows = batch.next_states, batch.rows
        logits = self._model.next_logits(states).float()
        is_finite = torch.isfinite(logits).all(dim=-1).tolist()
        refuse_not_finite(is_finite, [row.request.id for row in rows])
        constraints = self._constraints_of(logits)
        allowed = [allowed_next(row.state, row.limits) for row in rows]
        self._note_wishes(logits, rows, allowed)
        banned = constraints.banned(allowed)
        tokens = self._choose_allowed(logits, rows, banned)
        self._read_before_searches(logits, rows, banned, tokens)
        for row, token, state in zip(rows, tokens.tolist(), states, strict=True):
            self._take(row, token, constraints.class_of(token), state)

    def _choose_allowed(
        self,
        logits: Float[Tensor, "num_rows vocabulary"],
        rows: Sequence[Row],
        banned: Bool[Tensor, "num_rows vocabulary"],
    ) -> Int[Tensor, " num_rows"]:
        tokens = self._choose(logits.masked_fill(banned, -torch.inf), rows)
        assert not banned.gather(1, tokens[:, None]).any(), "`choose` took a barred token"
        return tokens

    def _read_before_searches(
        self,
        logits: Float[Tensor, "num_rows vocabulary"],
        rows: Sequence[Row],
        banned: Bool[Tensor, "num_rows vocabulary"],
        tokens: Int[Tensor, " num_rows"],
    ) -> None:
        """Tag what rows have written that open a search; one that cannot have a payload is undone.

        Changes `tokens` and `banned` in place.
        """
        for index in (tokens == self._search_id).nonzero()[:, 0].tolist():
            row = rows[index]
            num_tagged = row.num_tagged
            self._spans.read([row])
            if not can_open_search(row.state, row.limits):
                row.num_tagged = num_tagged  # nothing is read before a search that does not come
                row.wanted_search = True
                banned[index, self._search_id] = True
                one = slice(index, index + 1)
                tokens[one] = self._choose_allowed(logits[one], [row], banned[one])

    def _take(
        self, row: Row, token: int, token_class: TokenClass, state: Float[Tensor, " hidden"]
    ) -> None:
        """Append a token that `state` predicted; close an answer that ends in words."""
        row.append(token, token_class)
        if token_class is TokenClass.SEG and self._keeps_predicting_state:
            row.grounded[-1].states = state[None].clone()
        if row.state.phase is Phase.ANSWER and self._model.renderer.has_ended(row.rendered):
            row.end(self._model.config.ids.end)

    def _note_wishes(
        self,
        logits: Float[Tensor, "num_rows vocabulary"],
        rows: Sequence[Row],
        allowed: Sequence[TokenClass],
    ) -> None:
        """Mark the rows that would now search if they might."""
        wishes = (logits.argmax(dim=-1) == self._search_id).tolist()
        for row, wishes_search, classes in zip(rows, wishes, allowed, strict=True):
            if wishes_search and row.state.phase is Phase.ANSWER:
                row.wanted_search |= TokenClass.SEARCH not in classes

    @torch.no_grad()
    def _finish(self, rows: Sequence[Row]) -> list[Trajectory]:
        """The trajectories of finished rows; the masks still missing are decoded together."""
        self._spans.read(rows)
        self._masks.decode(phrase for row in rows for phrase in row.grounded)
        trajectories = [row.trajectory(self._model.renderer) for row in rows]
        for row in rows:
            row.forget()
        return trajectories

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


@contextmanager
def _evaluating(model: PixSearch) -> Iterator[None]:
    """The model without dropout; afterwards as it was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)

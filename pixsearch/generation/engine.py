"""The one engine: decode, stop at a search, inject what came back, go on."""

import threading
from collections.abc import Generator, Iterable, Iterator, MutableMapping
from contextlib import contextmanager

from pixsearch.config import GenerationOptions, PolicyOptions
from pixsearch.generation.answering import AnyEngine
from pixsearch.generation.cache import check_attention
from pixsearch.generation.cache_budget import FREE_SHARE, cache_budget
from pixsearch.generation.choosing import Choose, Choosing, greedy
from pixsearch.generation.events import Event, Finished
from pixsearch.generation.features import IMAGES_PER_BATCH, RecentFeatures, RequestImages
from pixsearch.generation.forwards import Forwards
from pixsearch.generation.masks import MaskDecoding
from pixsearch.generation.prompting import open_row
from pixsearch.generation.records import EngineStats, Request
from pixsearch.generation.row import Row
from pixsearch.generation.searching import Searching
from pixsearch.generation.session import Parts, Session
from pixsearch.generation.slot_attention import likes_one_call
from pixsearch.generation.slots import Slots
from pixsearch.generation.spans import SpanTagging
from pixsearch.generation.telling import Telling
from pixsearch.model import ImageFeatures, PixSearch
from pixsearch.queries import Search


class Engine(AnyEngine):
    """Answers requests under a policy.

        policy = PolicyOptions()
        engine = Engine(model, search_under(policy, searcher), policy, GenerationOptions())
        request = Request(id="1", question="Who made this cup?", image=image)
        (trajectory,) = engine.generate([request])

    Many requests are in flight at a time, each at its own place in its answer (see `Session`): one
    forward processes the prompts of new ones, the evidence of those whose search has come back and
    one token of each other. Searches run in threads of their own, so that a request that waits for
    the retriever holds up no other. The cache is kept across a search: nothing is computed twice,
    but where memory is short or a search takes long (`generation.keep_slot_seconds`). Which tokens
    a request gets hangs neither on its neighbours nor on when its searches come back, up to the
    rounding of sums.

    A request that cannot be answered ends alone, as its `Finished.failure` says.

    Args:
        search: the retriever; the caller binds `policy.k` and `policy.region_crop` to it. It is
            called from other threads, in `generation.search_threads` calls at a time, or as many
            as it says itself (`calls_at_a_time`).
        feature_cache: key of an image → its features, kept by the caller and shared among engines;
            by default only the most recent images are kept.
        choose: how the next ids are drawn from the logits.
        keeps_mask_logits: trajectories hold the logits of their masks.

    Raises:
        ValueError: the language model does not look at all that stands before.
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
        keeps_mask_logits: bool = False,
    ) -> None:
        text_config = model.config.backbone.get_text_config()
        check_attention(text_config)
        self.stats = EngineStats()
        self._model = model
        self._search = search
        self._policy = policy
        self._options = options
        if feature_cache is None:
            feature_cache = RecentFeatures(2 * max(options.batch_size, IMAGES_PER_BATCH))
        self._images = RequestImages(model, feature_cache, self.stats)
        self._keeps_mask_logits = keeps_mask_logits
        self._masks = MaskDecoding(model, self.stats, keeps_logits=keeps_mask_logits)
        self._spans = SpanTagging(model)
        self._choosing = Choosing(model, self._spans, choose)
        self._forwards = Forwards(model, self.stats)
        self._num_positions = getattr(text_config, "max_position_embeddings", None)
        self._budget = cache_budget(options.cache_gib, text_config, model.dtype, model.device)

    def stream(self, requests: Iterable[Request]) -> Generator[Event, None, None]:
        return self._run(iter(requests), tells_all=True)

    def finished(self, requests: Iterable[Request]) -> Generator[Finished, None, None]:
        return self._run(iter(requests), tells_all=False)

    def open(self, request: Request) -> Row:
        """A request as a row that a session takes. From any thread.

        Raises:
            ValueError: it cannot be answered: it is beyond a limit, or does not fit the length that
                a sequence may have, or the memory for keys and values.
        """
        row = open_row(
            request,
            renderer=self._model.renderer,
            policy=self._policy,
            options=self._options,
            num_image_tokens=self._model.num_image_tokens(request.image),
            num_positions=self._num_positions,
        )
        if row.longest > self._budget:
            gib = self._options.cache_gib
            share = f"{FREE_SHARE:.0%} of the free memory" if gib is None else gib
            raise ValueError(
                f"request {request.id} may take {row.longest} tokens, "
                f"generation.cache_gib={share} holds {self._budget}: raise it, "
                "or lower generation.max_length"
            )
        return row

    @contextmanager
    def session(self, wake: threading.Event, *, tells_all: bool) -> Iterator[Session]:
        """Rows in flight, for as long as the context lasts; the model is without dropout then.

        Args:
            wake: see `Session`.
            tells_all: tell of what happens on the way too, not of the ends alone.
        """
        session = Session(self._parts(wake, tells_all), self._options, self.stats, wake)
        was_training = self._model.training
        self._model.eval()
        try:
            yield session
        finally:
            session.close()  # its threads end, but for those whose call has not come back
            self._model.train(was_training)

    def _run(self, requests: Iterator[Request], *, tells_all: bool) -> Generator[Event, None, None]:
        with self.session(threading.Event(), tells_all=tells_all) as session:
            while True:
                while session.wants_more and (request := next(requests, None)) is not None:
                    session.add(self.open(request))
                if session.is_idle:
                    return
                session.round()
                yield from session.take_events()

    def _parts(self, wake: threading.Event, tells_all: bool) -> Parts:
        searching = Searching(
            search=self._search,
            policy=self._policy,
            options=self._options,
            renderer=self._model.renderer,
            masks=self._masks,
            stats=self.stats,
            wake=wake.set,
        )
        max_slots = self._options.batch_size + self._options.waiting_slots
        return Parts(
            images=self._images,
            forwards=self._forwards,
            choosing=self._choosing,
            spans=self._spans,
            masks=self._masks,
            searching=searching,
            slots=Slots(
                max_slots=max_slots,
                budget=self._budget,
                stats=self.stats,
                in_one_call=likes_one_call(self._model.device),
            ),
            telling=Telling(
                self._model.renderer,
                tells_all=tells_all,
                with_mask_logits=self._keeps_mask_logits,
            ),
        )

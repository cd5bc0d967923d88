"""What goes into the engine and what comes out of it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from hashlib import blake2b

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from pixsearch.chat import Conversation, Message, Role, Text
from pixsearch.config import OnEmptyMask, QueryType
from pixsearch.queries import Passage
from pixsearch.rendering import Rendered, TokenKind

Mask = Bool[np.ndarray, "height width"]
RegionOverride = Callable[[int, Mask], Mask]
"""(number of region searches earlier in the answer, predicted mask) -> the mask to search with."""

FindRegion = Callable[[], Mask]
"""-> the mask of `policy.forced_first=region`, in the image's own pixels; empty: nothing found."""


class FinishReason(StrEnum):
    """Why an answer ended."""

    end = "end"  # the model wrote the end token of its own accord
    forced_answer = "forced_answer"  # so it did, but it had wanted to search where that was barred
    length = "length"  # the end token was forced, `max_new_tokens` or `max_length` was spent


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """One question to be answered.

    Attributes:
        id: unique among the requests of a call.
        image_id: two requests with the same one show the same pixels, which are encoded once;
            without one the pixels themselves are compared.
        search_question: what searches go by, where `question` puts further words around it; the
            question unless told.
        history: earlier turns; an answer among them holds its `answer_text` alone.
        find_region: of a forced first search by region; called when it is asked.
        max_new_tokens: fewer sampled tokens than `generation.max_new_tokens`, for this one alone;
            `generation.answer_tokens` shrinks with it. Below four no search fits.
        region_override: control experiments alone; replaces the mask of each region query.
    """

    id: str
    question: str
    image: Image.Image | None = None
    image_id: str | None = None
    search_question: str | None = None
    history: tuple[Message, ...] = ()
    find_region: FindRegion | None = None
    max_new_tokens: int | None = None
    region_override: RegionOverride | None = None

    def found_region(self) -> Mask:
        """The mask of the forced first search.

        Raises:
            ValueError: the request brings none.
        """
        if self.find_region is None:
            raise ValueError(
                f"request {self.id}: policy.forced_first=region, but nothing finds one here; "
                "use scripts/evaluate.py, or give the request `find_region`"
            )
        return self.find_region()

    @property
    def asked(self) -> str:
        """What searches go by."""
        return self.question if self.search_question is None else self.search_question

    @property
    def conversation(self) -> Conversation:
        """The history with the question at its end."""
        question = Message(role=Role.USER, parts=(Text(text=self.question),))
        return Conversation(messages=(*self.history, question), has_image=self.image is not None)

    @cached_property
    def feature_key(self) -> str:
        """Under what the image's features are cached, for longer than a request lives."""
        if self.image_id is not None or self.image is None:
            return self.image_id or ""
        pixels = self.image.convert("RGB")
        return f"{pixels.size} {blake2b(pixels.tobytes()).hexdigest()}"


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchRecord:
    """One search of an answer, in the order in which they were asked.

    Attributes:
        type: what the model asked for, also where an empty mask led to another query.
        text: the words of a text query.
        mask: the region of a region query, in the image's own pixels.
        empty_mask_action: what was done because `mask` is empty; None if it is not.
        passages: all that came back, nearest first.
        num_injected: how many of them, from the first, the evidence holds.
        failed: why the search failed, so that there are no passages; None if it did not.
        forced: the engine wrote the query (`policy.forced_first`), not the model.
        step: how many tokens had been sampled when it was asked.
        seconds: from then until the engine took what had come back.
    """

    type: QueryType
    text: str | None = None
    mask: Mask | None = None
    empty_mask_action: OnEmptyMask | None = None
    passages: tuple[Passage, ...] = ()
    num_injected: int = 0
    failed: str | None = None
    forced: bool = False
    step: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class GroundedRecord:
    """One grounded phrase of an answer.

    Attributes:
        phrase: the words since the `<seg>`, the evidence or the start before it; or those tagged.
        mask: in the image's own pixels.
        position: index in the trajectory's ids of its `<seg>`, or of its last tagged word.
        mask_logits: the decoder's, on its device, which `segmenter_frame.to_image` enlarges; None
            unless the engine was told to keep them.
    """

    phrase: str
    mask: Mask
    position: int
    mask_logits: Float[Tensor, "low low"] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """A finished answer with its searches and their evidence.

    Attributes:
        rendered: prompt, sampled and injected ids, as the model saw them. Supervised is what was
            sampled. A forced first query is of kind PROMPT: the model did not write it.
        answer_text: the words after the last evidence, which are scored.
        all_text: all generated words.
        seconds: from its opening, before it had a place among those that are computed, to its end.
    """

    request_id: str
    rendered: Rendered
    answer_text: str
    all_text: str
    searches: tuple[SearchRecord, ...]
    grounded: tuple[GroundedRecord, ...]
    finish_reason: FinishReason
    seconds: float

    @property
    def counts(self) -> dict[TokenKind, int]:
        """How many tokens of each kind the trajectory holds."""
        found = Counter(self.rendered.token_kind)
        return {kind: found[kind] for kind in TokenKind}


@dataclass(kw_only=True)
class EngineStats:
    """What an engine did since it was made; the tokens are those that a forward processed."""

    processed: Counter[TokenKind] = field(default_factory=Counter)  # each token once
    recomputed_tokens: int = 0  # once more, because their row had lost its slot
    reused_tokens: int = 0  # stood in the cache when evidence was processed: not computed anew
    forwards: int = 0
    prefill_forwards: int = 0  # those with a prompt in them
    evidence_forwards: int = 0  # those with evidence behind tokens that were processed
    decode_steps: int = 0  # those with single sampled tokens
    searches: int = 0  # queries sent, once more where they were sent again
    search_calls: int = 0  # calls to the searcher that they were sent in
    failed_searches: int = 0  # of rows that went on without (policy.on_search_failure)
    waits: int = 0  # searches that a row waited for
    wait_seconds: float = 0.0  # of all rows, added up
    idle_seconds: float = 0.0  # in which all rows waited, so that nothing was computed
    evictions: int = 0  # rows that lost their slot
    failures: int = 0  # requests that ended without an answer
    vision_encodes: int = 0  # images through the vision tower
    segmenter_encodes: int = 0  # images through the segmenter's encoder
    masks_decoded: int = 0
    mask_calls: int = 0
    empty_masks: int = 0

    @property
    def prefill_tokens(self) -> int:
        return self.processed[TokenKind.PROMPT] + self.processed[TokenKind.IMAGE]

    @property
    def processed_tokens(self) -> int:
        return self.processed.total()

    def as_dict(self) -> dict[str, int | float]:
        """Plain numbers for a log; tokens by kind as `prompt_tokens`, `evidence_tokens`, …"""
        tokens = {f"{kind.name.lower()}_tokens": self.processed[kind] for kind in TokenKind}
        tokens["prefill_tokens"] = self.prefill_tokens
        numbers = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "processed"}
        return tokens | numbers

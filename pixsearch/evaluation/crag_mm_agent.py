"""PixSearch as an agent of CRAG-MM's starter kit (KDD Cup 2025): docs/evaluation.md, "Agent"."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from PIL import Image
from tokenizers import Tokenizer

from pixsearch.chat import Message, Role, Text
from pixsearch.config import CragMMAgentOptions
from pixsearch.evaluation.detected_regions import detector_of, with_region
from pixsearch.evaluation.failing_alone import MakeRequest, answer_each
from pixsearch.evaluation.metrics.crag_mm import cut_answer
from pixsearch.generation import Engine, Request
from pixsearch.generation.deadline import ChooseByDeadline, Deadline, SearchByDeadline
from pixsearch.model import PixSearch
from pixsearch.precision import best_device
from pixsearch.queries import AnySearcher, refuse_control, search_under
from pixsearch.retrieval.crag_mm.given_pipeline import Pipeline, PipelineSearcher
from pixsearch.retrieval.opening import open_searcher

logger = logging.getLogger(__name__)

Turn = dict[str, Any]
"""The kit's `{"role": "user" or "assistant", "content": words}`."""


class CragMMAgent:
    """Answers batches of turns within the kit's seconds and tokens.

    Each call has n turns and n times `seconds_per_turn`. When `search_share` of them has passed, no
    search begins and none is waited for; at `answer_share` every answer ends with the words that it
    has. What runs between two tokens (images, prompts) is not cut short. A turn that fails is
    logged and answered by `unknown`; the others are not affected.

    Attributes:
        num_failed: turns answered by `unknown` because of an error.
        num_empty: turns answered by `unknown` because the model said nothing.
    """

    def __init__(
        self, search_pipeline: Pipeline | AnySearcher | None, options: CragMMAgentOptions
    ) -> None:
        """Load checkpoint and encoders.

        Args:
            search_pipeline: the kit's; or a searcher of ours; None: `options.retrieval` is opened.

        Raises:
            ValueError: checkpoint, index, detector or tokenizer are missing or do not fit.
        """
        refuse_control(options.policy)
        self.num_failed = self.num_empty = 0
        self._options = options
        self._detector = detector_of(options.policy)
        self._model = PixSearch.from_pretrained(options.checkpoint).eval().to(best_device())
        self._answer_tokenizer = _open_tokenizer(options.answer_tokenizer, self._model)
        self._deadline = Deadline()
        search = search_under(options.policy, _searcher(search_pipeline, options))
        self._engine = Engine(
            self._model,
            SearchByDeadline(search, self._deadline),
            options.policy,
            options.generation,
            choose=ChooseByDeadline(self._deadline, self._model.config.ids),
        )

    def get_batch_size(self) -> int:
        """How many turns the kit gives at a time."""
        return self._options.generation.batch_size

    def batch_generate_response(
        self,
        queries: list[str],
        images: list[Image.Image | None],
        message_histories: list[list[Turn]],
    ) -> list[str]:
        """One answer per turn, none of them empty.

        Args:
            images: of each turn's conversation.
            message_histories: earlier turns of each conversation, in their order.

        Raises:
            ValueError: the three differ in length, or a history is none.
        """
        if not len(queries) == len(images) == len(message_histories):
            raise ValueError(
                f"{len(queries)} queries, {len(images)} images and {len(message_histories)} "
                "histories; there must be one of each per turn"
            )
        seconds = len(queries) * self._options.seconds_per_turn
        self._deadline.begin(
            search_seconds=seconds * self._options.search_share,
            answer_seconds=seconds * self._options.answer_share,
        )
        histories = [[_message(turn) for turn in history] for history in message_histories]
        turns = zip(queries, images, histories, strict=True)
        return self._answers([partial(self._request, n, *turn) for n, turn in enumerate(turns)])

    def _request(
        self, number: int, query: str, image: Image.Image | None, history: Sequence[Message]
    ) -> Request:
        request = Request(
            id=f"turn {number}",
            question=query,
            image=None if image is None else image.convert("RGB"),
            history=recent_turns(
                history,
                num_tokens=lambda words: len(self._model.renderer.plain_ids(words)),
                max_tokens=self._options.history_tokens,
            ),
        )
        return with_region(request, self._detector)

    def _answers(self, makers: Sequence[MakeRequest]) -> list[str]:
        answers = []
        for found in answer_each(self._engine, makers):
            if isinstance(found, Exception):
                logger.error("answered by %r: %s", self._options.unknown, found)
                self.num_failed += 1
                answers.append(self._options.unknown)
            else:
                answers.append(self._cut(found.answer_text))
        return answers

    def _cut(self, answer: str) -> str:
        """An answer as the kit scores it; never empty, which the kit takes for an error."""
        max_tokens = self._options.answer_tokens
        cut = cut_answer(answer, self._answer_tokenizer, max_tokens=max_tokens).strip()
        self.num_empty += not cut
        return cut or self._options.unknown


def recent_turns(
    history: Sequence[Message], *, num_tokens: Callable[[str], int], max_tokens: int
) -> tuple[Message, ...]:
    """The last questions of a history with their answers, as many as fit.

    >>> talk = [Message(role=Role.USER, parts=(Text(text=words),)) for words in ("a b", "c", "d")]
    >>> [turn.parts[0].text for turn in recent_turns(
    ...     talk, num_tokens=lambda words: len(words.split()), max_tokens=2)]
    ['c', 'd']
    """
    starts = [place for place, one in enumerate(history) if one.role is Role.USER]
    kept = len(history)
    for start in reversed(starts):
        words = (part.text for one in history[start:] for part in one.parts)
        if sum(num_tokens(text) for text in words) > max_tokens:
            break
        kept = start
    return tuple(history[kept:])


def _message(turn: Turn) -> Message:
    """
    Raises:
        ValueError: it is no turn of question or answer in words.
    """
    role, words = turn.get("role"), turn.get("content")
    if role not in list(Role) or not isinstance(words, str):
        raise ValueError(
            f"a message history holds role={role!r} with content of type "
            f"{type(words).__name__}; it must be 'user' or 'assistant' with words"
        )
    return Message(role=Role(role), parts=(Text(text=words),))


def _searcher(given: Pipeline | AnySearcher | None, options: CragMMAgentOptions) -> AnySearcher:
    if given is None:
        return open_searcher(options.retrieval)
    return given if isinstance(given, AnySearcher) else PipelineSearcher(given, options.retrieval)


def _open_tokenizer(path: str | None, model: PixSearch) -> Tokenizer:
    if path is None:
        return model.tokenizer.backend_tokenizer
    try:
        return Tokenizer.from_file(path)
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(
            f"answer_tokenizer={path}: cannot be read ({error}); give Llama-3.2's tokenizer.json"
        ) from error

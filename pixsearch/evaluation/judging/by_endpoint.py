"""A judge behind an OpenAI-compatible server."""

import logging
import threading
from collections.abc import Iterable, Iterator
from functools import partial

from pixsearch.config import JudgeOptions, to_dict
from pixsearch.endpoint.asking import ask
from pixsearch.endpoint.chat import ChatEndpoint
from pixsearch.endpoint.request import (
    ChatRequest,
    EndpointUnavailable,
    MalformedAnswer,
    RefusedRequest,
)
from pixsearch.endpoint.threads import in_threads
from pixsearch.evaluation.judging.cases import Case
from pixsearch.evaluation.judging.judge import Ruling
from pixsearch.evaluation.judging.prompt import SCHEMA, fields_of, judge_prompt, read_ruling
from pixsearch.evaluation.verdicts import JudgeVerdict

logger = logging.getLogger(__name__)

TASK = "verdict"
DECIDING = ("url", "model", "temperature", "answer_format", "answer_tokens", "answer_tokens_field")
"""Options that decide a verdict."""


class EndpointJudge:
    """See `Judge`. What nobody answers is unscored; after so many in a row no more is asked.

    Raises:
        ValueError: the URL is none, or there is no such prompt.
    """

    is_free = False

    def __init__(self, options: JudgeOptions) -> None:
        prompt, endpoint = judge_prompt(options.prompt), options.endpoint
        plain = to_dict(endpoint)
        self.name = endpoint.model
        self.identity = {"kind": "endpoint", "prompt": prompt.version}
        self.identity |= {name: plain[name] for name in DECIDING}
        self._options = options
        self._chat = ChatEndpoint(endpoint, {TASK: prompt}, again="retry_unscored=true")
        self._lock = threading.Lock()
        self._has_answered = False
        self._failures = 0  # in a row

    def rule(self, cases: Iterable[Case]) -> Iterator[tuple[Case, Ruling]]:
        """See `Judge.rule`."""
        workers = self._options.endpoint.concurrency
        return in_threads(lambda case: (case, self._rule(case)), cases, workers=workers)

    def close(self) -> None:
        """See `Judge.close`; says what was paid for."""
        self._chat.close()
        paid = self._chat.meter.paid
        logger.info(
            "%s: %d answers paid for in this run, %s tokens in and %s out, cost %.4f",
            *(self.name, paid.requests, f"{paid.input_tokens:,}", f"{paid.output_tokens:,}"),
            paid.cost(self._options.endpoint),
        )

    def _rule(self, case: Case) -> Ruling:
        if self._failures >= self._options.give_up_after:
            return self._unscored(f"not asked: {self._failures} requests in a row had no answer")
        request = ChatRequest(
            task=TASK,
            question_key=case.id,
            fields=fields_of(case),
            schema=SCHEMA,
            read=partial(read_ruling, judge=self.name),
        )
        try:
            ruling = ask(self._chat, request, corrections=self._options.endpoint.corrections)
        except RefusedRequest as refused:
            return self._unscored(str(refused))
        except MalformedAnswer as malformed:
            self._note_answer()
            return self._unscored(str(malformed))
        except EndpointUnavailable as unavailable:
            self._note_failure(unavailable)
            return self._unscored(str(unavailable.__cause__ or unavailable))
        self._note_answer()
        return ruling

    def _unscored(self, reason: str) -> Ruling:
        return Ruling(verdict=JudgeVerdict.unscored, by=self.name, reason=reason)

    def _note_answer(self) -> None:
        with self._lock:
            self._has_answered, self._failures = True, 0

    def _note_failure(self, unavailable: EndpointUnavailable) -> None:
        """
        Raises:
            EndpointUnavailable: it has not answered in this run at all.
        """
        with self._lock:
            self._failures += 1
            if not self._has_answered:
                raise unavailable
            if self._failures == self._options.give_up_after:
                logger.error("%s: %s", self.name, unavailable)

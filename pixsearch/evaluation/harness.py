"""PixSearch as a model of another harness: questions in, answers out, searches written beside."""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from PIL import Image
from yaml import YAMLError

from pixsearch.config import AnswerSpan, EvaluateOptions, from_omegaconf
from pixsearch.evaluation.detected_regions import detector_of, with_region
from pixsearch.evaluation.failing_alone import answer_each
from pixsearch.generation.answering import AnyEngine
from pixsearch.generation.infer import describe_search
from pixsearch.generation.opening import check_options, open_engine, open_model
from pixsearch.generation.records import Request, Trajectory
from pixsearch.line_store import digest
from pixsearch.queries import refuse_control, search_under
from pixsearch.retrieval.opening import open_searcher

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class HarnessQuestion:
    """What a task asks.

    Attributes:
        id: names task and document, in the trace and in errors.
        images: a request has one at most; a question with several fails.
        until: an answer ends before the first of these.
    """

    id: str
    words: str
    images: tuple[Image.Image, ...] = ()
    until: tuple[str, ...] = ()


class Harness:
    """Answers a harness's questions under one policy.

    A question that fails is logged and answered by nothing, which every metric counts as wrong.

    Args:
        engine: by which they are answered.
        trace: JSON lines are appended: each question's answer, searches and failure.
        source: names what is searched.

    Attributes:
        num_failed: questions without an answer because of an error.
    """

    def __init__(
        self, engine: AnyEngine, options: EvaluateOptions, *, trace: Path | None, source: str
    ) -> None:
        self.num_failed = 0
        self.source = source
        self._detector = detector_of(options.policy)
        self._engine = engine
        self._options = options
        self._trace = trace

    @classmethod
    def open(cls, options: EvaluateOptions, *, source: str | None, trace: str | None) -> "Harness":
        """Load checkpoint and index.

        Args:
            source: what is to be searched, as the attribute names it; another index is refused. A
                harness that keeps answers knows a model by its arguments, not by the index.

        Raises:
            ValueError: checkpoint, index or source do not fit, the policy is a control, or the
                trace is there already.
        """
        refuse_control(options.policy)
        if trace is not None and os.path.exists(trace):
            raise ValueError(f"trace={trace} holds another run's answers; name a new file")
        check_options(options.checkpoint, options.policy, options.generation)
        detector_of(options.policy)  # what it lacks is told before the checkpoint is loaded
        searcher = open_searcher(options.retrieval)
        found = f"index-{digest(searcher.info().to_json())[:16]}"
        if source not in (None, found):
            raise ValueError(f"source={source}: what is searched now is {found}, another index")
        engine = open_engine(
            open_model(options.checkpoint),
            search_under(options.policy, searcher),
            options.policy,
            options.generation,
        )
        path = None if trace is None else Path(trace)
        return cls(engine, options, trace=path, source=found)

    @property
    def batch_size(self) -> int:
        return self._options.generation.batch_size

    def answers(self, questions: Sequence[HarnessQuestion]) -> list[str]:
        """One answer per question, empty where there is none."""
        found = answer_each(self._engine, [partial(self._request, one) for one in questions])
        return [self._take(*pair) for pair in zip(questions, found, strict=True)]

    def _request(self, question: HarnessQuestion) -> Request:
        if len(question.images) > 1:
            raise ValueError(f"{len(question.images)} images; a question about one is answered")
        image = question.images[0].convert("RGB") if question.images else None
        request = Request(id=question.id, question=question.words, image=image)
        return with_region(request, self._detector)

    def _take(self, question: HarnessQuestion, found: Trajectory | Exception) -> str:
        if isinstance(found, Exception):
            logger.error("%s: no answer: %s", question.id, found)
            self.num_failed += 1
            self._write({"id": question.id, "answer": "", "failed": str(found)})
            return ""
        is_last = self._options.answer is AnswerSpan.after_last_search
        answer = cut_before(found.answer_text if is_last else found.all_text, question.until)
        self._write(
            {
                "id": question.id,
                "answer": answer,
                "all_text": found.all_text,
                "searches": [describe_search(search) for search in found.searches],
                "finish_reason": found.finish_reason.value,
                "failed": None,
            }
        )
        return answer

    def _write(self, line: dict[str, Any]) -> None:
        if self._trace is None:
            return
        self._trace.parent.mkdir(parents=True, exist_ok=True)
        with self._trace.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_options(path: str, overrides: dict[str, Any]) -> EvaluateOptions:
    """The options of scripts/evaluate.py from a file, as `--cfg job --resolve` prints them.

    Args:
        overrides: `policy.max_searches` and the like → what to put there.

    Raises:
        ValueError: no such file, or an unknown name or wrong type in it or the overrides.
    """
    if not os.path.isfile(path):
        raise ValueError(
            f"options={path}: no such file; `python scripts/evaluate.py --cfg job --resolve … > "
            f"{path}` writes one"
        )
    try:
        given = OmegaConf.from_dotlist([f"{name}={value}" for name, value in overrides.items()])
        composed = OmegaConf.merge(OmegaConf.load(path), given)
    except (OmegaConfBaseException, YAMLError, OSError) as error:
        raise ValueError(f"options={path}: {str(error).splitlines()[0]}") from error
    return from_omegaconf(EvaluateOptions, composed)


def cut_before(answer: str, until: Sequence[str]) -> str:
    """The answer before the first of some texts, without white space around it.

    >>> cut_before("Osmeth.\\n\\nQuestion:", ["\\n\\n", "Q"])
    'Osmeth.'
    """
    ends = [answer.find(text) for text in until if text and text in answer]
    return answer[: min(ends, default=len(answer))].strip()

"""What is kept of each answer: one line of predictions/POLICY.jsonl."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from pixsearch.config import AnswerSpan, QueryType
from pixsearch.datasets.masks import Rle, encode_rle
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.gold import Gold, Sample
from pixsearch.evaluation.metrics.truthfulness import Verdict, judge, says_unknown
from pixsearch.generation.records import SearchRecord, Trajectory

ABSTAINED, GUESSED = "abstained", "guessed"  # verdicts on questions that have no answer
FAILED = "failed"  # finish reason of a sample without an answer


@dataclass(frozen=True, kw_only=True)
class AskedQuery:
    """One search of an answer.

    Attributes:
        mask: of a region query, as searched with, in the image's own pixels.
        empty_mask: what was done because the mask is empty; None if it is not.
        num_injected: how many of the passages, from the first, the model read.
        seconds: how long it took (`SearchRecord.seconds`).
        forced: the engine wrote the query, not the model.
        failed: why the search failed, so that there are no passages; None if it did not.
    """

    type: QueryType
    text: str | None
    mask: Rle | None
    empty_mask: str | None
    forced: bool
    passage_ids: tuple[str, ...]
    scores: tuple[float, ...]
    num_injected: int
    seconds: float
    failed: str | None = None


@dataclass(frozen=True, kw_only=True)
class GroundedPhrase:
    phrase: str
    mask: Rle


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One answer with its searches. Scores are computed from these raw fields; `verdict` and `gold`
    are there for people who read the file.

    Attributes:
        interaction_id: of the sample.
        answer: the words after the last evidence, cut as the benchmark cuts them.
        all_text: all generated words.
        token_counts: tokens by `TokenKind`, in lower case.
        unavailable: how often a control had nothing to put in a region's place.
        seconds: how long it took (`Trajectory.seconds`), 0 for none; no score uses it.
        failed: why there is no answer, so that it counts as wrong; None if there is one.
    """

    interaction_id: str
    image_id: str | None
    question: str
    answer: str
    all_text: str
    gold: str
    verdict: str
    queries: tuple[AskedQuery, ...]
    grounded: tuple[GroundedPhrase, ...]
    token_counts: dict[str, int]
    finish_reason: str
    unavailable: int
    seconds: float
    failed: str | None = None

    @property
    def query_types(self) -> tuple[QueryType, ...]:
        return tuple(query.type for query in self.queries)

    def scored_text(self, span: AnswerSpan) -> str:
        return self.answer if span is AnswerSpan.after_last_search else self.all_text

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Prediction":
        queries = tuple(_read_query(query) for query in record["queries"])
        grounded = tuple(GroundedPhrase(**phrase) for phrase in record["grounded"])
        return cls(**{**record, "queries": queries, "grounded": grounded})


def make_prediction(
    sample: Sample, trajectory: Trajectory, *, span: AnswerSpan, unavailable: int
) -> Prediction:
    """The line of one finished trajectory."""
    text = trajectory.answer_text if span is AnswerSpan.after_last_search else trajectory.all_text
    return Prediction(
        interaction_id=sample.id,
        image_id=sample.gold.image_id,
        question=sample.question,
        answer=trajectory.answer_text,
        gold=sample.gold.answer,
        verdict=verdict_on(sample.gold, text),
        unavailable=unavailable,
        **_of_trajectory(trajectory),
    )


def question_prediction(
    question: AnnotatedQuestion, trajectory: Trajectory, *, cut: Callable[[str], str]
) -> Prediction:
    """The line of the answer to an annotated question; verdicts come in another step."""
    return Prediction(
        interaction_id=question.id,
        image_id=question.image_id,
        question=question.question,
        answer=cut(trajectory.answer_text),
        gold=next(iter(question.answers), ""),
        verdict="",
        unavailable=0,
        **_of_trajectory(trajectory),
    )


def failed_prediction(
    id: str, reason: str, *, question: str, image_id: str | None, gold: str
) -> Prediction:
    """The line of a sample that could not be answered."""
    return Prediction(
        interaction_id=id,
        image_id=image_id,
        question=question,
        answer="",
        all_text="",
        gold=gold,
        verdict="",
        queries=(),
        grounded=(),
        token_counts={},
        finish_reason=FAILED,
        unavailable=0,
        seconds=0.0,
        failed=reason,
    )


def _of_trajectory(trajectory: Trajectory) -> dict[str, Any]:
    """The fields that are the trajectory's alone."""
    return {
        "all_text": trajectory.all_text,
        "queries": tuple(_asked(search) for search in trajectory.searches),
        "grounded": tuple(
            GroundedPhrase(phrase=each.phrase, mask=encode_rle(each.mask))
            for each in trajectory.grounded
        ),
        "token_counts": {kind.name.lower(): count for kind, count in trajectory.counts.items()},
        "finish_reason": trajectory.finish_reason.value,
        "seconds": round(trajectory.seconds, 3),
    }


def verdict_on(gold: Gold, text: str) -> str:
    """A `Verdict`; on an unanswerable question `abstained` or `guessed`."""
    if gold.answerable:
        return judge(text, gold.answer, gold.aliases).value
    return ABSTAINED if says_unknown(text) else GUESSED


def is_correct(gold: Gold, text: str) -> bool:
    return verdict_on(gold, text) in (Verdict.CORRECT, ABSTAINED)


def _asked(search: SearchRecord) -> AskedQuery:
    return AskedQuery(
        type=search.type,
        text=search.text,
        mask=None if search.mask is None else encode_rle(search.mask),
        empty_mask=None if search.empty_mask_action is None else search.empty_mask_action.value,
        forced=search.forced,
        passage_ids=tuple(passage.id for passage in search.passages),
        scores=tuple(round(float(passage.score), 6) for passage in search.passages),
        num_injected=search.num_injected,
        seconds=round(search.seconds, 3),
        failed=search.failed,
    )


def _read_query(record: dict[str, Any]) -> AskedQuery:
    return AskedQuery(
        **{
            **record,
            "type": QueryType(record["type"]),
            "passage_ids": tuple(record["passage_ids"]),
            "scores": tuple(record["scores"]),
        }
    )

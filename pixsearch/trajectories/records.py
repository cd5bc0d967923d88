"""What the stages hand on, and the plain values that their lines hold."""

from dataclasses import asdict, dataclass
from typing import Any

from pixsearch.config import QueryType
from pixsearch.queries import Passage


@dataclass(frozen=True, kw_only=True)
class SubQuestion:
    """One step of answering, which stands alone.

    Attributes:
        number: from 1.
        answer: as far as the teacher knows it from the question's own answer; "" if not.
    """

    number: int
    question: str
    needs_search: bool
    answer: str


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Words, possibly none, and the search behind them.

    Attributes:
        sub_question: number of the one that the search is to answer.
    """

    words: str
    sub_question: int


@dataclass(frozen=True, kw_only=True)
class Response:
    """An answer with searches in it; what they ask with is not known yet."""

    segments: tuple[Segment, ...]
    answer: str

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Response":
        segments = tuple(Segment(**segment) for segment in value["segments"])
        return cls(segments=segments, answer=value["answer"])


@dataclass(frozen=True, kw_only=True)
class PlannedQuery:
    """What a search asks with.

    Attributes:
        phrase: the last words before the search, which name what the region shows; None where
            nothing is grounded.
        texts: candidates of a text query, the likeliest first; () for the two others.
    """

    type: QueryType
    phrase: str | None
    texts: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "PlannedQuery":
        type, texts = QueryType(value["type"]), tuple(value["texts"])
        return cls(type=type, phrase=value["phrase"], texts=texts)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one search brought.

    Attributes:
        text: the candidate that was taken, of a text query.
        verdict: a `Verdict`.
    """

    text: str | None
    verdict: str
    passages: tuple[Passage, ...]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Evidence":
        passages = tuple(Passage(**passage) for passage in value["passages"])
        return cls(text=value["text"], verdict=value["verdict"], passages=passages)


def sub_questions_of(value: dict[str, Any]) -> tuple[SubQuestion, ...]:
    """Of the stage `decompose`."""
    return tuple(SubQuestion(**each) for each in value["sub_questions"])


def plain(value: Any) -> dict[str, Any]:
    """A record's JSON object."""
    return asdict(value)

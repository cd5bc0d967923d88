"""What an engine tells while it answers. Each request ends in exactly one `Finished`."""

from dataclasses import dataclass
from enum import StrEnum

from pixsearch.config import QueryType
from pixsearch.generation.records import GroundedRecord, Mask, SearchRecord, Trajectory


class FailureKind(StrEnum):
    """Why a request ended without an answer."""

    search = "search"  # the retriever failed or was too slow (policy.on_search_failure)
    empty_mask = "empty_mask"  # of a region search, under policy.on_empty_mask=error
    not_finite = "not_finite"  # the request's own logits or masks hold a NaN or an infinity
    cancelled = "cancelled"  # by whoever had asked
    error = "error"  # anything else that one request brings about


@dataclass(frozen=True, kw_only=True, eq=False)
class Failure:
    """
    Attributes:
        error: what a caller may raise; its text is one clear line.
    """

    kind: FailureKind
    error: Exception

    @property
    def reason(self) -> str:
        return str(self.error)


def not_finite(request_id: str, what: str) -> Failure:
    """Something of a request holds a NaN or an infinity; `what` is "its logits are", for one."""
    error = FloatingPointError(
        f"request {request_id}: {what} not finite: load the model in another dtype, or copy its "
        "checkpoint anew"
    )
    return Failure(kind=FailureKind.not_finite, error=error)


class Cancelled(Exception):
    """A request was cancelled before its answer was finished."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Event:
    """Something that happened to one request."""

    request_id: str


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenEvent(Event):
    """A token was sampled.

    Attributes:
        token: its id.
        text: what the words of the answer, or of the query, grew by; empty for a special token, and
            where a character is not complete yet or the words that end an answer may have begun.
            The last token's has what was held back so, and so has `<search>`.
        in_query: it belongs to a search, from `<search>` to `</search>`; not a `<search>` that has
            words of the answer.
    """

    token: int
    text: str
    in_query: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchStarted(Event):
    """A search was closed and its query is on its way.

    Attributes:
        type: what the model asked for.
        text: the words of a text query.
        mask: the region of a region query, in the image's own pixels.
    """

    type: QueryType
    text: str | None = None
    mask: Mask | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class EvidenceEvent(Event):
    """A search came back, or failed and the policy goes on without; its evidence is injected."""

    record: SearchRecord


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskEvent(Event):
    """The mask of a grounded phrase was decoded: for a region search, or when the answer ended."""

    grounded: GroundedRecord


@dataclass(frozen=True, kw_only=True, eq=False)
class Finished(Event):
    """The end of a request; the last event of it. One of the two is None."""

    trajectory: Trajectory | None = None
    failure: Failure | None = None

    def result(self) -> Trajectory:
        """The trajectory.

        Raises:
            Exception: `failure.error`, if there is none.
        """
        if self.failure is not None:
            raise self.failure.error
        assert self.trajectory is not None
        return self.trajectory

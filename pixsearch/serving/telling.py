"""What a client is told, in OpenAI's shapes; what these have no field for stands in `pixsearch`."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse

from pixsearch.datasets.masks import encode_rle
from pixsearch.generation.events import (
    Event,
    EvidenceEvent,
    Finished,
    MaskEvent,
    SearchStarted,
    TokenEvent,
)
from pixsearch.generation.records import (
    FinishReason,
    GroundedRecord,
    Mask,
    SearchRecord,
    Trajectory,
)
from pixsearch.rendering import TokenKind

Json = dict[str, Any]
STOP, LENGTH = "stop", "length"


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What all parts of one reply share.

    Attributes:
        created: seconds since 1970.
    """

    id: str
    model: str
    created: int

    def whole(self, trajectory: Trajectory) -> Json:
        """The reply in one piece; its content is the answer that is scored."""
        message = {
            "role": "assistant",
            "content": trajectory.answer_text,
            "pixsearch": details_of(trajectory),
        }
        choice = {"index": 0, "message": message, "finish_reason": finish_of(trajectory)}
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage_of(trajectory)}

    def chunk(self, delta: Json, *, finish_reason: str | None = None) -> Json:
        """A piece of a stream."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def usage_chunk(self, trajectory: Trajectory) -> Json:
        """The last piece of a stream, where `stream_options.include_usage` asks for it."""
        head = self._head("chat.completion.chunk")
        return {**head, "choices": [], "usage": usage_of(trajectory)}

    def _head(self, kind: str) -> Json:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def delta_of(event: Event) -> Json | None:
    """What a stream tells of an event; None: nothing.

    Words stream as they come, also those before a search. Whoever wants the answer alone forgets
    what stands before the last `evidence`, or takes `pixsearch.answer` of the last piece.
    """
    match event:
        case TokenEvent(text=str(text), in_query=False) if text:
            return {"content": text}
        case SearchStarted():
            asked = {"type": event.type.value, "text": event.text, "mask": _rle(event.mask)}
            return {"pixsearch": {"event": "search_started", **asked}}
        case EvidenceEvent():
            return {"pixsearch": {"event": "evidence", **search_of(event.record)}}
        case MaskEvent():
            return {"pixsearch": {"event": "mask", **phrase_of(event.grounded)}}
    return None


def details_of(trajectory: Trajectory) -> Json:
    """Searches with their passages, grounded phrases with their masks, counts of tokens."""
    return {
        "answer": trajectory.answer_text,
        "all_text": trajectory.all_text,
        "searches": [search_of(search) for search in trajectory.searches],
        "phrases": [phrase_of(grounded) for grounded in trajectory.grounded],
        "token_counts": {kind.name.lower(): count for kind, count in trajectory.counts.items()},
        "finish_reason": trajectory.finish_reason.value,
    }


def search_of(search: SearchRecord) -> Json:
    """One search; of its passages the first `num_injected` were read by the model."""
    return {
        "type": search.type.value,
        "text": search.text,
        "mask": _rle(search.mask),
        "empty_mask": search.empty_mask_action and search.empty_mask_action.value,
        "forced": search.forced,
        "failed": search.failed,
        "num_injected": search.num_injected,
        "passages": [
            {"id": one.id, "title": one.title, "text": one.text, "score": one.score}
            for one in search.passages
        ],
    }


def phrase_of(grounded: GroundedRecord) -> Json:
    return {"phrase": grounded.phrase, "mask": _rle(grounded.mask)}


def finish_of(trajectory: Trajectory) -> str:
    return LENGTH if trajectory.finish_reason is FinishReason.length else STOP


def usage_of(trajectory: Trajectory) -> Json:
    """Tokens; evidence, which the model reads, counts as prompt."""
    counts = trajectory.counts
    completion = counts[TokenKind.GENERATED]
    total = sum(counts.values())
    return {
        "prompt_tokens": total - completion,
        "completion_tokens": completion,
        "total_tokens": total,
    }


def pieces_of(completion: Completion, event: Event, *, with_usage: bool) -> list[bytes]:
    """What a stream tells of an event; masks are encoded and written here, which takes a while.

    Raises:
        Exception: as `Finished.result`.
    """
    if isinstance(event, Finished):
        last = _last_pieces(completion, event.result(), with_usage=with_usage)
        return [as_event(piece) for piece in last]
    delta = delta_of(event)
    return [] if delta is None else [as_event(completion.chunk(delta))]


def as_event(piece: Json) -> bytes:
    """A server-sent event."""
    return f"data: {json.dumps(piece, ensure_ascii=False)}\n\n".encode()


def as_openai_error(refused: JSONResponse) -> Json:
    """A refusal in the shape in which OpenAI's clients look for it."""
    status = refused.status_code
    error = {
        "message": json.loads(refused.body)["detail"],
        "type": "invalid_request_error" if status < 500 else "server_error",
        "param": None,
        "code": status,
    }
    return {"error": error}


def _last_pieces(
    completion: Completion, trajectory: Trajectory, *, with_usage: bool
) -> Iterator[Json]:
    details = {"pixsearch": {"event": "finished", **details_of(trajectory)}}
    yield completion.chunk(details, finish_reason=finish_of(trajectory))
    if with_usage:
        yield completion.usage_chunk(trajectory)


def _rle(mask: Mask | None) -> Json | None:
    """COCO's compressed run lengths."""
    return None if mask is None else dict(encode_rle(mask))

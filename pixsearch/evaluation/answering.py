"""Answers of an engine, whatever happens to single requests."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from pixsearch.generation.answering import AnyEngine
from pixsearch.generation.events import Failure, FailureKind, Finished
from pixsearch.generation.records import Request

OF_ONE_REQUEST = (ValueError, OSError, ArithmeticError, torch.OutOfMemoryError)
"""What a request can bring about; anything else is a mistake in the code, which ends the run."""

IMAGE_BYTES = 2 << 30  # of the decoded images that are held in memory at a time


def answers(engine: AnyEngine, requests: Sequence[Request]) -> Iterator[Finished]:
    """The end of each request, an answer or a failure, in any order.

    If the engine gives up on all because of one, those that are not finished are asked again in
    halves, so that the one fails alone.
    """
    left = {request.id: request for request in requests}
    try:
        for finished in engine.finished(requests):
            del left[finished.request_id]
            yield finished
    except OF_ONE_REQUEST as error:
        if not left:
            raise
        if len(left) > 1:
            yield from _in_halves(engine, list(left.values()))
            return
        failure = Failure(kind=FailureKind.error, error=error)
        yield Finished(request_id=next(iter(left)), failure=failure)


def _in_halves(engine: AnyEngine, requests: Sequence[Request]) -> Iterator[Finished]:
    middle = len(requests) // 2
    yield from answers(engine, requests[:middle])
    yield from answers(engine, requests[middle:])


@dataclass(frozen=True, kw_only=True)
class ChunkLimits:
    """How many requests are put to an engine in one call: few images, but no idle rows."""

    requests: int
    image_bytes: int = IMAGE_BYTES


def in_chunks_of_images(
    requests: Iterable[Request], limits: ChunkLimits
) -> Iterator[list[Request]]:
    """Requests in their order, drawn when their chunk is."""
    chunk: list[Request] = []
    num_bytes = 0
    for request in requests:
        size = 0 if request.image is None else 3 * request.image.width * request.image.height
        if chunk and (len(chunk) == limits.requests or num_bytes + size > limits.image_bytes):
            yield chunk
            chunk, num_bytes = [], 0
        chunk.append(request)
        num_bytes += size
    if chunk:
        yield chunk

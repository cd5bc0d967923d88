"""Answers where one request must not take the others with it."""

from collections.abc import Sequence

from pixsearch.generation.answering import AnyEngine
from pixsearch.generation.records import Request, Trajectory

# of one request: what is asked does not fit, an image is broken, a search failed, memory ran out, a
# logit is no number
FAILURES = (ValueError, OSError, RuntimeError, FloatingPointError)


def answer_each(engine: AnyEngine, requests: Sequence[Request]) -> list[Trajectory | Exception]:
    """Of each request its trajectory, or why there is none.

    All are answered together; where that fails, each alone.
    """
    try:
        return list(engine.generate(requests))
    except FAILURES as error:
        if len(requests) == 1:
            return [error]
    return [found for request in requests for found in answer_each(engine, [request])]

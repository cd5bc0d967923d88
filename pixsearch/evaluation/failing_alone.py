"""Answers where one request must not take the others with it."""

from collections.abc import Callable, Sequence

from pixsearch.generation.answering import AnyEngine
from pixsearch.generation.records import Request, Trajectory

# of one request: what is asked does not fit, an image is broken, a search failed, memory ran out, a
# logit is no number
FAILURES = (ValueError, OSError, RuntimeError, FloatingPointError)

MakeRequest = Callable[[], Request]


def answer_each(engine: AnyEngine, makers: Sequence[MakeRequest]) -> list[Trajectory | Exception]:
    """Of each request its trajectory, or why there is none: it cannot be made, or not be answered.

    Those that can be made are answered together; where that fails, each alone.
    """
    made = [_made(make) for make in makers]
    requests = [one for one in made if isinstance(one, Request)]
    answered = iter(_answered(engine, requests))
    return [next(answered) if isinstance(one, Request) else one for one in made]


def _made(make: MakeRequest) -> Request | Exception:
    try:
        return make()
    except FAILURES as error:
        return error


def _answered(engine: AnyEngine, requests: Sequence[Request]) -> list[Trajectory | Exception]:
    try:
        return list(engine.generate(requests))
    except FAILURES as error:
        if len(requests) == 1:
            return [error]
    return [found for request in requests for found in _answered(engine, [request])]

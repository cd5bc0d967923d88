"""Requests that may be impossible to make, answered so that none takes the others with it."""

from collections.abc import Callable, Sequence

from pixsearch.evaluation.answering import OF_ONE_REQUEST, answers
from pixsearch.generation.answering import AnyEngine
from pixsearch.generation.events import Finished
from pixsearch.generation.records import Request, Trajectory

MakeRequest = Callable[[], Request]


def answer_each(engine: AnyEngine, makers: Sequence[MakeRequest]) -> list[Trajectory | Exception]:
    """Of each request its trajectory, or why there is none: it cannot be made, or not be answered.

    Args:
        makers: of requests that differ in their ids.
    """
    made = [_made(make) for make in makers]
    requests = [one for one in made if isinstance(one, Request)]
    ends = {end.request_id: _outcome(end) for end in answers(engine, requests)}
    return [ends[one.id] if isinstance(one, Request) else one for one in made]


def _made(make: MakeRequest) -> Request | Exception:
    try:
        return make()
    except OF_ONE_REQUEST as error:
        return error


def _outcome(end: Finished) -> Trajectory | Exception:
    if end.trajectory is not None:
        return end.trajectory
    assert end.failure is not None
    return end.failure.error

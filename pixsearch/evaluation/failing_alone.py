"""Requests that may be impossible to make, answered so that none takes the others with it."""

from collections.abc import Callable, Iterator, Sequence

from pixsearch.evaluation.answering import OF_ONE_REQUEST, answers
from pixsearch.generation.answering import AnyEngine
from pixsearch.generation.events import Finished
from pixsearch.generation.records import Request, Trajectory

MakeRequest = Callable[[], Request]
End = Trajectory | Exception
"""What came of a request, or why nothing did: it cannot be made, or not be answered."""


def ends_of_each(engine: AnyEngine, makers: Sequence[MakeRequest]) -> Iterator[tuple[int, End]]:
    """The place of each request and its end, soon after it is known, in any order.

    Args:
        makers: of requests that differ in their ids; all are called first.
    """
    places: dict[str, int] = {}
    requests = []
    for place, make in enumerate(makers):
        try:
            request = make()
        except OF_ONE_REQUEST as error:
            yield place, error
        else:
            places[request.id] = place
            requests.append(request)
    for finished in answers(engine, requests):
        yield places[finished.request_id], _end(finished)


def answer_each(engine: AnyEngine, makers: Sequence[MakeRequest]) -> list[End]:
    """The ends of all requests, in their order."""
    found = dict(ends_of_each(engine, makers))
    return [found[place] for place in range(len(makers))]


def _end(finished: Finished) -> End:
    if finished.trajectory is not None:
        return finished.trajectory
    assert finished.failure is not None
    return finished.failure.error

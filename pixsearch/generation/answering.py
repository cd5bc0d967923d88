"""What every engine offers, be it PixSearch's own or a plain model's."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing

from pixsearch.generation.events import Event, Finished
from pixsearch.generation.records import EngineStats, Request, Trajectory


class AnyEngine(ABC):
    """Answers requests under a policy.

    Attributes:
        stats: what was processed since the engine was made.
    """

    stats: EngineStats

    @abstractmethod
    def stream(self, requests: Iterable[Request]) -> Generator[Event, None, None]:
        """Answer all requests and tell what happens to each; the last is its `Finished`.

        Requests are drawn when there is room for them.

        Raises:
            ValueError: when it is drawn, a request cannot be answered: it shares its id with one
                that is not finished, or its prompt does not fit.
        """

    def finished(self, requests: Iterable[Request]) -> Generator[Finished, None, None]:
        """`stream` without what happens on the way: one event per request, in any order."""
        for event in self.stream(requests):
            if isinstance(event, Finished):
                yield event

    def generate(
        self, requests: Sequence[Request], progress: Callable[[], object] | None = None
    ) -> list[Trajectory]:
        """Answer all requests; the trajectories stand in the requests' order.

        Args:
            progress: called once per finished request, e.g. `tqdm(...).update`.

        Raises:
            Exception: of the first request that fails; what the others have found is lost.
        """
        check_requests(requests)
        found = {}
        with closing(self.finished(requests)) as ends:  # also if one is a failure
            for end in ends:
                found[end.request_id] = end.result()
                if progress is not None:
                    progress()
        return [found[request.id] for request in requests]


def check_requests(requests: Sequence[Request]) -> None:
    """See that requests can be told apart, and that each asks something.

    Raises:
        ValueError: two share an id, or a question is empty.
    """
    if len({request.id for request in requests}) < len(requests):
        raise ValueError("two requests share an id; ids must be unique within a call")
    for request in requests:
        if not request.question.strip():
            raise ValueError(f"request {request.id}: the question is empty")

"""What every engine offers, be it PixSearch's own or a plain model's."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

from pixsearch.generation.records import EngineStats, Request, Trajectory


class AnyEngine(ABC):
    """Answers requests under a policy.

    Attributes:
        stats: what was processed since the engine was made.
    """

    stats: EngineStats

    @abstractmethod
    def stream(self, requests: Sequence[Request]) -> Iterator[Trajectory]:
        """Answer all requests; each trajectory is yielded soon after it is finished."""

    def generate(
        self, requests: Sequence[Request], progress: Callable[[], object] | None = None
    ) -> list[Trajectory]:
        """Answer all requests; the trajectories stand in the requests' order.

        Args:
            progress: called once per finished request, e.g. `tqdm(...).update`.
        """
        finished = {}
        for trajectory in self.stream(requests):
            finished[trajectory.request_id] = trajectory
            if progress is not None:
                progress()
        return [finished[request.id] for request in requests]


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


def refuse_not_finite(is_finite: Sequence[bool], ids: Sequence[str]) -> None:
    """See that the logits of all requests are numbers: an argmax would take a NaN for a word.

    Raises:
        FloatingPointError: names the requests whose logits are not.
    """
    broken = [one for one, is_so in zip(ids, is_finite, strict=True) if not is_so]
    if broken:
        raise FloatingPointError(
            f"the logits of {', '.join(broken)} are not finite: load the model in another dtype, "
            "or copy its checkpoint anew"
        )

"""The engine along forced trajectories."""

import time
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pixsearch.config import GenerationOptions, PolicyOptions, QueryType
from pixsearch.generation.bench.subject import ForcedTrajectory, passages
from pixsearch.generation.engine import Engine
from pixsearch.generation.records import Request
from pixsearch.generation.row import Row
from pixsearch.model.pixsearch import PixSearch
from pixsearch.queries import Passage, Query


class Forced:
    """A `choose` that takes what each trajectory has next."""

    def __init__(self, trajectories: Sequence[ForcedTrajectory]) -> None:
        self._ids = {each.id: each.sampled_ids for each in trajectories}

    def __call__(
        self, logits: Float[Tensor, "num_rows vocabulary"], rows: Sequence[Row]
    ) -> Int[Tensor, " num_rows"]:
        likeliest = logits.argmax(dim=-1)  # what a model that is not forced has to look for as well
        chosen = [self._ids[row.request.id][row.state.sampled] for row in rows]
        return torch.tensor(chosen, device=likeliest.device)


class DelayedSearch:
    """A retriever that answers each call with the same passages after some time.

    Attributes:
        calls_at_a_time: as `RemoteSearcher` has it, the kind that takes its time.
    """

    calls_at_a_time = 4

    def __init__(self, found: list[Passage], *, delay: float) -> None:
        self._found = found
        self._delay = delay

    def __call__(self, queries: Sequence[Query]) -> list[list[Passage]]:
        time.sleep(self._delay)
        return [self._found for _ in queries]


def run_ours(
    model: PixSearch,
    trajectories: Sequence[ForcedTrajectory],
    *,
    batch_size: int,
    delay: float = 0.0,
) -> Engine:
    """Answer along the trajectories; the engine, for its counts.

    Raises:
        AssertionError: an answer has other ids than its trajectory.
    """
    first = trajectories[0]
    evidence_tokens = len(first.evidence_ids)
    of_passages = evidence_tokens - model.renderer.num_evidence_tokens(first.question)
    engine = Engine(
        model,
        DelayedSearch(passages(model, evidence_tokens), delay=delay),
        PolicyOptions(
            allow=[QueryType.text],
            max_searches=max(1, first.num_searches),
            evidence_tokens=of_passages,
        ),
        GenerationOptions(
            max_new_tokens=len(first.sampled_ids),
            answer_tokens=1,
            batch_size=batch_size,
            waiting_slots=0,  # no more rows at a time than the other side has
            max_length=max(each.num_tokens for each in trajectories),
        ),
        choose=Forced(trajectories),
    )
    requests = [
        Request(id=each.id, question=each.question, image=each.image) for each in trajectories
    ]
    for each, answer in zip(trajectories, engine.generate(requests), strict=True):
        assert answer.rendered.input_ids == _ids_of(each), f"{each.id} is not as forced"
    return engine


def _ids_of(trajectory: ForcedTrajectory) -> list[int]:
    *_, last = trajectory.contexts()
    return [*last, *trajectory.segments[-1]]

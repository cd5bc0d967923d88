"""Sample trajectories while a model trains: the engine, as `pixsearch.training.fit` wants it."""

from collections.abc import Sequence

from pixsearch.chat import Text
from pixsearch.config import (
    GenerationOptions,
    OnSearchFailure,
    PolicyOptions,
    RetrievalOptions,
)
from pixsearch.datasets.example import Example
from pixsearch.generation import Engine, Request, Trajectory
from pixsearch.model import PixSearch
from pixsearch.queries import Passage, Query, search_under
from pixsearch.retrieval.opening import open_searcher
from pixsearch.training.samples import Evaluate

SAMPLE_TOKENS = 64  # per answer: a model that has learned little does not come to an end


def sampler(retrieval: RetrievalOptions | None) -> Evaluate:
    """Answers the first question of each example.

    Args:
        retrieval: what is searched; with None no search is allowed.
    """
    on_failure = OnSearchFailure.answer_without  # samples are to look at, no reason to end a run
    full = PolicyOptions(on_search_failure=on_failure)
    policy = full if retrieval else PolicyOptions(name="no_search", allow=[])
    search = search_under(policy, open_searcher(retrieval)) if retrieval else no_passages
    options = GenerationOptions(max_new_tokens=SAMPLE_TOKENS)

    def evaluate(model: PixSearch, examples: Sequence[Example]) -> list[Trajectory]:
        engine = Engine(model, search, policy, options)
        requests = [request_of(example, place) for place, example in enumerate(examples)]
        return engine.generate(requests)

    return evaluate


def no_passages(queries: Sequence[Query]) -> list[list[Passage]]:
    """A search that finds nothing."""
    return [[] for _ in queries]


def request_of(example: Example, place: int) -> Request:
    """The first question of a training conversation, to be answered anew.

    Args:
        place: among the examples; ids alone may be those of another dataset's example too.
    """
    parts = example.conversation.messages[0].parts
    question = " ".join(part.text for part in parts if isinstance(part, Text))
    image = example.load_image() if example.load_image else None
    return Request(
        id=f"{place}/{example.id}", question=question, image=image, image_id=example.image_id
    )

"""A region that the request brings is searched before anything is said (the pipeline baseline)."""

from dataclasses import replace

import numpy as np
import pytest

from pixsearch.config import ForcedFirst, GenerationOptions, OnEmptyMask, PolicyOptions, QueryType
from pixsearch.generation import Engine, Request
from pixsearch.generation.answering import AnyEngine
from pixsearch.generation.baseline import PlainEngine
from pixsearch.rendering import TokenKind
from tests.generation.scripted import QUESTION, RecordingSearch, picture
from tests.plain import plain_model

PIPELINE = PolicyOptions(name="pipeline", allow=[], max_searches=1, forced_first=ForcedFirst.region)
SHORT = GenerationOptions(max_new_tokens=6, answer_tokens=2)
MASK = np.zeros((20, 30), dtype=bool)
MASK[4:12, 5:15] = True


def found() -> Request:
    return Request(id="one", question=QUESTION, image=picture(), find_region=lambda: MASK)


@pytest.fixture(params=["pixsearch", "plain"])
def engine_of(request, model):
    def make(search: RecordingSearch, policy: PolicyOptions = PIPELINE) -> AnyEngine:
        if request.param == "plain":
            return PlainEngine(plain_model(), search, policy, SHORT)
        return Engine(model, search, policy, SHORT)

    return make


def test_the_found_region_is_searched_and_nothing_else(engine_of) -> None:
    search = RecordingSearch()
    (trajectory,) = engine_of(search).generate([found()])
    (query,) = search.queries
    assert query.type is QueryType.region
    assert np.array_equal(query.mask, MASK)
    assert query.question == QUESTION
    (record,) = trajectory.searches
    assert record.forced
    assert np.array_equal(record.mask, MASK)
    assert trajectory.counts[TokenKind.EVIDENCE] > 0
    assert trajectory.grounded == ()


@pytest.mark.parametrize(
    ("action", "types"),
    [(OnEmptyMask.whole_image, [QueryType.image]), (OnEmptyMask.skip, [])],
)
def test_where_nothing_is_found_the_policy_says_what_is_searched(engine_of, action, types) -> None:
    search = RecordingSearch()
    engine = engine_of(search, replace(PIPELINE, on_empty_mask=action))
    nothing = replace(found(), find_region=lambda: np.zeros_like(MASK))
    (trajectory,) = engine.generate([nothing])
    assert [query.type for query in search.queries] == types
    assert trajectory.searches[0].empty_mask_action is action
    assert engine.stats.empty_masks == 1


def test_a_request_without_an_image_is_answered_without_a_search(engine_of) -> None:
    search = RecordingSearch()
    (trajectory,) = engine_of(search).generate([Request(id="one", question=QUESTION)])
    assert search.queries == []
    assert trajectory.searches == ()


def test_a_request_that_brings_no_region_is_refused(engine_of) -> None:
    with pytest.raises(ValueError, match=r"request one: .*=region, but nothing"):
        engine_of(RecordingSearch()).generate([replace(found(), find_region=None)])

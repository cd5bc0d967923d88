"""What is searched and said when time gets short."""

import threading

import pytest
import torch

from pixsearch.config import GenerationOptions, OnSearchFailure, PolicyOptions, QueryType
from pixsearch.generation import Engine, Request
from pixsearch.generation.deadline import ChooseByDeadline, Deadline, SearchByDeadline
from pixsearch.model import PixSearch
from pixsearch.queries import Query, SearchFailed
from tests.generation.scripted import QUESTION, RecordingSearch, picture

TEXTS = [Query.of_text("a"), Query.of_text("b")]


class Clock:
    """A second later each time that it is looked at."""

    def __init__(self, step: float = 1.0) -> None:
        self.now = 0.0
        self._step = step

    def __call__(self) -> float:
        self.now += self._step
        return self.now


def eager_model(model: PixSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the model search whenever it may, by words, else say a word; never end by itself."""
    ids = model.config.ids
    word = model.renderer.plain_ids("cup")[0]
    wish = torch.zeros(len(model.tokenizer))
    wish[ids.search], wish[ids.search_end], wish[word], wish[ids.end] = 9, 8, 7, -9
    monkeypatch.setattr(model, "next_logits", lambda states: wish.expand(len(states), -1))


def answer(model: PixSearch, deadline: Deadline, search: RecordingSearch):
    policy = PolicyOptions(
        allow=[QueryType.text],
        max_searches=50,
        evidence_tokens=20,
        on_search_failure=OnSearchFailure.answer_without,
    )
    engine = Engine(
        model,
        SearchByDeadline(search, deadline),
        policy,
        GenerationOptions(max_new_tokens=300, answer_tokens=8),
        choose=ChooseByDeadline(deadline, model.config.ids),
    )
    return engine.generate([Request(id="one", question=QUESTION, image=picture())])[0]


def test_searches_end_first_then_the_answer(model, monkeypatch):
    eager_model(model, monkeypatch)
    search, deadline = RecordingSearch(), Deadline(Clock())
    deadline.begin(search_seconds=12.0, answer_seconds=40.0)
    trajectory = answer(model, deadline, search)
    assert 0 < len(search.queries) < 6
    assert len(trajectory.answer_text.split()) > 5  # words in the time between the two
    assert len(trajectory.rendered) < 300


def test_time_that_is_up_ends_an_answer_whatever_it_was_about_to_say(model, monkeypatch):
    eager_model(model, monkeypatch)
    search = RecordingSearch()
    trajectory = answer(model, Deadline(), search)  # never begun
    assert trajectory.answer_text == ""
    assert search.queries == []


def test_a_search_that_is_being_written_when_time_gets_short_is_closed(model, monkeypatch):
    eager_model(model, monkeypatch)
    ids = model.config.ids
    deadline = Deadline(Clock(0.0))
    taken = []
    choose = ChooseByDeadline(deadline, ids)
    row = torch.full((1, len(model.tokenizer)), -torch.inf)
    row[0, ids.search_end], row[0, 0] = 1.0, 2.0  # inside a payload: a word or the close
    taken.append(choose(row, []).item())
    row[0, ids.search_end] = -torch.inf  # where a payload begins: words alone
    taken.append(choose(row, []).item())
    assert taken == [ids.search_end, 0]


def test_a_search_in_time_is_the_searchers():
    deadline = Deadline()
    deadline.begin(search_seconds=60.0, answer_seconds=60.0)
    search = RecordingSearch("A passage.")
    assert SearchByDeadline(search, deadline)(TEXTS) == search(TEXTS)


def test_an_error_of_the_searcher_is_passed_on():
    def broken(queries):
        raise SearchFailed("the server is away")

    deadline = Deadline()
    deadline.begin(search_seconds=60.0, answer_seconds=60.0)
    search = SearchByDeadline(broken, deadline)
    for _ in range(2):  # the searcher is free again after the first
        with pytest.raises(SearchFailed, match="server is away"):
            search(TEXTS)


def test_a_searcher_that_does_not_come_back_is_not_waited_for():
    released, ended = threading.Event(), threading.Event()
    quick = RecordingSearch()

    def slow(queries):
        released.wait()
        ended.set()
        return quick(queries)

    deadline = Deadline(Clock(0.0))  # stands still: each wait is as long as is said here
    search = SearchByDeadline(slow, deadline)
    deadline.begin(search_seconds=0.05, answer_seconds=60.0)
    for _ in range(2):  # the second waits for the first, in vain
        with pytest.raises(SearchFailed, match="time for searching is up"):
            search(TEXTS)
    assert quick.queries == []
    released.set()
    ended.wait()
    deadline.begin(search_seconds=60.0, answer_seconds=60.0)
    assert len(search(TEXTS)) == 2


def test_no_search_begins_when_time_is_up():
    search = RecordingSearch()
    with pytest.raises(SearchFailed, match="time for searching is up"):
        SearchByDeadline(search, Deadline())(TEXTS)
    assert search.queries == []

"""Searches of many rows in few calls, and what becomes of those that do not come back."""

import math
import threading
import time
from collections.abc import Sequence

import pytest

from pixsearch.generation.failures import Found
from pixsearch.generation.search_pool import MAX_HUNG, Answered, SearchPool
from pixsearch.queries import Query

LONG = 60.0  # seconds that no test takes


class Retriever:
    """Finds nothing; hangs at queries with the word `hang` until it is let go."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.let_go = threading.Event()

    def __call__(self, queries: Sequence[Query], until: float) -> list[Found | Exception]:
        texts = [query.text or "" for query in queries]
        self.calls.append(texts)
        if "hang" in texts:
            self.let_go.wait(LONG)
        return [Found(failed=text) for text in texts]


class Client:
    """A pool and who asks it."""

    def __init__(self, *, window: float = 0.0, timeout: float = LONG, threads: int = 1) -> None:
        self.retriever = Retriever()
        self.came = threading.Event()
        self.pool = SearchPool(
            self.retriever,
            num_threads=threads,
            window_seconds=window,
            timeout_seconds=timeout,
            wake=self.came.set,
        )

    def ask(self, *texts: str) -> None:
        for text in texts:
            self.pool.ask(text, Query.of_text(text))

    def take(self, number: int) -> list[Answered]:
        """As many answers, in the order in which they came."""
        taken: list[Answered] = []
        while len(taken) < number:
            self.came.wait(0.05)
            self.came.clear()
            taken += self.pool.take_answered()
        return taken


@pytest.fixture
def make_client():
    made: list[Client] = []

    def make(**options) -> Client:
        made.append(Client(**options))
        return made[-1]

    yield make
    for client in made:
        client.retriever.let_go.set()
        client.pool.close()


def test_queries_within_a_window_are_one_call(make_client) -> None:
    client = make_client(window=LONG)
    client.ask("a", "b", "c")
    assert client.pool.take_answered() == []
    client.pool.hurry()
    assert [(one.ticket, one.found.failed) for one in client.take(3)] == [
        (text, text) for text in "abc"
    ]
    assert client.retriever.calls == [["a", "b", "c"]]
    client.pool.hurry()  # nothing is there: it does not hang on to the next window
    client.ask("d")
    time.sleep(0.05)
    assert client.retriever.calls == [["a", "b", "c"]]


def test_a_window_ends_by_itself(make_client) -> None:
    client = make_client(window=0.01)
    client.ask("a")
    client.take(1)
    assert client.retriever.calls == [["a"]]


def test_several_threads_ask_at_a_time(make_client) -> None:
    client = make_client(threads=2)
    client.ask("hang")
    while not client.retriever.calls:
        time.sleep(0.005)
    client.ask("b")
    assert [one.ticket for one in client.take(1)] == ["b"]
    client.retriever.let_go.set()
    assert [one.ticket for one in client.take(1)] == ["hang"]


def test_what_is_late_is_given_up_and_holds_up_no_other(make_client) -> None:
    client = make_client(timeout=0.2)
    client.ask("hang")
    (late,) = client.take(1)
    assert (late.ticket, late.found) == ("hang", None)
    client.ask("b")
    (found,) = client.take(1)
    assert (found.ticket, found.found.failed) == ("b", "b")
    client.retriever.let_go.set()
    time.sleep(0.05)
    assert client.pool.take_answered() == []  # what comes too late is dropped


def test_a_query_behind_one_that_hangs_is_late_too(make_client) -> None:
    client = make_client(timeout=0.2)
    client.ask("hang")
    while not client.retriever.calls:
        time.sleep(0.005)
    client.ask("b")
    assert {one.ticket for one in client.take(2)} == {"hang", "b"}


def test_threads_that_hang_are_counted(make_client) -> None:
    client = make_client(timeout=0.05)
    for _ in range(MAX_HUNG + 3):
        client.ask("hang")
        assert client.take(1)[0].found is None
    assert len(client.retriever.calls) == MAX_HUNG
    client.retriever.let_go.set()
    while any(one.name == "search" for one in threading.enumerate()):
        time.sleep(0.005)
    client.ask("b")
    assert client.take(1)[0].found is not None


def test_nobody_waits_for_what_is_forgotten(make_client) -> None:
    client = make_client(window=LONG)
    client.ask("a", "b")
    client.pool.forget("a")
    client.pool.hurry()
    assert [one.ticket for one in client.take(1)] == ["b"]
    assert client.retriever.calls == [["b"]]


def test_a_forgotten_call_that_hangs_does_not_hold_the_thread_for_ever(make_client) -> None:
    client = make_client(timeout=0.2)
    client.ask("hang")
    while not client.retriever.calls:
        time.sleep(0.005)
    client.pool.forget("hang")
    time.sleep(0.2)
    client.pool.take_answered()
    client.ask("b")
    assert client.take(1)[0].found is not None


def test_a_forgotten_call_that_hangs_is_out_of_the_way_of_what_was_asked_before_it_was_late(
    make_client,
) -> None:
    client = make_client(timeout=0.4)
    client.ask("hang")
    while not client.retriever.calls:
        time.sleep(0.005)
    hangs_until = client.pool.next_timeout
    time.sleep(0.2)
    client.ask("b")
    client.pool.forget("hang")
    assert client.pool.next_timeout == hangs_until  # so that the engine looks up then
    (found,) = client.take(1)
    assert found.found is not None


def test_without_a_timeout_a_thread_with_a_call_is_busy(make_client) -> None:
    client = make_client(timeout=math.inf, threads=2)
    client.ask("hang")
    while not client.retriever.calls:
        time.sleep(0.005)
    client.ask("b")
    assert [one.ticket for one in client.take(1)] == ["b"]
    client.pool.close()  # does not wait for the call that hangs

"""Clients that go away or stop reading at the worst moment: place and slot are free again."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager

import pytest
from fastapi import FastAPI

from pixsearch.config import ChatServerOptions, GenerationOptions, PolicyOptions
from pixsearch.generation import Engine, Request
from pixsearch.generation.online import OnlineEngine
from pixsearch.model import PixSearch
from pixsearch.serving import stream
from pixsearch.serving.app import create_app
from pixsearch.serving.conversation import Conversation
from pixsearch.serving.metrics import ChatMetrics
from pixsearch.serving.stream import EventStream
from tests.generation.scripted import QUESTION, ids_of
from tests.retrieval.serving import PATIENCE
from tests.serving.test_chat import ForEveryRequest, HeldSearch

SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},  # what uvicorn says
    "http_version": "1.1",
    "method": "POST",
    "scheme": "http",
    "path": "/v1/chat/completions",
    "root_path": "",
    "query_string": b"",
    "headers": [],
}  # fmt: skip
Send = Callable[[dict], Awaitable[None]]


@pytest.fixture
def search() -> HeldSearch:
    return HeldSearch()


@pytest.fixture
def engine(shared_model: PixSearch, search: HeldSearch) -> Engine:
    choose = ForEveryRequest(ids_of(shared_model, ":search", "cup", ":search_end", "x"))
    return Engine(
        shared_model,
        search,
        PolicyOptions(evidence_tokens=40),
        GenerationOptions(),
        choose=choose,
    )


class One:
    """An application with one place, in this loop, without a socket."""

    def __init__(self, engine: Engine, online: OnlineEngine) -> None:
        self.metrics = ChatMetrics(engine, online)
        settings = ChatServerOptions(queue_size=1)
        self._app: FastAPI = create_app(online, settings, self.metrics)

    async def ask(self, send: Send, *, goes: Awaitable[object] | None = None) -> None:
        """A stream; the client goes away when `goes` is done, else never."""
        body = json.dumps({"messages": [{"role": "user", "content": QUESTION}], "stream": True})
        messages = [{"type": "http.request", "body": body.encode(), "more_body": False}]

        async def receive() -> dict:
            if messages:
                return messages.pop()
            await (goes or asyncio.Event().wait())
            return {"type": "http.disconnect"}

        await asyncio.wait_for(self._app(dict(SCOPE), receive, send), PATIENCE)

    def count(self, status: int) -> float | None:
        labels = {"path": "/v1/chat/completions", "status": str(status)}
        return self.metrics.registry.get_sample_value("pixsearch_requests_total", labels)


@asynccontextmanager
async def freed(online: OnlineEngine) -> AsyncIterator[None]:
    yield
    async with asyncio.timeout(PATIENCE):
        while online.num_unfinished:
            await asyncio.sleep(0.01)


def test_a_client_gone_before_the_first_byte_keeps_no_place(
    engine: Engine, search: HeldSearch
) -> None:
    async def ask_twice(online: OnlineEngine) -> None:
        one = One(engine, online)

        async def blocked(message: dict) -> None:
            head.set()
            await asyncio.Event().wait()

        async with freed(online):
            for place in range(2):  # the second would be told to wait, if there were no place
                head = asyncio.Event()
                await one.ask(blocked, goes=head.wait())
                assert one.count(499) == place + 1

    search.go.set()
    with OnlineEngine(engine) as online:
        asyncio.run(ask_twice(online))


class Pieces:
    """Events of which the third never comes."""

    def __init__(self) -> None:
        self.are_closed = False

    async def come(self) -> AsyncGenerator[bytes, None]:
        try:
            yield b"first"
            yield b"second"
            await asyncio.Event().wait()
        finally:
            self.are_closed = True


def streamed(pieces: Pieces, send: Send) -> int:
    """The outcome of a stream whose deadline is over when it begins."""

    async def never() -> dict:
        return await asyncio.Event().wait()

    async def stream_all() -> EventStream:
        options, deadline = ChatServerOptions(), time.monotonic()
        response = EventStream(pieces.come(), options, deadline=deadline, at_end=ExitStack())
        response.at_end.callback(ended.append, True)
        await asyncio.wait_for(response(dict(SCOPE), never, send), PATIENCE)
        return response

    ended: list[bool] = []
    outcome = asyncio.run(stream_all()).outcome
    assert ended == [True]
    return outcome


def test_a_client_that_stops_reading_is_cut_off_behind_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def reads_one(message: dict) -> None:
        if message.get("body") == b"second":
            await asyncio.Event().wait()

    monkeypatch.setattr(stream, "TELLING_SECONDS", 0.1)
    pieces = Pieces()
    assert streamed(pieces, reads_one) == 504
    assert pieces.are_closed


def test_a_client_that_reads_is_told_of_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    async def reads(message: dict) -> None:
        told.append(message.get("body"))

    monkeypatch.setattr(stream, "TELLING_SECONDS", PATIENCE)
    pieces = Pieces()
    assert streamed(pieces, reads) == 504
    assert pieces.are_closed
    *words, error, done, end = told
    assert words == [None, b"first", b"second"]
    assert json.loads(error.removeprefix(b"data: "))["error"]["code"] == 504
    assert (done, end) == (b"data: [DONE]\n\n", b"")


class SlowToHandIn(OnlineEngine):
    """Hands in when it is let go."""

    def __init__(self, engine: Engine) -> None:
        self.asked, self.go, self.done = (threading.Event() for _ in range(3))
        super().__init__(engine)

    def submit(self, request: Request, deliver: Callable) -> None:
        self.asked.set()
        assert self.go.wait(PATIENCE)
        super().submit(request, deliver)
        self.done.set()


def test_a_request_handed_in_too_late_is_taken_back(engine: Engine, search: HeldSearch) -> None:
    async def enter_and_give_up(online: SlowToHandIn) -> None:
        request = Request(id="1", question=QUESTION)
        entering = asyncio.ensure_future(Conversation(online, request).__aenter__())
        await asyncio.to_thread(online.asked.wait, PATIENCE)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        async with freed(online):  # while its search is held
            online.go.set()
            assert await asyncio.to_thread(online.done.wait, PATIENCE)

    with SlowToHandIn(engine) as online:
        asyncio.run(enter_and_give_up(online))
        search.go.set()


def test_an_engine_outlives_the_loop_of_its_server(engine: Engine, search: HeldSearch) -> None:
    async def enter(online: OnlineEngine) -> None:
        await Conversation(online, Request(id="1", question=QUESTION)).__aenter__()

    with OnlineEngine(engine) as online:
        asyncio.run(enter(online))  # its loop is closed now, as when a server has drained
        search.go.set()
        asyncio.run(wait_until_freed(online))
        assert online.error is None


async def wait_until_freed(online: OnlineEngine) -> None:
    async with freed(online):
        pass

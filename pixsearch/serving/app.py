"""The routes of the server of answers: bodies in, completions out."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import ClientDisconnect

from pixsearch.config import ChatServerOptions
from pixsearch.generation.events import TokenEvent
from pixsearch.generation.online import OnlineEngine
from pixsearch.serving.asking import Asked, read_chat
from pixsearch.serving.conversation import Conversation
from pixsearch.serving.deadline import timeout_at
from pixsearch.serving.metrics import ChatMetrics
from pixsearch.serving.stream import EventStream
from pixsearch.serving.telling import Completion, as_event, as_openai_error, pieces_of
from pixsearch.web.bodies import check_token, read_body
from pixsearch.web.refusals import Busy, refusal

COMPLETIONS = "/v1/chat/completions"
Answer = Callable[[Request], Awaitable[Response]]


class ChatRoutes:
    """What each path replies.

    Args:
        token: without it nothing but `/health` is told; None: to everybody.
    """

    def __init__(
        self,
        online: OnlineEngine,
        options: ChatServerOptions,
        metrics: ChatMetrics,
        *,
        token: str | None,
    ) -> None:
        self._online = online
        self._options = options
        self._metrics = metrics
        self._token = token
        self._taken = 0  # requests from their first byte to their last; the event loop's alone

    async def completions(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        return await self._guarded(COMPLETIONS, request, self._complete)

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`: the one model."""
        return await self._guarded("/v1/models", request, self._list)

    async def metrics(self, request: Request) -> Response:
        """`GET /metrics`: counters for Prometheus."""
        return await self._guarded("/metrics", request, self._exposition)

    async def health(self) -> Response:
        """`GET /health`: the engine's thread lives; 503 once it has died of an error."""
        if self._online.error is None:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "the engine has died"}, 503)

    async def _guarded(self, path: str, request: Request, answer: Answer) -> Response:
        """The reply to who may ask, else why there is none. Counted in either case."""
        started = time.monotonic()
        count = partial(self._count, path, started)
        try:
            check_token(request, self._token)
            response = await answer(request)
        except Exception as error:  # the table of refusals has a status for each
            response = told_as_openai(refusal(error))
        if isinstance(response, EventStream):
            response.at_end.callback(lambda: count(response.outcome))
        else:
            count(response.status_code)
        return response

    def _count(self, path: str, started: float, status: int) -> None:
        self._metrics.count(path, status, time.monotonic() - started)

    async def _complete(self, request: Request) -> Response:
        deadline = time.monotonic() + self._options.timeout_seconds
        with ExitStack() as at_end:
            at_end.enter_context(self._place())
            asked, completion = await self._read(request, deadline)
            if not asked.stream:
                return await self._whole(request, asked, completion, deadline)
            return EventStream(
                self._pieces(asked, completion),
                self._options,
                deadline=deadline,
                at_end=at_end.pop_all(),  # a stream keeps its place to its end
            )

    @contextmanager
    def _place(self) -> Iterator[None]:
        """One of the places for requests.

        Raises:
            Busy: there is none.
        """
        if self._taken >= self._options.queue_size:
            raise Busy(f"{self._taken} requests are being answered: ask again later")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    async def _read(self, request: Request, deadline: float) -> tuple[Asked, Completion]:
        id = f"chatcmpl-{uuid.uuid4().hex}"
        async with timeout_at(deadline, self._options):
            body = await read_body(request, self._options.max_body_mib)
            read = partial(read_chat, body, self._options, request_id=id)
            asked = await asyncio.to_thread(read)
        name = self._options.model_name
        return asked, Completion(id=id, model=name, created=int(time.time()))

    async def _whole(
        self, request: Request, asked: Asked, completion: Completion, deadline: float
    ) -> JSONResponse:
        """The reply in one piece, unless the client goes away before."""
        async with (
            timeout_at(deadline, self._options),
            Conversation(self._online, asked.request) as conversation,
        ):
            trajectory = await unless_gone(request, conversation.trajectory())
        return await asyncio.to_thread(lambda: JSONResponse(completion.whole(trajectory)))

    async def _pieces(self, asked: Asked, completion: Completion) -> AsyncGenerator[bytes, None]:
        """The reply piece by piece."""
        tell = partial(pieces_of, completion, with_usage=asked.include_usage)
        async with Conversation(self._online, asked.request) as conversation:
            yield as_event(completion.chunk({"role": "assistant", "content": ""}))
            async for event in conversation.events():
                is_short = isinstance(event, TokenEvent)  # no mask, no passages: not worth a thread
                for piece in tell(event) if is_short else await asyncio.to_thread(tell, event):
                    yield piece

    async def _list(self, request: Request) -> Response:
        model = {"id": self._options.model_name, "object": "model", "owned_by": "pixsearch"}
        return JSONResponse({"object": "list", "data": [{**model, "created": 0}]})

    async def _exposition(self, request: Request) -> Response:
        return PlainTextResponse(self._metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


def create_app(
    online: OnlineEngine,
    options: ChatServerOptions,
    metrics: ChatMetrics,
    *,
    token: str | None = None,
) -> FastAPI:
    """The application; whoever made the engine closes it."""
    routes = ChatRoutes(online, options, metrics, token=token)
    app = FastAPI(title="PixSearch", openapi_url=None)
    app.add_api_route(COMPLETIONS, routes.completions, methods=["POST"])
    app.add_api_route("/v1/models", routes.models, methods=["GET"])
    app.add_api_route("/metrics", routes.metrics, methods=["GET"])
    app.add_api_route("/health", routes.health, methods=["GET"])
    return app


async def unless_gone(request: Request, answer: Awaitable[object]) -> object:
    """What is awaited, unless the client hangs up.

    Raises:
        ClientDisconnect: it did.
    """
    answering = asyncio.ensure_future(answer)
    going = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({answering, going}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise ClientDisconnect
        return answering.result()
    finally:
        for task in (answering, going):
            task.cancel()


async def _gone(request: Request) -> None:
    """Returns when the client has hung up; the body was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def told_as_openai(refused: JSONResponse) -> JSONResponse:
    """A refusal as OpenAI's clients know it, with the headers that say what to do."""
    kept = {
        name: refused.headers[name]
        for name in ("retry-after", "www-authenticate")
        if name in refused.headers
    }
    return JSONResponse(as_openai_error(refused), refused.status_code, kept)

"""The routes of the server: bodies in, replies out. What is searched is the owner's affair."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from pixsearch.config import QueryType, ServerOptions
from pixsearch.retrieval.build import IMAGE, LEXICAL, TEXT
from pixsearch.retrieval.info import SourceInfo
from pixsearch.retrieval.server.metrics import Metrics
from pixsearch.retrieval.server.owner import Owner, OwnerState
from pixsearch.retrieval.server.requests import (
    Reranking,
    Retrieval,
    read_reranking,
    read_retrieval,
)
from pixsearch.retrieval.wire import result_of
from pixsearch.web.bodies import check_token, read_body
from pixsearch.web.refusals import NotReady, refusal

LIMITS = (
    "topk",
    "max_topk",
    "max_queries",
    "max_query_characters",
    "max_body_mib",
    "max_image_megapixels",
    "max_request_megapixels",
    "timeout_seconds",
)

Answer = Callable[[Request], Awaitable[Any]]


class Routes:
    """What each path replies.

    Args:
        token: without it nothing but `/health` and `/ready` is told; None: to everybody.
    """

    def __init__(
        self, owner: Owner, options: ServerOptions, metrics: Metrics, *, token: str | None
    ) -> None:
        self._owner = owner
        self._options = options
        self._metrics = metrics
        self._token = token

    async def retrieve(self, request: Request) -> Response:
        """`POST /retrieve`: passages for each query."""
        return await self._guarded("/retrieve", request, self._retrieve)

    async def rerank(self, request: Request) -> Response:
        """`POST /rerank`: documents of each query by what a cross-encoder thinks of them."""
        return await self._guarded("/rerank", request, self._rerank)

    async def info(self, request: Request) -> Response:
        """`GET /info`: what is searched, and the limits of a request."""
        return await self._guarded("/info", request, self._info)

    async def metrics(self, request: Request) -> Response:
        """`GET /metrics`: counters for Prometheus."""
        return await self._guarded("/metrics", request, self._exposition)

    async def health(self) -> Response:
        """`GET /health`: the process is there."""
        return JSONResponse({"status": "ok"})

    async def ready(self) -> Response:
        """`GET /ready`: searches are answered; 503 while indexes are loaded."""
        if self._owner.state is OwnerState.ready:
            return JSONResponse({"status": "ready"})
        return refusal(NotReady(f"the server is {self._owner.state}"))

    async def _guarded(self, path: str, request: Request, answer: Answer) -> Response:
        """The reply to who may ask, in time; else why there is none. Counted in either case."""
        started = time.perf_counter()
        try:
            check_token(request, self._token)
            async with asyncio.timeout(self._options.timeout_seconds):
                answered = await answer(request)
            response = answered if isinstance(answered, Response) else JSONResponse(answered)
        except TimeoutError:
            seconds = self._options.timeout_seconds
            response = refusal(TimeoutError(f"it took longer than {seconds:g} s"))
        except Exception as error:  # the table of refusals has a status for each
            response = refusal(error)
        self._metrics.count(path, response.status_code, time.perf_counter() - started)
        return response

    async def _retrieve(self, request: Request) -> dict[str, Any]:
        asked, found = await self._through_owner(request, read_retrieval)
        return {"result": [result_of(one, with_scores=asked.return_scores) for one in found]}

    async def _rerank(self, request: Request) -> dict[str, Any]:
        asked, rankings = await self._through_owner(request, read_reranking)
        return {"result": _reranked(asked, rankings)}

    async def _through_owner(
        self,
        request: Request,
        read: Callable[[bytes, ServerOptions], Retrieval | Reranking],
    ) -> tuple[Any, Any]:
        """What was asked, and what the owner says to it."""
        self._owner.take_place()
        try:
            body = await read_body(request, self._options.max_body_mib)
            asked = await asyncio.to_thread(read, body, self._options)
        except BaseException:  # also when the time is up
            self._owner.leave_place()
            raise
        return asked, await asyncio.wrap_future(self._owner.submit(asked))

    async def _info(self, request: Request) -> dict[str, Any]:
        if self._owner.info is None:
            raise NotReady(f"the server is {self._owner.state}: ask again later")
        return {
            **self._owner.info.to_json(),
            "modalities": [type.value for type in types_of(self._owner.info)],
            "limits": {name: getattr(self._options, name) for name in LIMITS},
        }

    async def _exposition(self, request: Request) -> Response:
        return PlainTextResponse(self._metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


def create_app(
    owner: Owner, options: ServerOptions, metrics: Metrics, *, token: str | None = None
) -> FastAPI:
    """The application; the owner, which whoever made it starts, drains when it ends."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(owner.stop, options.drain_seconds)

    routes = Routes(owner, options, metrics, token=token)
    app = FastAPI(title="PixSearch", lifespan=lifespan, openapi_url=None)
    app.add_api_route("/retrieve", routes.retrieve, methods=["POST"])
    app.add_api_route("/rerank", routes.rerank, methods=["POST"])
    for name in ("info", "metrics", "health", "ready"):
        app.add_api_route(f"/{name}", getattr(routes, name), methods=["GET"])
    return app


def types_of(info: SourceInfo) -> list[QueryType]:
    """The types of queries that the indexes can answer."""
    names = {name.rpartition("/")[2] for name in info.manifests}  # behind the number of a part
    by_words, by_image = bool(names & {TEXT, LEXICAL}), IMAGE in names
    return [type for type in QueryType if (by_words if type is QueryType.text else by_image)]


def _reranked(asked: Reranking, rankings: list[list[tuple[int, float]]]) -> list[list[Any]]:
    """The documents as they came, best first, each bare or with its new score."""
    results = []
    for documents, ranking in zip(asked.documents, rankings, strict=True):
        ranked = [documents[place].get("document", documents[place]) for place, _ in ranking]
        if asked.return_scores:
            scores = [score for _, score in ranking]
            pairs = zip(ranked, scores, strict=True)
            ranked = [{"document": document, "score": score} for document, score in pairs]
        results.append(ranked)
    return results

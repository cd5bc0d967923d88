"""Starts the server: `scripts/serve_retriever.py`."""

import ipaddress
import logging
import os
import socket
from contextlib import suppress
from functools import partial

import uvicorn

from pixsearch.config import RetrievalOptions, ServeRetrieverOptions, ServerOptions
from pixsearch.retrieval.info import KnowledgeSource
from pixsearch.retrieval.opening import layers, open_searcher
from pixsearch.retrieval.searcher import AnyReranker, Searcher, open_reranker
from pixsearch.retrieval.server.app import create_app
from pixsearch.retrieval.server.metrics import Metrics
from pixsearch.retrieval.server.owner import Owner

logger = logging.getLogger(__name__)

BACKLOG = 2048  # connections that the system keeps until they are taken on


def serve(options: ServeRetrieverOptions) -> None:
    """Answer until SIGTERM or SIGINT; then what is in flight is answered, up to `drain_seconds`.

    Raises:
        ValueError: an index is missing or does not fit, or the server would listen beyond this
            machine without a token.
        OSError: the port is taken.
    """
    token = os.environ.get(options.server.token_variable) or None
    check_reach(options.server, token)
    metrics = Metrics()
    reranker = partial(reranker_of, options=options.retrieval)
    owner = Owner(
        partial(open_searcher, options.retrieval),
        options.server,
        metrics,
        open_reranker=reranker if options.retrieval.reranker.model else None,
    )
    with listen(options.server) as listener:
        app = create_app(owner, options.server, metrics, token=token)
        server = uvicorn.Server(uvicorn_config(app, options.server))
        owner.start(on_failure=partial(setattr, server, "should_exit", True))
        host, port = listener.getsockname()[:2]
        logger.info("listening on http://%s:%d, loading the indexes", host, port)
        with suppress(KeyboardInterrupt):  # uvicorn raises it again once it has drained
            server.run(sockets=[listener])
    if owner.error is not None:
        raise owner.error


def uvicorn_config(app: object, options: ServerOptions) -> uvicorn.Config:
    """No log of accesses (the metrics count them), no web sockets, time to drain."""
    return uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        log_level="warning",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=max(1, round(options.drain_seconds)),
    )


def check_reach(options: ServerOptions, token: str | None) -> None:
    """See that nobody beyond this machine can ask without a token.

    Raises:
        ValueError: somebody could.
    """
    if token is None and not options.allow_without_token and not _is_loopback(options.host):
        raise ValueError(
            f"server.host={options.host} can be reached from other machines: put a token into the "
            f"environment variable {options.token_variable}, or set server.allow_without_token=true"
        )


def listen(options: ServerOptions) -> socket.socket:
    """The socket on which the server takes connections.

    Raises:
        OSError: host or port cannot be had; one line.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise OSError(
            f"server.host={options.host} server.port={options.port}: {error.strerror or error}; "
            "set another port, or 0 for any free one"
        ) from error


def reranker_of(searcher: KnowledgeSource, *, options: RetrievalOptions) -> AnyReranker:
    """The one with which the searcher orders what it finds, else one for `/rerank` alone."""
    for layer in layers(searcher):
        if isinstance(layer, Searcher) and layer.reranker is not None:
            return layer.reranker
    return open_reranker(options)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

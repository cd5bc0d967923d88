"""Starts the server: `scripts/serve_retriever.py`."""

import logging
import os
from contextlib import suppress
from functools import partial

import uvicorn

from pixsearch.config import RetrievalOptions, ServeRetrieverOptions
from pixsearch.retrieval.info import KnowledgeSource
from pixsearch.retrieval.opening import layers, open_searcher
from pixsearch.retrieval.searcher import AnyReranker, Searcher, open_reranker
from pixsearch.retrieval.server.app import create_app
from pixsearch.retrieval.server.metrics import Metrics
from pixsearch.retrieval.server.owner import Owner
from pixsearch.web.listening import check_reach, listen, uvicorn_config

logger = logging.getLogger(__name__)


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


def reranker_of(searcher: KnowledgeSource, *, options: RetrievalOptions) -> AnyReranker:
    """The one with which the searcher orders what it finds, else one for `/rerank` alone."""
    for layer in layers(searcher):
        if isinstance(layer, Searcher) and layer.reranker is not None:
            return layer.reranker
    return open_reranker(options)

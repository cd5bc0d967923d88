"""Starts the server of answers: `scripts/serve.py`."""

import logging
import os
from contextlib import suppress

import uvicorn

from pixsearch.config import ForcedFirst, PolicyOptions, ServeOptions
from pixsearch.generation.engine import Engine
from pixsearch.generation.online import OnlineEngine
from pixsearch.generation.opening import check_options, open_model
from pixsearch.model import PixSearch
from pixsearch.queries import refuse_control, search_under
from pixsearch.retrieval.opening import open_searcher
from pixsearch.serving.app import create_app
from pixsearch.serving.metrics import ChatMetrics
from pixsearch.web.listening import check_reach, listen, uvicorn_config

logger = logging.getLogger(__name__)


def serve(options: ServeOptions) -> None:
    """Answer until SIGTERM or SIGINT; then what is in flight is answered, up to `drain_seconds`.

    Raises:
        ValueError: checkpoint or index are missing or do not fit, the checkpoint is a plain model,
            the policy is a control experiment or needs a detector, or the server would listen
            beyond this machine without a token.
        OSError: the port is taken.
    """
    token = os.environ.get(options.server.token_variable) or None
    check_reach(options.server, token)
    refuse_control(options.policy)
    _refuse_forced_region(options.policy)
    check_options(options.checkpoint, options.policy, options.generation)
    with listen(options.server) as listener:
        engine = open_serving_engine(options)
        with OnlineEngine(engine) as online:
            app = create_app(online, options.server, ChatMetrics(engine, online), token=token)
            server = uvicorn.Server(uvicorn_config(app, options.server))
            host, port = listener.getsockname()[:2]
            logger.info("listening on http://%s:%d", host, port)
            with suppress(KeyboardInterrupt):  # uvicorn raises it again once it has drained
                server.run(sockets=[listener])


def _refuse_forced_region(policy: PolicyOptions) -> None:
    """A request of a client brings no region, and no detector stands beside the server."""
    if policy.forced_first is ForcedFirst.region:
        raise ValueError(
            f"policy={policy.name}: forced_first=region needs a detector, which evaluation alone "
            "has; serve another policy, or use scripts/evaluate.py"
        )


def open_serving_engine(options: ServeOptions) -> Engine:
    """Model, searcher and policy, ready to answer.

    Raises:
        ValueError: the checkpoint is a plain model, or a part cannot be loaded.
    """
    model = open_model(options.checkpoint)
    if not isinstance(model, PixSearch):
        raise ValueError(
            f"checkpoint={options.checkpoint} is a plain model, which does not search of its own "
            "accord: serve it with its own tools"
        )
    search = search_under(options.policy, open_searcher(options.retrieval))
    return Engine(model, search, options.policy, options.generation)

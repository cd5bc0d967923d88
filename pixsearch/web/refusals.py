"""Why a request is refused, and with which status it is told so."""

import logging
from math import ceil

from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from pixsearch.queries import SearchFailed

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1  # what a refused client is told to wait, where the error does not say


class Unauthorized(Exception):
    """The bearer token is missing or wrong."""


class TooLarge(ValueError):
    """A body, an image or a number in the request is above its limit."""


class Busy(Exception):
    """As many requests are in the queue as it takes."""


class NotReady(Exception):
    """The indexes are still being loaded, or the server is being stopped."""


class NotConfigured(Exception):
    """The server was started without what the request asks for."""


STATUS: dict[type[Exception], int] = {  # in this order: an error takes that of the first it is
    Unauthorized: 401,
    TooLarge: 413,
    ValueError: 422,
    Busy: 429,
    ClientDisconnect: 499,  # nobody reads the reply; the metrics do
    NotConfigured: 501,
    NotReady: 503,
    TimeoutError: 504,
}


def refusal(error: Exception) -> JSONResponse:
    """The reply to a request that failed: `{"detail": one line}`."""
    status = _status(error)
    headers = {"Retry-After": _seconds_to_wait(error)} if status in (429, 503) else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == 500:
        logger.error("a request failed", exc_info=error)
    return JSONResponse({"detail": _detail(error, status)}, status, headers)


def _status(error: Exception) -> int:
    """A search that failed for good is no fault of a gateway: clients would ask again."""
    if isinstance(error, SearchFailed):
        if not error.is_temporary:
            return 422
        return 503 if error.retry_after > 0 else 502
    return next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)


def _seconds_to_wait(error: Exception) -> str:
    seconds = error.retry_after if isinstance(error, SearchFailed) else RETRY_SECONDS
    return str(ceil(seconds))


def _detail(error: Exception, status: int) -> str:
    if status == 500:
        return "an error of the server; its log says which"
    if isinstance(error, ValidationError):
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        first = max(errors, key=lambda one: len(one["loc"]))  # the kind of value that fits best
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        return f"{where}: {first['msg']}"
    return " ".join(str(error).split()) or type(error).__name__

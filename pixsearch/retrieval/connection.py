"""JSON over HTTP with one server: pooled connections, retries, a circuit breaker, clear errors."""

import json
import os
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from pixsearch.config import ClientOptions
from pixsearch.queries import SearchFailed
from pixsearch.retrieval.breaker import CircuitBreaker
from pixsearch.retrieval.retry_after import seconds_to_wait

Reply = TypeVar("Reply")

MEBI = 2**20
BUSY = (429, 503)  # the server is there and says that it cannot now
OF_THE_SERVER = 500  # from this status on it is not the request's fault
NEVER = (501,)  # neither is it worth asking again


def _nothing() -> None:
    """What is waited for where there is no limit."""


class Connection:
    """Asks one server. Safe for several threads, which share its pool of connections.

    A try that fails for reasons that may pass is made again up to `options.retries` times: what is
    asked changes nothing on the server. Before each retry it waits a random time, up to
    `backoff_seconds` doubled with each, and no less than the server asks for by Retry-After.

    Args:
        url: `http://host:port`, or https.

    Raises:
        ValueError: the URL is none.
    """

    def __init__(
        self, url: str, options: ClientOptions, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.url = _checked(url)
        self._options = options
        self._sleep = sleep
        self._jitter = random.Random()
        self._breaker = CircuitBreaker(
            self.url, failures=options.breaker_failures, seconds=options.breaker_seconds
        )
        token = os.environ.get(options.token_variable)
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(options.timeout_seconds, connect=options.connect_seconds),
            verify=self.url.startswith("https"),  # certificates take 70 ms to read; http has none
            trust_env=False,  # a proxy for the web does not reach a server on this machine
        )

    def get(self, path: str, read: Callable[[Any], Reply]) -> Reply:
        """What `read` makes of the JSON at a path.

        Args:
            read: raises ValueError where it is not the JSON that was asked for.

        Raises:
            SearchFailed: there is none.
        """
        return self._ask("GET", path, None, read)

    def post(
        self,
        path: str,
        body: bytes,
        read: Callable[[Any], Reply],
        *,
        before_try: Callable[[], None] = _nothing,
    ) -> Reply:
        """What `read` makes of the JSON that a JSON body is answered by; see `get`.

        Args:
            before_try: called before each try, to wait until there may be one.
        """
        return self._ask("POST", path, body, read, before_try)

    def close(self) -> None:
        """Let go of the pooled connections."""
        self._client.close()

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None,
        read: Callable[[Any], Reply],
        before_try: Callable[[], None] = _nothing,
    ) -> Reply:
        for retry in range(self._options.retries + 1):
            before_try()
            self._breaker.check()
            try:
                return self._try(method, path, body, read)
            except SearchFailed as failed:
                wait = max(self._backoff(retry), failed.retry_after)
                is_last = retry == self._options.retries or wait > self._options.max_wait_seconds
                if is_last or not failed.is_temporary:
                    raise SearchFailed(
                        f"{self.url}: {failed} (try {retry + 1})",
                        is_temporary=failed.is_temporary,
                        retry_after=failed.retry_after,
                        status=failed.status,
                    ) from failed
            self._sleep(wait)
        raise AssertionError("unreachable: the last try returns or raises")

    def _backoff(self, retry: int) -> float:
        """A random time, so that many clients do not come back together."""
        return self._jitter.uniform(0, self._options.backoff_seconds * 2**retry)

    def _try(
        self, method: str, path: str, body: bytes | None, read: Callable[[Any], Reply]
    ) -> Reply:
        """One try; the breaker hears of those that find the server away or out of order."""
        try:
            status, headers, content = self._exchange(method, path, body)
            reply = read(_json(content)) if status == httpx.codes.OK else None
        except (httpx.HTTPError, ValueError) as error:
            self._breaker.note_failure()
            raise SearchFailed(_reason(error)) from error
        if status >= OF_THE_SERVER and status not in (*BUSY, *NEVER):
            self._breaker.note_failure()
        else:
            self._breaker.note_answer()
        if status != httpx.codes.OK:
            raise _refused(status, headers, content)
        return reply

    def _exchange(
        self, method: str, path: str, body: bytes | None
    ) -> tuple[int, httpx.Headers, bytes]:
        """Status, headers and content of a reply that is whole, in time and not too long."""
        deadline = time.monotonic() + self._options.timeout_seconds
        headers = {} if body is None else {"Content-Type": "application/json"}
        content = bytearray()
        with self._client.stream(
            method, f"{self.url}{path}", content=body, headers=headers
        ) as response:
            for chunk in response.iter_bytes():
                content += chunk
                if time.monotonic() > deadline:  # httpx's own limit starts anew with each chunk
                    raise httpx.ReadTimeout("the reply comes too slowly")
                if len(content) > self._options.max_reply_mib * MEBI:
                    raise ValueError(f"more than {self._options.max_reply_mib} MiB")
            return response.status_code, response.headers, bytes(content)


def _checked(url: str) -> str:
    """A base URL without a slash at its end."""
    remedy = f"{url!r} is no URL of a server: write http://HOST:PORT"
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(remedy) from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(remedy)
    return url.rstrip("/")


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {content[:40]!r}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"no answer in time ({type(error).__name__})"
    if isinstance(error, httpx.HTTPError):
        return f"no answer ({' '.join(str(error).split()) or type(error).__name__})"
    return f"a malformed reply: {error}"


def _refused(status: int, headers: httpx.Headers, content: bytes) -> SearchFailed:
    """What a status other than 200 means."""
    try:
        detail = str(_json(content)["detail"])
    except (ValueError, KeyError, TypeError):
        detail = content[:200].decode("utf-8", errors="replace")
    detail = " ".join(detail.split())  # a proxy's page has lines
    is_temporary = status in BUSY or (status >= OF_THE_SERVER and status not in NEVER)
    return SearchFailed(
        f"status {status}: {detail}",
        is_temporary=is_temporary,
        retry_after=(seconds_to_wait(headers.get("Retry-After")) or 0.0) if status in BUSY else 0.0,
        status=status,
    )

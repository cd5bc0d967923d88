"""Asks servers for images the way Wikimedia wants to be asked.

https://foundation.wikimedia.org/wiki/Policy:Wikimedia_Foundation_User-Agent_Policy wants a
`User-Agent` that names the program and a person to write to; the robot policy (w.wiki/4wJS) at most
two connections to upload.wikimedia.org and 25 Mbit/s together, and that `Retry-After` is obeyed.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import httpx

from pixsearch.config import ImageSourceOptions
from pixsearch.retrieval.image_decoding import UnusableImageError
from pixsearch.retrieval.retry_after import seconds_to_wait

TRANSIENT = frozenset({408, 425, 429})  # worth another attempt, like all from 500 on
SERVER_ERROR = 500
CONTENT_TYPES = frozenset(
    f"image/{name}" for name in ("jpeg", "jpg", "png", "gif", "webp", "tiff", "bmp", "x-ms-bmp")
)
UNUSABLE = (  # addresses and answers that another attempt would not mend
    httpx.InvalidURL,
    httpx.UnsupportedProtocol,
    httpx.TooManyRedirects,
    httpx.DecodingError,
)
MAX_REDIRECTS = 5
BITS, MEGA = 8, 1_000_000


class DoubtfulError(UnusableImageError):
    """It may be the network or the server that fails, and not the image.

    No answer, none to the end, or 403, which a server also says to a program that it bars.
    """


class TemporaryError(DoubtfulError):
    """All attempts were put off: the server itself says that it could answer at another time."""


class StoppedError(ValueError):
    """Another thread ended the run."""


class ServerBusyError(ValueError):
    """A server asks for more patience than `images.longest_wait`."""


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A file from the network and the requests that it took."""

    data: bytes
    attempts: int


class _Transient(Exception):
    """An attempt that failed and may be repeated, after `wait` seconds if the server said so."""

    def __init__(
        self, reason: str, *, wait: float | None = None, last: type[DoubtfulError] = DoubtfulError
    ) -> None:
        """
        Args:
            last: what it is if it was the last attempt.
        """
        super().__init__(reason)
        self.wait = wait
        self.last = last


class Fetcher:
    """Fetches images, from several threads; limits hold for all of them together. Close it."""

    def __init__(self, options: ImageSourceOptions) -> None:
        """
        Raises:
            ValueError: `options.contact` is not given.
        """
        self._options = options
        self._client = httpx.Client(
            headers={"User-Agent": user_agent(options.contact), "Accept-Encoding": "identity"},
            timeout=options.timeout,
            follow_redirects=True,
            max_redirects=MAX_REDIRECTS,
            limits=httpx.Limits(max_connections=options.connections),
        )
        self._bandwidth = _Bandwidth(options.megabits_per_second)
        self._stopped = threading.Event()
        self._quiet = _Quiet()

    def stop(self) -> None:
        """Give up what is being waited for, in all threads."""
        self._stopped.set()

    def close(self) -> None:
        self._client.close()

    def fetch(self, url: str) -> Fetched:
        """The file at an address; transient failures are tried again after a growing while.

        Raises:
            UnusableImageError: it is not there, no image or too large.
            DoubtfulError: all attempts failed, or the server bars us.
            ServerBusyError: the server asks to wait for longer than `longest_wait`.
        """
        attempts = self._options.attempts
        for attempt in range(1, attempts + 1):
            self._quiet.wait(self._sleep)
            try:
                return Fetched(data=self._attempt(url), attempts=attempt)
            except _Transient as failure:
                self._heed(failure.wait, url)
                if attempt == attempts:
                    raise failure.last(f"{failure}, {attempts} times") from failure
                if failure.wait is None:
                    longest = self._options.back_off * 2 ** (attempt - 1)
                    self._sleep(longest * random.uniform(0.5, 1))
        raise AssertionError("at least one attempt is made")

    def _heed(self, asked: float | None, url: str) -> None:
        """Keep the quiet that a server asks for, be it for another attempt or for the next image.

        Raises:
            ServerBusyError: it is more than `longest_wait`.
        """
        if asked is None:
            return
        if asked > self._options.longest_wait:
            raise ServerBusyError(
                f"{url}: the server asks to wait for {asked:.0f} s, images.longest_wait is "
                f"{self._options.longest_wait:.0f}; run the same command later, it goes on"
            )
        self._quiet.extend(asked)

    def _sleep(self, seconds: float) -> None:
        if seconds > 0 and self._stopped.wait(seconds):
            raise StoppedError("the run was stopped")

    def _attempt(self, url: str) -> bytes:
        try:
            with self._client.stream("GET", url) as response:
                _refuse_status(response)
                _refuse_type(response)
                return self._body(response)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _Transient(f"no answer ({type(error).__name__})") from error
        except UNUSABLE as error:
            raise UnusableImageError(f"{type(error).__name__}: {error}") from error
        except httpx.TransportError as error:
            raise _Transient(f"broken off ({type(error).__name__})") from error

    def _body(self, response: httpx.Response) -> bytes:
        most = self._options.max_megabytes * MEGA
        deadline = time.monotonic() + self._options.timeout
        if int(response.headers.get("Content-Length", "0")) > most:
            raise UnusableImageError(f"larger than {self._options.max_megabytes:g} MB")
        body = bytearray()
        for part in response.iter_bytes():
            body += part
            if len(body) > most:
                raise UnusableImageError(f"larger than {self._options.max_megabytes:g} MB")
            if time.monotonic() > deadline:
                raise _Transient(f"slower than {self._options.timeout:g} s")
            pause = self._bandwidth.wait_for(len(part))
            self._sleep(pause)
            deadline += pause  # the server is not to blame for it
        return bytes(body)


class _Quiet:
    """A time without requests from any thread, for it is they together that a server means."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0  # by time.monotonic()

    def extend(self, seconds: float) -> None:
        """No request for so long from now on."""
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)

    def wait(self, sleep: Callable[[float], None]) -> None:
        """Sleep until it is over, also if another thread extends it meanwhile."""
        while (left := self._until - time.monotonic()) > 0:
            sleep(left)


class _Bandwidth:
    """Spreads bytes over time, for several threads."""

    def __init__(self, megabits_per_second: float | None) -> None:
        self._rate = None if megabits_per_second is None else megabits_per_second * MEGA / BITS
        self._lock = threading.Lock()
        self._free = 0.0  # when all that was asked for has passed, by time.monotonic()

    def wait_for(self, num_bytes: int) -> float:
        """Seconds to wait after so many bytes were read."""
        if self._rate is None:
            return 0.0
        with self._lock:
            now = time.monotonic()
            self._free = max(now, self._free) + num_bytes / self._rate
            return self._free - now


def user_agent(contact: str | None) -> str:
    """Name, version, contact and library, in the form that Wikimedia asks for.

    Raises:
        ValueError: no contact.
    """
    if contact is None or not contact.strip():
        raise ValueError(
            "images.contact is missing: Wikimedia refuses programs that name nobody to write to; "
            "set images.contact=you@example.org, or images.download=false"
        )
    return f"PixSearch/{version('pixsearch')} ({contact.strip()}) httpx/{httpx.__version__}"


def _refuse_status(response: httpx.Response) -> None:
    status = response.status_code
    if status in TRANSIENT or status >= SERVER_ERROR:
        wait = seconds_to_wait(response.headers.get("Retry-After"))
        raise _Transient(f"HTTP {status}", wait=wait, last=TemporaryError)
    if status == httpx.codes.FORBIDDEN:
        raise DoubtfulError(f"HTTP {status}")
    if status != httpx.codes.OK:
        raise UnusableImageError(f"HTTP {status}")


def _refuse_type(response: httpx.Response) -> None:
    content_type = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if content_type not in CONTENT_TYPES:
        raise UnusableImageError(f"content of type {content_type or 'unknown'}")

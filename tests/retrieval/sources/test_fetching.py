"""Against a real server on this machine."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from pixsearch.config import ImageSourceOptions
from pixsearch.retrieval.image_decoding import UnusableImageError
from pixsearch.retrieval.retry_after import seconds_to_wait
from pixsearch.retrieval.sources.fetching import (
    DoubtfulError,
    Fetcher,
    ServerBusyError,
    StoppedError,
    TemporaryError,
    _Bandwidth,
    _Quiet,
    user_agent,
)
from tests.retrieval.sources.image_server import picture

OPTIONS = ImageSourceOptions(
    contact="tests@example.org",
    megabits_per_second=None,
    timeout=5.0,
    attempts=3,
    back_off=0.01,
    max_megabytes=1.0,
)


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    fetcher = Fetcher(OPTIONS)
    yield fetcher
    fetcher.close()


def fetched(server, path: str, **changes: object):
    fetcher = Fetcher(replace(OPTIONS, **changes))
    try:
        return fetcher.fetch(server.address + path)
    finally:
        fetcher.close()


def test_a_picture_and_who_asks_for_it(server):
    found = fetched(server, "/ok/3")
    assert (found.data, found.attempts) == (picture(3), 1)
    (agent,) = server.user_agents
    assert re.fullmatch(r"PixSearch/[\d.]+ \(tests@example\.org\) httpx/[\d.]+", agent)


@pytest.mark.parametrize("contact", [None, " "])
def test_nobody_is_asked_without_a_contact(contact):
    with pytest.raises(ValueError, match=r"images\.contact is missing"):
        user_agent(contact)


@pytest.mark.parametrize(
    ("path", "kind", "reason", "asked"),
    [
        ("/status/404", UnusableImageError, "HTTP 404", 1),
        ("/status/403", DoubtfulError, "HTTP 403", 1),
        ("/status/206", UnusableImageError, "HTTP 206", 1),
        ("/status/500", TemporaryError, "HTTP 500, 3 times", 3),
        ("/status/520", TemporaryError, "HTTP 520, 3 times", 3),
        ("/status/429", TemporaryError, "HTTP 429, 3 times", 3),
        ("/svg/1", UnusableImageError, r"content of type image/svg\+xml", 1),
        ("/large/2", UnusableImageError, "larger than 1 MB", 1),
        ("/endless/1", UnusableImageError, "larger than 1 MB", 1),
        ("/short/1", DoubtfulError, r"broken off \(RemoteProtocolError\), 3 times", 3),
        ("/loop/1", UnusableImageError, "TooManyRedirects", 6),
    ],
)
def test_what_is_not_taken(server, path, kind, reason, asked):
    with pytest.raises(UnusableImageError, match=reason) as caught:
        fetched(server, path)
    assert type(caught.value) is kind
    assert server.asked[path] == asked


def test_a_slow_server_is_given_up(server):
    with pytest.raises(UnusableImageError, match=r"slower than 0\.2 s, 1 times"):
        fetched(server, "/trickle/1", timeout=0.2, attempts=1)


@pytest.mark.parametrize("address", ["ftp://example.org/a.jpg", "no address", "http://a\nb/"])
def test_an_address_that_is_none(fetcher, address):
    with pytest.raises(UnusableImageError, match=r"UnsupportedProtocol|InvalidURL"):
        fetcher.fetch(address)


def test_a_server_that_is_not_there(fetcher):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(DoubtfulError, match=r"no answer \(ConnectError\), 3 times"):
        fetcher.fetch(f"http://127.0.0.1:{port}/a.jpg")


def test_failures_that_pass_are_tried_again(server):
    assert fetched(server, "/flaky/2").attempts == 3
    assert fetched(server, "/moved/ok/5").data == picture(5)


def test_retry_after_is_obeyed_by_all_threads(server, fetcher):
    results = []
    first = threading.Thread(
        target=lambda: results.append(fetcher.fetch(f"{server.address}/busy/1"))
    )
    first.start()
    while not server.answered["/busy/1"]:
        first.join(0.01)
    first.join(0.2)  # by then the answer was read
    fetcher.fetch(f"{server.address}/ok/1")
    first.join()
    start, *others = (seconds for seconds, _ in server.times)
    assert results[0].attempts == 2
    assert len(others) == 2
    assert min(others) - start >= 0.99


def test_retry_after_of_the_last_attempt_holds_for_the_next_image(server):
    fetcher = Fetcher(replace(OPTIONS, attempts=1))
    with pytest.raises(UnusableImageError, match="HTTP 429, 1 times"):
        fetcher.fetch(f"{server.address}/always_busy/1")
    fetcher.fetch(f"{server.address}/ok/1")
    fetcher.close()
    (asked, _), (next_asked, _) = server.times
    assert next_asked - asked >= 0.99


def test_a_quiet_that_is_extended_while_others_wait():
    quiet, slept = _Quiet(), []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        time.sleep(seconds)
        if len(slept) == 1:  # another thread is told to wait as well
            quiet.extend(0.05)

    quiet.extend(0.01)
    quiet.wait(sleep)
    assert sum(slept[1:]) > 0.04


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_server_that_asks_for_too_much_patience(server, attempts):
    with pytest.raises(ServerBusyError, match=r"wait for 9999 s, images\.longest_wait is 600"):
        fetched(server, "/busy/9999", attempts=attempts)


def test_a_stop_ends_waiting(server):
    fetcher = Fetcher(replace(OPTIONS, back_off=1000.0))
    stopping = threading.Timer(0.1, fetcher.stop)
    stopping.start()
    with pytest.raises(StoppedError):
        fetcher.fetch(f"{server.address}/status/503")
    stopping.join()
    fetcher.close()


def test_retry_after_is_a_number_or_a_date():
    assert seconds_to_wait("17") == 17
    soon = datetime.now(UTC) + timedelta(seconds=100)
    assert 90 < seconds_to_wait(format_datetime(soon, usegmt=True)) <= 100
    assert seconds_to_wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert seconds_to_wait("Wed, 21 Oct 2015 07:28:00 -0000") == 0
    assert seconds_to_wait("soon") is None
    assert seconds_to_wait(None) is None


def test_bandwidth_is_shared():
    bandwidth = _Bandwidth(8.0)  # a megabyte a second
    waits = [bandwidth.wait_for(10_000_000) for _ in range(3)]
    assert waits == pytest.approx([10, 20, 30], abs=2)
    assert _Bandwidth(None).wait_for(10**9) == 0

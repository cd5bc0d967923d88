"""The client: what it finds is what a local searcher finds, and what goes wrong is told."""

import json
import socket
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pixsearch.config import ClientOptions, RegionCrop, RetrievalOptions, ServerOptions
from pixsearch.queries import Query, SearchFailed
from pixsearch.retrieval.breaker import CircuitBreaker
from pixsearch.retrieval.client import RemoteSearcher
from pixsearch.retrieval.connection import Connection
from pixsearch.retrieval.limits import RequestLimits
from pixsearch.retrieval.opening import open_searcher
from pixsearch.retrieval.searcher import Searcher
from pixsearch.retrieval.server.requests import read_retrieval
from pixsearch.retrieval.wire import query_parts, request_of
from tests.retrieval.scenes import mixed_queries
from tests.retrieval.serving import http, replying, serving
from tests.retrieval.test_searcher import text_queries

QUICK = ClientOptions(timeout_seconds=5.0, retries=2, backoff_seconds=0.01)
ONE_TRY = replace(QUICK, retries=0)
ASKED = [Query.of_text("one"), Query.of_text("two")]


def document(id: str = "a", **changes: object) -> dict:
    return {"id": id, "contents": "words", "title": "", "text": "words"} | changes


def failure(remote: RemoteSearcher) -> SearchFailed:
    """Why a search fails."""
    with pytest.raises(SearchFailed) as caught:
        remote.search(ASKED, k=2)
    assert "\n" not in str(caught.value)
    return caught.value


def reply_of(*results: object) -> bytes:
    return http(200, json.dumps({"result": list(results)}))


GOOD = reply_of([{"document": document(), "score": 0.5}], [])


@pytest.fixture(scope="module")
def url(built):
    with serving(built) as url:
        yield url


@pytest.fixture(scope="module")
def searcher(built):
    return Searcher.open(built)


# this world's encoder has no patches to pool
@pytest.mark.parametrize("crop", sorted(set(RegionCrop) - {RegionCrop.mask_pooled}))
def test_finds_what_a_searcher_finds(url, searcher, crop):
    """To the last bit of the score."""
    with RemoteSearcher(url) as remote:
        queries = mixed_queries()
        expected = searcher.search(queries, k=4, region_crop=crop)
        assert remote.search(queries, k=4, region_crop=crop) == expected
        assert remote.search(queries[:1], region_crop=crop) == searcher.search(
            queries[:1], region_crop=crop
        )


def test_a_question_goes_along_with_image_and_region():
    image, mask = Image.new("RGB", (30, 20)), np.ones((20, 30), dtype=bool)
    queries = [
        Query.of_text("a cup"),
        Query.of_image(image, question="Who made it?"),
        Query.of_region(image, mask, question="When?"),
        Query.of_image(image),
    ]
    parts = [query_parts(query) for query in queries]
    body = json.dumps(request_of(parts, k=2, region_crop=RegionCrop.masked_crop)).encode()
    read = read_retrieval(body, ServerOptions()).queries
    assert [query.question for query in read] == [None, "Who made it?", "When?", None]


def test_says_what_is_searched(url, searcher):
    with RemoteSearcher(url) as remote:
        assert remote.info() == searcher.info()


def test_options_choose_where_to_search(url, built):
    options = RetrievalOptions(knowledge_base="", index="", server=url)
    with open_searcher(options) as remote:
        assert isinstance(remote, RemoteSearcher)
        assert remote.search(text_queries(), k=1)[3][0].id == "e3"
    assert isinstance(open_searcher(built), Searcher)
    with pytest.raises(ValueError, match="give one server as the first"):
        replace(options, fan_out=[url])


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "I;16"])
def test_images_of_any_mode(url, searcher, mode):
    image = Image.fromarray(np.arange(60 * 50, dtype=np.uint16).reshape(60, 50) % 251)
    image = image if mode == "I;16" else image.convert("L").convert(mode)
    query = Query.of_image(image)
    with RemoteSearcher(url) as remote:
        assert remote.search([query], k=3) == searcher.search([query], k=3)


def test_many_queries_go_in_several_requests(url, searcher):
    noise = np.random.default_rng(0).integers(0, 255, (8, 300, 400, 3), dtype=np.uint8)
    queries = [Query.of_image(Image.fromarray(pixels)) for pixels in noise]  # 0.5 MiB each
    with RemoteSearcher(url, replace(QUICK, max_request_mib=1)) as remote:
        assert remote.search(queries, k=2) == searcher.search(queries, k=2)
        large = Query.of_image(Image.fromarray(np.tile(noise[0], (3, 1, 1))))
        with pytest.raises(SearchFailed, match=r"query 1 takes 1\.\d MiB, .*max_request_mib=1"):
            remote.search([queries[0], large], k=2)
        long = Query.of_image(queries[0].image, question="why " * 50_000)
        with pytest.raises(SearchFailed, match=r"query 0 takes 1\.\d MiB"):
            remote.search([long], k=2)


def test_a_servers_own_limits_are_kept(built, searcher):
    """Of queries, of pixels of all images, and of the body."""
    queries = mixed_queries()
    limits = {"max_queries": 5, "max_request_megapixels": 0.03, "max_body_mib": 1}
    with serving(built, **limits) as url, RemoteSearcher(url, QUICK) as remote:
        with pytest.raises(SearchFailed, match="status 413"):
            remote.search(queries, k=2)  # whose limits nobody has asked for
        remote.info()
        assert remote.search(queries, k=2) == searcher.search(queries, k=2)
        assert remote.limits.max_topk == 1000


@pytest.mark.parametrize(
    "told", [None, [], {}, {"limits": 3}, {"limits": {"max_queries": "many", "max_topk": True}}]
)
def test_a_server_that_tells_no_limits(told):
    assert RequestLimits.of_info(told) == RequestLimits()


def test_nothing_is_asked_for_no_queries():
    with RemoteSearcher("http://127.0.0.1:1") as remote:
        assert remote.search([]) == []
        with pytest.raises(ValueError, match="k=0"):
            remote.search(ASKED, k=0)


def test_a_token_comes_from_the_environment(monkeypatch, built):
    with serving(built, token="sesame") as url:
        with RemoteSearcher(url, QUICK) as remote, pytest.raises(SearchFailed, match="status 401"):
            remote.search(ASKED)
        monkeypatch.setenv("PIXSEARCH_TOKEN", "sesame")
        with RemoteSearcher(url, QUICK) as remote:
            assert len(remote.search(ASKED)) == 2


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://a", "http://", "http://[::1"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(ValueError, match="no URL of a server: write http"):
        RemoteSearcher(url)


MALFORMED = {
    "no JSON": http(200, "<html>proxy</html>"),
    "nested for ever": http(200, "[" * 100_000),
    "not our JSON": http(200, '{"answer": []}'),
    "fewer results": reply_of([]),
    "more passages than asked for": reply_of([{"document": document(), "score": 1}] * 3, []),
    "no score": reply_of([document()], []),
    "no finite score": reply_of([{"document": document(), "score": float("nan")}], []),
    "a word for a score": reply_of([{"document": document(), "score": "high"}], []),
    "no text": reply_of([{"document": document(text=None), "score": 0.5}], []),
    "a list for a passage": reply_of([[]], []),
    "too long": http(200, '"' + "a" * 2**21 + '"'),
    "cut off": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "no zip": http(200, "abc", Content_Encoding="gzip"),
}


@pytest.mark.parametrize("reply", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_reply_is_a_failed_search(reply):
    options = replace(ONE_TRY, max_reply_mib=1)
    with replying(reply) as (url, _), RemoteSearcher(url, options) as remote:
        failed = failure(remote)
    assert failed.is_temporary
    assert str(failed).startswith(url)


PASSING = {
    "hung up": None,
    "error": http(500, "oops"),
    "bad gateway": http(502, '{"detail": "shard away"}'),
    "late": http(504, ""),
    "empty": http(200, ""),
}


@pytest.mark.parametrize("bad", PASSING.values(), ids=PASSING)
def test_what_may_pass_is_tried_again(bad):
    with replying(bad, bad, GOOD) as (url, received), RemoteSearcher(url, QUICK) as remote:
        assert [len(found) for found in remote.search(ASKED, k=1)] == [1, 0]
    assert len(received) == 3
    assert received[0] == received[2]


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 422, 501])
def test_what_will_not_pass_is_not_tried_again(status):
    reply = http(status, '{"detail": "queries: none"}')
    with replying(reply) as (url, received), RemoteSearcher(url, QUICK) as remote:
        failed = failure(remote)
    assert f"status {status}: queries: none" in str(failed)
    assert not failed.is_temporary
    assert len(received) == 1


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("[" * 100_000, "status 404: [[["),
        ("<html>\n  <body>\n    Not here\n</html>", "status 404: <html> <body> Not here </html>"),
        ('{"detail": [{"loc": ["body"]}]}', "status 404: [{'loc': ['body']}]"),
        ('{"detail": "two\\nlines"}', "status 404: two lines"),
    ],
)
def test_a_refusal_in_any_form_is_one_line(body, told):
    with replying(http(404, body)) as (url, _), RemoteSearcher(url, ONE_TRY) as remote:
        assert told in str(failure(remote))


def test_a_server_that_is_away():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with RemoteSearcher(f"http://127.0.0.1:{port}", QUICK) as remote:
        failed = str(failure(remote))
    assert "refused" in failed
    assert "(try 3)" in failed


def test_a_server_that_is_slow():
    options = replace(ONE_TRY, timeout_seconds=0.1)
    with replying(GOOD, delay=0.4) as (url, _), RemoteSearcher(url, options) as remote:
        assert "no answer in time" in str(failure(remote))


def test_a_server_that_dribbles():
    """Each byte comes in time; the reply does not."""
    options = replace(ONE_TRY, timeout_seconds=0.2)
    with replying(GOOD, pause=0.02) as (url, _), RemoteSearcher(url, options) as remote:
        assert "no answer in time" in str(failure(remote))


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_says_when_to_come_back(status):
    waited = []
    busy = http(status, '{"detail": "the queue is full"}', Retry_After="7")
    with replying(busy, GOOD) as (url, _):
        connection = Connection(url, QUICK, sleep=waited.append)
        assert connection.get("/info", lambda reply: len(reply["result"])) == 2
        connection.close()
    assert waited == [7.0]


def test_a_server_that_asks_for_too_long_a_wait_is_not_waited_for():
    busy = http(503, "", Retry_After="3600")
    with replying(busy) as (url, received), RemoteSearcher(url, QUICK) as remote:
        assert failure(remote).retry_after == 3600
    assert len(received) == 1


def test_waits_grow_and_differ():
    waited = []
    options = replace(
        QUICK, retries=8, backoff_seconds=1.0, breaker_failures=99, max_wait_seconds=1e9
    )
    with replying(None) as (url, _):
        connection = Connection(url, options, sleep=waited.append)
        with pytest.raises(SearchFailed):
            connection.get("/info", id)
        connection.close()
    assert len(waited) == 8
    assert all(0 <= wait <= 2**retry for retry, wait in enumerate(waited))
    assert sum(waited) > 1


def test_an_open_breaker_asks_nobody_until_its_time_is_up():
    options = replace(ONE_TRY, breaker_failures=2, breaker_seconds=60.0)
    with replying(None) as (url, received), RemoteSearcher(url, options) as remote:
        for _ in range(2):
            assert "in a row" not in str(failure(remote))
        failed = failure(remote)
    assert "2 tries in a row had no answer" in str(failed)
    assert 50 < failed.retry_after <= 60
    assert len(received) == 2


def is_open(breaker: CircuitBreaker) -> bool:
    try:
        breaker.check()
    except SearchFailed:
        return True
    return False


def test_breaker():
    """Opens behind three failures in a row; later one tries, and closes it or opens it again."""
    now = [0.0]
    breaker = CircuitBreaker("server", failures=3, seconds=10.0, clock=lambda: now[0])
    for note in (breaker.note_failure, breaker.note_failure, breaker.note_answer):
        note()
    for _ in range(2):
        breaker.note_failure()
    assert not is_open(breaker)
    breaker.note_failure()
    now[0] = 9.9
    assert is_open(breaker)
    now[0] = 10.0
    assert [is_open(breaker) for _ in range(3)] == [False, True, True]  # one alone may try
    breaker.note_failure()
    now[0] = 19.9
    assert is_open(breaker)
    now[0] = 20.0
    assert not is_open(breaker)
    breaker.note_answer()
    assert [is_open(breaker) for _ in range(3)] == [False] * 3

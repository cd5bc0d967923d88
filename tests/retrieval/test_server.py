"""The server of passages over real HTTP: what Search-R1's clients get, and all others."""

import base64
import io
import json
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from pixsearch.config import RegionCrop, ServerOptions
from pixsearch.queries import Passage, Query, SearchFailed
from pixsearch.retrieval.client import RemoteSearcher
from pixsearch.retrieval.info import SourceInfo
from pixsearch.retrieval.searcher import Searcher
from pixsearch.retrieval.server.app import types_of
from pixsearch.retrieval.server.bench import is_same
from pixsearch.retrieval.server.requests import read_retrieval
from pixsearch.web.images import PixelBudget, decode_image
from pixsearch.web.listening import check_reach
from pixsearch.web.refusals import refusal
from tests.retrieval.scenes import mixed_queries
from tests.retrieval.serving import serving, until
from tests.retrieval.test_searcher import image_queries, region_queries, scene_with, text_queries

# What Search-R1's `_batch_search` posts and what its `_passages2string` reads: byte for byte.
GOLDEN_REQUEST = b'{"queries": ["Vexlin", "Umbelloq"], "topk": 1, "return_scores": true}'
GOLDEN_BARE = b'{"queries": ["Vexlin", "Umbelloq"], "topk": 1}'
VEXLIN = "The Vexlin is a disc painted red. It was first made in 1900."
UMBELLOQ = "The Umbelloq is a cross painted gold. It was first made in 1911."
GOLDEN_DOCUMENTS = [
    {"id": "e0", "contents": f'"Vexlin"\n{VEXLIN}', "title": "Vexlin", "text": VEXLIN},
    {"id": "e11", "contents": f'"Umbelloq"\n{UMBELLOQ}', "title": "Umbelloq", "text": UMBELLOQ},
]
GOLDEN_TEXT = f'Doc 1(Title: "Vexlin") {VEXLIN}\n'


@pytest.fixture(scope="module")
def searcher(built):
    return Searcher.open(built)


@pytest.fixture(scope="module")
def url(built):
    with serving(built, max_body_mib=1, max_queries=100, max_image_megapixels=0.1) as url:
        yield url


def retrieve(url: str, **body: object) -> httpx.Response:
    return httpx.post(f"{url}/retrieve", json=body, timeout=20)


def ids(response: httpx.Response) -> list[list[str]]:
    assert response.status_code == 200, response.text
    found = response.json()["result"]
    return [[one.get("document", one)["id"] for one in result] for result in found]


def png(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def as_search_r1_reads(result: list[dict]) -> str:
    """The evidence that its generation loop writes."""
    text = ""
    for place, item in enumerate(result):
        title, *rest = item["document"]["contents"].split("\n")
        text += f"Doc {place + 1}(Title: {title}) {chr(10).join(rest)}\n"
    return text


def test_golden_of_search_r1(url, searcher):
    (score,), (other,) = ([one.score for one in found] for found in searcher.search(
        [Query.of_text("Vexlin"), Query.of_text("Umbelloq")], k=1))  # fmt: skip
    headers = {"Content-Type": "application/json"}
    reply = httpx.post(f"{url}/retrieve", content=GOLDEN_REQUEST, headers=headers).json()
    assert reply == {
        "result": [
            [{"document": GOLDEN_DOCUMENTS[0], "score": score}],
            [{"document": GOLDEN_DOCUMENTS[1], "score": other}],
        ]
    }
    assert as_search_r1_reads(reply["result"][0]) == GOLDEN_TEXT
    bare = httpx.post(f"{url}/retrieve", content=GOLDEN_BARE, headers=headers).json()
    assert bare == {"result": [[document] for document in GOLDEN_DOCUMENTS]}


@pytest.mark.parametrize("return_scores", [True, False])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 12])
def test_every_batch_size_in_both_shapes(url, searcher, size, return_scores):
    """Search-R1's own server fails at all sizes but 2 without scores, and is wrong at 2."""
    queries = text_queries()[:size]
    texts = [query.text for query in queries]
    response = retrieve(url, queries=texts, topk=4, return_scores=return_scores)
    expected = searcher.search(queries, k=4)
    assert ids(response) == [[passage.id for passage in found] for found in expected]
    if return_scores:
        scores = [[one["score"] for one in found] for found in response.json()["result"]]
        assert scores == [[passage.score for passage in found] for found in expected]


@pytest.mark.parametrize("topk", [{}, {"topk": None}, {"topk": 0}])
def test_without_topk_there_are_three(url, topk):
    assert [len(found) for found in ids(retrieve(url, queries=["Vexlin"], **topk))] == [3]


def test_images_as_base64_and_as_data_urls(url):
    images = [png(query.image) for query in image_queries()]
    images[::2] = [f"data:image/png;base64,{image}" for image in images[::2]]
    found = ids(retrieve(url, modality="image", images=images, topk=1))
    assert found == [[f"e{number}"] for number in range(12)]


def test_an_exif_rotation_is_not_applied():
    """Boxes and masks count the pixels of the file, as they do in all of the data."""
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    image = Image.new("RGB", (30, 20), (200, 30, 30))
    file = io.BytesIO()
    image.save(file, format="PNG", exif=exif)
    text = base64.b64encode(file.getvalue()).decode()
    decoded = decode_image(text, PixelBudget(per_image=1.0, left=1.0))
    assert decoded.tobytes() == image.tobytes()
    region = {"size": [20, 30], "counts": [0, 600]}
    body = {"modality": "region", "images": [text], "regions": [region]}
    (query,) = read_retrieval(json.dumps(body).encode(), ServerOptions()).queries
    assert (query.image.size, query.mask.shape) == ((30, 20), (20, 30))


def test_regions_as_boxes_and_in_both_forms_of_rle(url, searcher):
    scene, mask = scene_with(4, 40, 20)
    box = [40, 20, 72, 52]
    boxed = np.zeros_like(mask)
    boxed[20:52, 40:72] = True
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    compressed = {"size": rle["size"], "counts": rle["counts"].decode()}
    flat = np.flatnonzero(np.diff(mask.ravel(order="F"), prepend=False, append=False))
    counts = np.diff(flat, prepend=0, append=mask.size).tolist()
    regions = [box, compressed, {"size": [96, 128], "counts": counts}]
    response = retrieve(
        url,
        modality="region",
        images=[png(scene)] * 3,
        regions=regions,
        region_crop="padded_box",
        return_scores=True,
    )
    queries = [Query.of_region(scene, one) for one in (boxed, mask, mask)]
    expected = searcher.search(queries, k=3, region_crop=RegionCrop.padded_box)
    scores = [[one["score"] for one in found] for found in response.json()["result"]]
    assert scores == [[passage.score for passage in found] for found in expected]


def test_types_may_be_mixed(url, searcher):
    (text, image, region) = text_queries()[0], image_queries()[1], region_queries()[2]
    rle = coco_mask.encode(np.asfortranarray(region.mask, dtype=np.uint8))
    response = retrieve(
        url,
        modality=["text", "image", "region"],
        queries=[text.text, None, None],
        images=[None, png(image.image), png(region.image)],
        regions=[None, None, {"size": rle["size"], "counts": rle["counts"].decode()}],
    )
    expected = searcher.search([text, image, region], k=3)
    assert ids(response) == [[passage.id for passage in found] for found in expected]


def bomb(side: int) -> str:
    """A PNG of a few bytes that says that it has `side` times `side` pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b"")]
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(parts)).decode()


THING = png(Image.new("RGB", (30, 20), (200, 30, 30)))
REGION = {"modality": "region", "images": [THING]}
BAD = {
    "no JSON": (b"{", 422, "Invalid JSON"),
    "no object": (b"[]", 422, "object"),
    "nothing": ({}, 422, "queries is missing"),
    "a number for a text": ({"queries": [1]}, 422, "queries.0"),
    "null for a text": ({"queries": [None]}, 422, "queries[0] is missing"),
    "half a character": (rb'{"queries": ["\ud800"]}', 422, "hex escape"),
    "topk below 0": ({"queries": ["a"], "topk": -1}, 422, "topk"),
    "topk above the limit": ({"queries": ["a"], "topk": 1001}, 413, "1001 are more than the 1000"),
    "too many queries": ({"queries": ["a"] * 101}, 413, "101 are more than the 100"),
    "too long a query": ({"queries": ["a" * 20_001]}, 413, "characters"),
    "another modality": ({"queries": ["a"], "modality": "smell"}, 422, "use text, image, region"),
    "another crop": ({"queries": ["a"], "region_crop": "oval"}, 422, "region_crop"),
    "no images": ({"modality": "image"}, 422, "images is missing"),
    "images and text at odds": ({"queries": ["a"], "images": [THING]}, 422, "is given"),
    "a question beside a text": (
        {"queries": ["a"], "questions": ["b"]}, 422, "questions[0] is given"),
    "fewer images than modalities": (
        {"modality": ["image", "image"], "images": [THING]}, 422, "1 entries for 2 queries"),
    "no base64": ({"modality": "image", "images": ["§"]}, 422, "images[0]: it is no PNG"),
    "no image": ({"modality": "image", "images": ["aGVsbG8="]}, 422, "images[0]: it is no PNG"),
    "half an image": ({"modality": "image", "images": [THING[:80]]}, 422, "images[0]: it is no"),
    "URL of elsewhere": (
        {"modality": "image", "images": ["http://127.0.0.1/a.png"]}, 422, "images[0]"),
    "data URL without base64": (
        {"modality": "image", "images": ["data:image/png,abc"]}, 422, "not in base64"),
    "too many pixels": ({"modality": "image", "images": [bomb(400)]}, 413, "400x400 pixels"),
    "decompression bomb": ({"modality": "image", "images": [bomb(12_000)]}, 413, "images[0]"),
    "bigger bomb": ({"modality": "image", "images": [bomb(50_000)]}, 413, "images[0]"),
    "no region": ({**REGION}, 422, "regions[0] is missing"),
    "box outside": ({**REGION, "regions": [[0, 0, 31, 20]]}, 422, "30x20 pixels"),
    "box turned over": ({**REGION, "regions": [[9, 9, 3, 12]]}, 422, "30x20 pixels"),
    "box of three": ({**REGION, "regions": [[0, 0, 3]]}, 422, "regions.0"),
    "box of NaN": (
        json.dumps({**REGION, "regions": [[0, 0, float("nan"), 9]]}).encode(), 422, "regions"),
    "RLE of another size": (
        {**REGION, "regions": [{"size": [30, 20], "counts": [600]}]}, 422, "[20, 30]"),
    "RLE of fewer pixels": (
        {**REGION, "regions": [{"size": [20, 30], "counts": [599]}]}, 422, "599 pixels"),
    "empty mask": (
        {**REGION, "regions": [{"size": [20, 30], "counts": [600]}]}, 422, "the mask is empty"),
    "long body": ({"queries": ["a" * 1_100_000]}, 413, "longer than 1 MiB"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "status", "detail"), BAD.values(), ids=BAD)
def test_bad_requests_are_told_in_one_line(url, body, status, detail):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = httpx.post(f"{url}/retrieve", content=content)
    assert response.status_code == status, response.text
    assert detail in response.json()["detail"]
    assert "\n" not in response.json()["detail"]


def test_a_long_body_without_a_length_is_cut_off(url):
    chunks = (b"a" * 100_000 for _ in range(100))
    try:
        response = httpx.post(f"{url}/retrieve", content=chunks)
    except httpx.WriteError:  # the server has hung up by then
        return
    assert response.status_code == 413


class Source:
    """A knowledge source that is told when to go on, and keeps what it was asked."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.calls: list[list[str]] = []
        self.gate = threading.Event()
        if is_open:
            self.gate.set()

    def search(self, queries, k, *, region_crop):
        self.calls.append([query.text for query in queries])
        self.gate.wait(20)
        if any(query.text == "bad" for query in queries):
            raise ValueError("it cannot be searched with 'bad'")
        if any(query.text == "worse" for query in queries):
            raise RuntimeError("secrets of the server")
        passage = Passage(id="p", title="", text="words", score=0.5)
        return [[passage] * k for _ in queries]

    def info(self):
        return SourceInfo(manifests={}, corpus_sha256="0", num_documents=1, settings={})


def at_once(*calls) -> list[httpx.Response]:
    """The replies to requests that are sent at the same time."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def test_requests_of_a_window_are_one_search_and_a_bad_one_fails_alone():
    source = Source()
    with serving(lambda: source, window_milliseconds=400.0) as url:
        words = ("one", "bad", "two", "worse", "three")
        replies = at_once(*(lambda text=text: retrieve(url, queries=[text]) for text in words))
    assert [reply.status_code for reply in replies] == [200, 422, 200, 500, 200]
    assert "'bad'" in replies[1].json()["detail"]
    assert "secrets" not in replies[3].text
    assert sorted(source.calls[0]) == sorted(words)
    assert sorted(map(len, source.calls[1:])) == [1] * 5


def test_requests_for_other_numbers_of_passages_are_searched_apart():
    source = Source()
    with serving(lambda: source, window_milliseconds=300.0) as url:
        ks = (1, 4, 1)
        replies = at_once(*(lambda k=k: retrieve(url, queries=["a"], topk=k) for k in ks))
    assert [len(ids(reply)[0]) for reply in replies] == list(ks)
    assert sorted(map(len, source.calls)) == [1, 2]


def test_a_full_queue_refuses_and_says_when_to_come_back():
    source = Source(is_open=False)
    with serving(lambda: source, queue_size=2) as url, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(retrieve, url, queries=["a"]) for _ in range(2)]
        until(lambda: "queue_requests 2.0" in httpx.get(f"{url}/metrics").text)
        refused = retrieve(url, queries=["a"])
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        assert httpx.get(f"{url}/ready").status_code == 200
        source.gate.set()
        assert [future.result().status_code for future in waiting] == [200, 200]
        assert retrieve(url, queries=["a"]).status_code == 200


def test_a_slow_search_ends_in_504_and_blocks_nothing_for_ever():
    source = Source(is_open=False)
    with serving(lambda: source, timeout_seconds=0.2) as url:
        late = retrieve(url, queries=["a"])
        assert (late.status_code, late.json()["detail"]) == (504, "it took longer than 0.2 s")
        dropped = retrieve(url, queries=["b"])  # still in the queue when its time is up
        assert dropped.status_code == 504
        source.gate.set()
        until(lambda: retrieve(url, queries=["c"]).status_code == 200)
        assert ["b"] not in source.calls


@pytest.mark.parametrize(
    ("failed", "status", "headers"),
    [
        (SearchFailed("not in the recording", is_temporary=False), 422, {}),
        (SearchFailed("the part is busy", retry_after=6.2), 503, {"retry-after": "7"}),
        (SearchFailed("the part is away"), 502, {}),
    ],
    ids=str,
)
def test_a_search_that_failed_behind_the_server(failed, status, headers):
    """Only what may pass has a status that is asked again, and no sooner than it was told."""
    reply = refusal(failed)
    told = {name: value for name, value in reply.headers.items() if name == "retry-after"}
    assert (reply.status_code, told) == (status, headers)
    assert json.loads(reply.body) == {"detail": str(failed)}


def test_alive_while_it_loads_ready_behind_that():
    gate, source = threading.Event(), Source()

    def load() -> Source:
        gate.wait(20)
        return source

    with serving(load, wait=False) as url:
        assert httpx.get(f"{url}/health").json() == {"status": "ok"}
        for reply in (httpx.get(f"{url}/ready"), retrieve(url, queries=["a"])):
            assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")
        assert httpx.get(f"{url}/info").status_code == 503
        gate.set()
        until(lambda: httpx.get(f"{url}/ready").status_code == 200)
        assert retrieve(url, queries=["a"]).status_code == 200


def test_what_is_in_flight_is_answered_before_the_server_stops():
    source = Source(is_open=False)
    with ThreadPoolExecutor(1) as pool:
        with serving(lambda: source) as url:
            asked = pool.submit(retrieve, url, queries=["a"])
            until(lambda: source.calls)
            threading.Timer(0.3, source.gate.set).start()
        assert asked.result().status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


def test_token():
    with serving(Source, token="sesame") as url:
        assert httpx.get(f"{url}/health").status_code == 200
        assert httpx.get(f"{url}/ready").status_code == 200
        for path in ("info", "metrics"):
            assert httpx.get(f"{url}/{path}").status_code == 401
        for header in ("", "sesame", "Bearer sesam", "Bearer sésame"):
            headers = {"Authorization": header.encode()}
            reply = httpx.post(f"{url}/retrieve", json={"queries": []}, headers=headers)
            assert (reply.status_code, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
        headers = {"Authorization": "Bearer sesame"}
        reply = httpx.post(f"{url}/retrieve", json={"queries": ["a"]}, headers=headers)
        assert reply.status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_nobody_beyond_this_machine_without_a_token(host):
    with pytest.raises(ValueError, match=r"PIXSEARCH_TOKEN, or set server\.allow_without_token"):
        check_reach(ServerOptions(host=host), None)
    check_reach(ServerOptions(host=host), "sesame")
    check_reach(ServerOptions(host=host, allow_without_token=True), None)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_needs_no_token(host):
    check_reach(ServerOptions(host=host), None)


class SharedWords:
    """Scores a passage by how many words it shares with the query; keeps what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.fingerprint = "shared words"

    def scores(self, query, passages):
        self.calls.append((query, list(passages)))
        words = set(query.split())
        return np.array([len(words & set(passage.split())) for passage in passages], dtype=float)


def test_rerank_compares_a_query_with_its_own_documents_alone():
    reranker = SharedWords()
    documents = [
        [
            {"id": "1", "contents": "a"},
            {"id": "2", "contents": '"a"\nb', "title": "a", "text": "b"},
            {"id": "3", "contents": "b"},
        ],
        [{"document": {"id": "4", "contents": "c"}, "score": 9.0}],
        [],
    ]
    body = {"queries": ["a b", "c d", "e"], "documents": documents, "rerank_topk": 2}
    with serving(Source, open_reranker=lambda _: reranker) as url:
        bare = httpx.post(f"{url}/rerank", json=body).json()["result"]
        scored = httpx.post(f"{url}/rerank", json={**body, "return_scores": True}).json()["result"]
        wrong = httpx.post(f"{url}/rerank", json={"queries": ["a"], "documents": [[{"id": "1"}]]})
    assert bare == [[documents[0][1], documents[0][0]], [documents[1][0]["document"]], []]
    assert [[(one["document"]["id"], one["score"]) for one in found] for found in scored] == [
        [("2", 2.0), ("1", 1.0)],
        [("4", 1.0)],
        [],
    ]
    assert reranker.calls[:2] == [("a b", ["a", "a\nb", "b"]), ("c d", ["c"])]
    assert (wrong.status_code, "contents" in wrong.json()["detail"]) == (422, True)


def test_rerank_without_a_reranker(url):
    reply = httpx.post(f"{url}/rerank", json={"queries": ["a"], "documents": [[]]})
    assert reply.status_code == 501
    assert reply.json() == {"detail": "this server was started without a reranker"}


def test_info_and_metrics(built):
    with serving(built) as url:
        retrieve(url, queries=["a", "b"])
        retrieve(url, queries=[1])
        info = httpx.get(f"{url}/info").json()
        metrics = httpx.get(f"{url}/metrics").text
    assert info["manifests"]["text"]["identity"]["encoder"] == "hashed_ngrams"
    assert (info["num_documents"], info["limits"]["topk"]) == (12, 3)
    assert 'pixsearch_requests_total{path="/retrieve",status="200"} 1.0' in metrics
    assert 'pixsearch_requests_total{path="/retrieve",status="422"} 1.0' in metrics
    assert 'pixsearch_queries_total{type="text"} 2.0' in metrics
    assert "pixsearch_cache" not in metrics


@pytest.mark.parametrize(
    ("indexes", "types"),
    [
        (["image", "text"], ["text", "image", "region"]),
        (["bm25"], ["text"]),
        (["0/image", "1/image"], ["image", "region"]),
    ],
)
def test_info_names_the_queries_that_the_indexes_answer(indexes, types):
    manifests = {name: {"identity": {}} for name in indexes}
    info = SourceInfo(manifests=manifests, corpus_sha256="0", num_documents=1, settings={})
    assert types_of(info) == types


@pytest.mark.parametrize("is_recorded", [False, True])
def test_metrics_of_the_cache(built, tmp_path, is_recorded):
    recording = str(tmp_path / "recording.jsonl") if is_recorded else None
    with serving(replace(built, cache_entries=1, recording=recording)) as url:
        for text in ("a", "a", "b"):
            retrieve(url, queries=[text])
        metrics = httpx.get(f"{url}/metrics").text
    assert 'pixsearch_cache_queries_total{outcome="hit"} 1.0' in metrics
    assert 'pixsearch_cache_queries_total{outcome="miss"} 2.0' in metrics
    assert "pixsearch_cache_evictions_total 1.0" in metrics
    assert "pixsearch_cache_entries 1.0" in metrics


def test_many_clients_get_what_a_searcher_finds(built, searcher):
    """64 at once, each with a connection of its own, 2 requests of 3 queries of all types."""
    queries = mixed_queries()
    expected = searcher.search(queries, k=3)

    def ask(client: int) -> int:
        with RemoteSearcher(url) as remote:
            for number in range(2):
                places = [(client + 7 * number + step) % len(queries) for step in range(3)]
                found = remote.search([queries[place] for place in places], k=3)
                assert found == [expected[place] for place in places]
            return number + 1

    with serving(built) as url, ThreadPoolExecutor(64) as pool:
        assert sum(pool.map(ask, range(64))) == 128
        metrics = httpx.get(f"{url}/metrics").text
    assert 'pixsearch_requests_total{path="/retrieve",status="200"} 128.0' in metrics


def test_what_the_benchmark_takes_for_the_same():
    """One unit of a score's last decimal is rounding; another passage or another order is not."""
    first, second = (Passage(id=id, title="", text=id, score=0.5) for id in "ab")
    assert is_same([first, second], [first, replace(second, score=0.50001)])
    assert not is_same([first, second], [second, first])
    assert not is_same([first], [first, second])
    assert not is_same([first], [replace(first, score=0.50002)])
    assert not is_same([first], [replace(first, text="c")])

"""A run with backend=qdrant, in the client's embedded mode: built, searched, refused."""

import gc
import sys
import warnings
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from pixsearch.config import Backend, FromDocument, QdrantOptions, RetrievalOptions
from pixsearch.queries import Query, SearchFailed
from pixsearch.retrieval import qdrant
from pixsearch.retrieval.build import build_indexes
from pixsearch.retrieval.building.uploading import by_document
from pixsearch.retrieval.info import settings_of
from pixsearch.retrieval.manifest import read_manifest
from pixsearch.retrieval.qdrant import QdrantCollection, open_collection
from pixsearch.retrieval.searcher import Searcher
from pixsearch.retrieval.vectors import Vectors

from .conftest import draw_thing, things
from .serving import http, replying


@pytest.fixture
def options(own, tmp_path) -> RetrievalOptions:
    """The drawn world, to be built into an embedded collection."""
    where = QdrantOptions(path=str(tmp_path / "qdrant"), batch_size=5)
    return replace(own, backend=Backend.qdrant, index=str(tmp_path / "qdrant_index"), qdrant=where)


def queries():
    texts = [Query.of_text(f"when was the {name} first made?") for name, _, _ in things()]
    pictures = [draw_thing(colour, shape, (66, 66, 66)) for _, colour, shape in things()]
    return [*texts, *map(Query.of_image, pictures), Query.of_text(""), Query.of_text("disc")]


def test_it_finds_what_faiss_finds(own, options):
    manifests = build_indexes(options, progress=False)
    assert [one.identity.factory for one in manifests.values()] == ["qdrant"] * 2
    assert [one.count for one in manifests.values()] == [12, 24]
    ours, theirs = (Searcher.open(each).search(queries(), k=4) for each in (options, own))
    assert [[one.id for one in each] for each in ours] == [
        [one.id for one in each] for each in theirs
    ]
    for one, other in zip(chain(*ours), chain(*theirs), strict=True):
        assert one.score == pytest.approx(other.score, abs=2e-5)


def test_the_revision_of_the_weights_is_in_the_manifest(options):
    encoder = replace(options.text_encoder, model="owner/name", revision="v2")
    manifests = build_indexes(replace(options, text_encoder=encoder), progress=False)
    assert manifests["text"].model == "owner/name@v2"


def test_a_document_is_one_point_with_its_text_and_all_its_images(options):
    build_indexes(options, progress=False)
    collection = open_collection(options.qdrant)
    client = collection._client
    assert client.count("pixsearch").count == 12
    point = client.retrieve("pixsearch", [7], with_vectors=True)[0]
    assert np.shape(point.vector["text"]) == (256,)
    assert np.shape(point.vector["image"]) == (2, 24)


def test_what_is_there_and_fits_is_not_uploaded_again(options, monkeypatch):
    build_indexes(options, progress=False)
    monkeypatch.setattr(QdrantCollection, "put", lambda *_: 1 / 0)
    build_indexes(options, progress=False)


def test_a_broken_off_upload_is_never_searched_and_goes_on(options, monkeypatch):
    put, calls = QdrantCollection.put, []

    def break_off(*arguments):
        calls.append(arguments)
        if len(calls) == 5:  # in the images
            raise KeyboardInterrupt
        put(*arguments)

    monkeypatch.setattr(QdrantCollection, "put", break_off)
    with pytest.raises(KeyboardInterrupt):
        build_indexes(options, progress=False)
    with pytest.raises(ValueError, match=r"rebuild with scripts/build_index\.py"):
        Searcher.open(options)
    with pytest.raises(ValueError, match="has no finished image vectors"):
        open_collection(options.qdrant).index("image", read_manifest_of(options, "text").identity)
    build_indexes(options, progress=False)
    assert len(calls) == 5 + 3  # the text was finished
    assert Searcher.open(options).search(queries()[12:13])[0][0].id == "e0"


def read_manifest_of(options, name):
    return read_manifest(Path(options.index) / name)


def test_a_collection_of_something_else_is_never_written_over(options, tmp_path):
    build_indexes(options, progress=False)
    path = Path(options.knowledge_base) / "corpus.jsonl"
    path.write_text(path.read_text().replace("painted", "coloured"))
    with pytest.raises(ValueError, match=r"holds something else: its corpus_sha256") as caught:
        build_indexes(options, progress=False)
    assert "\n" not in str(caught.value)
    other = replace(options, qdrant=replace(options.qdrant, collection="other"))
    build_indexes(other, progress=False)
    assert Searcher.open(other).search(queries()[:1])[0][0].id == "e0"


@pytest.mark.parametrize("is_named", [False, True])
def test_a_collection_of_another_tool_is_left_as_it_is(options, is_named):
    """Also where its vectors have the very names and sizes of ours."""
    folder = Path(str(options.qdrant.path))
    text = models.VectorParams(size=256, distance=models.Distance.COSINE)
    image = models.VectorParams(size=24, distance=models.Distance.COSINE)
    client = QdrantClient(path=str(folder))
    client.create_collection("pixsearch", {"text": text, "image": image} if is_named else text)
    vector = np.arange(1, 257, dtype=float).tolist()
    point = models.PointStruct(
        id=0, vector={"text": vector} if is_named else vector, payload={"whose": "another's"}
    )
    client.upsert("pixsearch", [point])
    client.close()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"build_index\.py did not make it") as caught:
        build_indexes(options, progress=False)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_begun_collection_of_other_vectors_is_not_gone_on_with(options, monkeypatch):
    """The points of other documents are not taken for ours either."""
    collection = open_collection(options.qdrant)
    sizes = {"text": 8}
    params = qdrant.vector_params("text", 8)
    params.distance = models.Distance.COSINE
    with monkeypatch.context() as patched:
        patched.setattr(qdrant, "vector_params", lambda *_: params)
        patched.setattr(QdrantCollection, "_add_points", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            collection.prepare(corpus_sha256="a", num_documents=3, dimensions=sizes)
    with pytest.raises(ValueError, match="text vectors are compared by Cosine, not by Dot"):
        collection.prepare(corpus_sha256="a", num_documents=3, dimensions=sizes)
    with pytest.raises(ValueError, match="its corpus_sha256 is 'a', not 'b'"):
        collection.prepare(corpus_sha256="b", num_documents=3, dimensions=sizes)
    assert collection._client.count("pixsearch").count == 0


def test_vectors_of_another_encoder_are_refused(options):
    build_indexes(options, progress=False)
    wider = replace(options, text_encoder=replace(options.text_encoder, dimension=128))
    with pytest.raises(ValueError, match="dimension is 256 there, 128 here"):
        Searcher.open(wider)
    with pytest.raises(ValueError, match="text vectors have 256 dimensions, not 128"):
        build_indexes(wider, progress=False)
    prefixed = replace(options, text_encoder=replace(options.text_encoder, prefix="query: "))
    with pytest.raises(ValueError, match=r"were made otherwise \(prefix\)"):
        build_indexes(prefixed, progress=False)


def test_the_nearest_chunk_is_chosen_by_vectors_in_qdrant(options):
    build_indexes(options, progress=False)
    searcher = Searcher.open(replace(options, from_document=FromDocument.nearest))
    vector = searcher._text_index.encode(["Vexlin"])[0]
    scores = searcher._text_index.vectors.scores(vector, [3, 0, 5])
    assert np.argmax(scores) == 1
    hits = searcher._text_index.search(["Vexlin"], 12)[0]
    assert {hit.row: hit.score for hit in hits if hit.row in (3, 0, 5)} == pytest.approx(
        dict(zip([3, 0, 5], scores.tolist(), strict=True)), abs=2e-5
    )


def test_a_cluster_that_does_not_answer(options):
    away = replace(options, qdrant=QdrantOptions(url="http://127.0.0.1:9", timeout_seconds=1))
    with pytest.raises(SearchFailed, match=r"Qdrant at http://127\.0\.0\.1:9 does not answer"):
        build_indexes(away, progress=False)


@pytest.mark.parametrize(
    ("status", "is_temporary"), [(400, False), (401, False), (429, True), (500, True), (503, True)]
)
def test_what_a_cluster_refuses_for_good_is_not_asked_again(status, is_temporary):
    reply = http(status, '{"status": {"error": "said so"}}', Content_Type="application/json")
    with replying(reply) as (url, _):
        collection = open_collection(QdrantOptions(url=url, timeout_seconds=5))
        with pytest.raises(SearchFailed, match=rf"Qdrant at {url} refuses: .*{status}") as caught:
            collection.prepare(corpus_sha256="a", num_documents=3, dimensions={"text": 8})
    assert caught.value.is_temporary is is_temporary
    assert "\n" not in str(caught.value)


def test_a_busy_cluster_says_when_to_come_back():
    with replying(http(429, "", Retry_After="7")) as (url, _):
        collection = open_collection(QdrantOptions(url=url, timeout_seconds=5))
        with pytest.raises(SearchFailed, match="is busy") as caught:
            collection.prepare(corpus_sha256="a", num_documents=3, dimensions={"text": 8})
    assert (caught.value.is_temporary, caught.value.retry_after) == (True, 7)


def test_an_embedded_collection_that_is_open_elsewhere(options):
    path = str(options.qdrant.path)
    other = QdrantClient(path=path)  # one process is refused as another is: it is a file's lock
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the library leaves the lock's file open
        with pytest.raises(ValueError, match="another process has it open") as caught:
            open_collection(options.qdrant)
        assert "\n" not in str(caught.value)
        del caught
        gc.collect()
    other.close()


def test_a_cluster_is_asked_as_the_options_say():
    where = QdrantOptions(url="http://127.0.0.1:9", exact=True, ef_search=200)
    asked = QdrantCollection(QdrantClient(":memory:"), where)._search_params(None)
    assert (asked.exact, asked.hnsw_ef) == (True, 200)


def test_how_thoroughly_a_cluster_is_searched_is_part_of_what_is_searched(own):
    """Where Qdrant is searched; answers over FAISS keep their identity."""
    where = QdrantOptions(url="http://127.0.0.1:9")
    ours = replace(own, backend=Backend.qdrant, qdrant=where)
    for change in ({"exact": True}, {"ef_search": 200}):
        other = replace(ours, qdrant=replace(where, **change))
        assert settings_of(other) != settings_of(ours)
        faiss = replace(other, backend=Backend.faiss)
        assert settings_of(faiss) == settings_of(own)
    elsewhere = replace(ours, qdrant=replace(where, url="http://127.0.0.1:8"))
    assert settings_of(elsewhere) == settings_of(ours)


def test_without_the_extra(options, monkeypatch):
    monkeypatch.delitem(sys.modules, "pixsearch.retrieval.qdrant")
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    with pytest.raises(ValueError, match="qdrant_client is missing; install the extra 'qdrant'"):
        build_indexes(options, progress=False)


def test_a_client_is_let_go_of_with_its_last_user(options):
    """So that another process may open the folder, or this one again."""
    path = str(options.qdrant.path)
    collection = open_collection(options.qdrant)
    assert open_collection(options.qdrant)._client is collection._client
    del collection
    gc.collect()
    QdrantClient(path=path).close()


def test_where_it_is_must_be_said():
    with pytest.raises(ValueError, match=r"say where, by retrieval\.qdrant\.url or path"):
        RetrievalOptions(backend=Backend.qdrant)
    with pytest.raises(ValueError, match="give one of them"):
        QdrantOptions(url="http://a", path="b")


def test_documents_come_with_all_of_their_vectors():
    vectors = np.arange(14, dtype=np.float32).reshape(7, 2)
    rows = np.array([4, 1, 4, 0, 9, 1, 4])
    found = [
        (document, part[:, 0].tolist())
        for documents, parts in by_document(Vectors([vectors[:3], vectors[3:]]), rows, 2)
        for document, part in zip(documents, parts, strict=True)
    ]
    assert found == [(0, [6.0]), (1, [2.0, 10.0]), (4, [0.0, 4.0, 12.0]), (9, [8.0])]


def test_recall_is_measured_against_brute_force_in_qdrant(options, monkeypatch):
    """As of a cluster whose graph misses half of what it is asked for."""
    build_indexes(options, progress=False)
    index = open_collection(options.qdrant).index(
        "text", read_manifest_of(options, "text").identity
    )
    nearest = QdrantCollection.nearest

    def half(self, name, vectors, fetched, *, exact=None):
        scores, rows = nearest(self, name, vectors, fetched)
        return (scores, rows) if exact else (scores, np.where(np.arange(fetched) % 2, -1, rows))

    queries = np.eye(256, dtype=np.float32)[:3]
    assert index.recall_at_10(queries) == 1.0
    monkeypatch.setattr(qdrant.QdrantCollection, "nearest", half)
    assert index.recall_at_10(queries) == 0.5

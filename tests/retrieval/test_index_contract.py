"""What every index owes, whoever holds the vectors: one suite for all implementations.

A new one: a function (documents' vectors, the row of each, a folder to work in) -> something with
`search(vectors, k)`, as a context manager, and a line in IMPLEMENTATIONS.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import pytest
from jaxtyping import Float32, Int64
from qdrant_client import QdrantClient

from pixsearch.config import EncoderOptions, QdrantOptions, RetrievalOptions
from pixsearch.queries import Query, SearchFailed
from pixsearch.retrieval.building.uploading import upload_vector_index
from pixsearch.retrieval.fan_out import FanOutSearcher
from pixsearch.retrieval.hits import Hit
from pixsearch.retrieval.index import EncodedIndex, Index, VectorIndex
from pixsearch.retrieval.knowledge_base import KnowledgeBase
from pixsearch.retrieval.manifest import Identity
from pixsearch.retrieval.qdrant import QdrantCollection
from pixsearch.retrieval.searcher import Searcher
from pixsearch.retrieval.vectors import Vectors

from .conftest import write_corpus
from .serving import serving

DIMENSION = 16
REFUSED = (ValueError, SearchFailed)  # a server tells its client, which says that it failed
Open = Callable[..., AbstractContextManager[Index]]


@contextmanager
def faiss_index(vectors, rows, folder) -> Iterator[Index]:
    yield VectorIndex.build(vectors, rows)


@contextmanager
def qdrant_index(vectors, rows, folder) -> Iterator[Index]:
    client = QdrantClient(":memory:")
    collection = QdrantCollection(client, QdrantOptions(path=":memory:", batch_size=100))
    identity = Identity(
        encoder="none",
        fingerprint="",
        dimension=vectors.shape[1],
        metric="cosine",
        prefix="",
        pooling="none",
        corpus_sha256="",
        factory="qdrant",
    )
    collection.prepare(
        corpus_sha256="", num_documents=int(rows.max()) + 1, dimensions={"image": DIMENSION}
    )
    upload_vector_index(
        folder, collection, "image", Vectors([vectors]), rows, identity, model="", batch_size=100
    )
    yield collection.index("image", identity)
    client.close()


class FanOutIndex:
    """Two servers of ours, asked by a vector's bytes in the place of words."""

    def __init__(self, searcher: FanOutSearcher) -> None:
        self._searcher = searcher

    def search(self, vectors: Float32[np.ndarray, "num dimension"], k: int) -> list[list[Hit]]:
        queries = [Query.of_text(vector.tobytes().hex()) for vector in vectors]
        return [
            [Hit(row=int(passage.id), score=passage.score) for passage in passages]
            for passages in self._searcher.search(queries, k)
        ]


def from_words(texts) -> Float32[np.ndarray, "num dimension"]:
    return np.array([np.frombuffer(bytes.fromhex(text), dtype=np.float32) for text in texts])


@contextmanager
def fan_out_index(vectors, rows, folder) -> Iterator[Index]:
    """Documents with even rows behind one server, with odd ones behind the other."""
    with (
        serving(lambda: part_of(vectors, rows, folder, 0)) as even,
        serving(lambda: part_of(vectors, rows, folder, 1)) as odd,
        FanOutSearcher([even, odd]) as searcher,
    ):
        yield FanOutIndex(searcher)


def part_of(vectors, rows, folder, remainder) -> Searcher:
    """A searcher of the documents whose row leaves that remainder."""
    documents = [row for row in range(int(rows.max()) + 1) if row % 2 == remainder]
    records = [{"id": f"{row:06}", "contents": "a document"} for row in documents]
    knowledge_base = KnowledgeBase(write_corpus(folder / str(remainder), records))
    own = rows % 2 == remainder
    index = VectorIndex.build(vectors[own], rows[own] // 2)
    options = RetrievalOptions(
        knowledge_base="", index=str(folder), text_encoder=EncoderOptions(name="", dimension=16)
    )
    return Searcher(knowledge_base, EncodedIndex(encode=from_words, vectors=index), None, options)


IMPLEMENTATIONS = {"faiss": faiss_index, "qdrant": qdrant_index, "fan_out": fan_out_index}


@pytest.fixture(params=IMPLEMENTATIONS)
def open_index(request, tmp_path) -> Open:
    """(vectors, rows) -> the index of one implementation."""
    implementation = IMPLEMENTATIONS[request.param]
    return lambda vectors, rows: implementation(vectors, np.asarray(rows), tmp_path)


def units(count: int, seed: int = 0) -> Float32[np.ndarray, "count dimension"]:
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def axis(*places: int) -> Float32[np.ndarray, "num dimension"]:
    """Vectors along one axis each."""
    return np.eye(DIMENSION, dtype=np.float32)[list(places)]


def brute_force(
    vectors: Float32[np.ndarray, "count dimension"],
    rows: Int64[np.ndarray, " count"],
    query: Float32[np.ndarray, " dimension"],
    k: int,
) -> list[Hit]:
    """Each document by its best vector, equal ones by their row; in float64."""
    scores = np.round(vectors.astype(np.float64) @ query.astype(np.float64), 5)
    best = {row: max(scores[rows == row].tolist()) for row in sorted(set(rows.tolist()))}
    ordered = sorted(best.items(), key=lambda item: (-item[1], item[0]))
    return [Hit(row=row, score=score) for row, score in ordered[:k]]


def assert_same(found: list[list[Hit]], expected: list[list[Hit]]) -> None:
    assert [[hit.row for hit in hits] for hits in found] == [
        [hit.row for hit in hits] for hits in expected
    ]
    scores = [np.array([hit.score for hit in hits]) for hits in (*found, *expected)]
    for ours, exact in zip(scores[: len(found)], scores[len(found) :], strict=True):
        np.testing.assert_allclose(ours, exact, atol=2e-5)


@pytest.mark.parametrize("k", [1, 5, 40])
def test_it_finds_what_brute_force_finds(open_index, k):
    vectors, rows, queries = units(300), np.arange(300), units(17, seed=1)
    with open_index(vectors, rows) as index:
        assert_same(index.search(queries, k), [brute_force(vectors, rows, q, k) for q in queries])


def test_several_vectors_of_a_document_fold_into_its_best(open_index):
    """Up to five of each of 60 documents, in any order."""
    rows = np.random.default_rng(2).permutation(np.repeat(np.arange(60), np.arange(60) % 5 + 1))
    vectors, queries = units(len(rows)), units(9, seed=1)
    with open_index(vectors, rows) as index:
        assert_same(index.search(queries, 7), [brute_force(vectors, rows, q, 7) for q in queries])


def test_one_document_with_most_of_the_vectors(open_index):
    rows = np.array([3] * 50 + [0, 1, 2])
    vectors = np.concatenate([np.repeat(axis(0), 50, axis=0), axis(1, 2, 3)])
    with open_index(vectors, rows) as index:
        found = index.search(axis(0), 3)[0]
    assert [hit.row for hit in found] == [3, 0, 1]


def test_a_document_without_a_vector_is_never_found(open_index):
    with open_index(axis(0, 1, 2), [5, 0, 3]) as index:
        assert [hit.row for hit in index.search(axis(2), 10)[0]] == [3, 0, 5]


def test_ties_come_in_the_order_of_the_knowledge_base(open_index):
    rows = np.arange(41)[::-1].copy()
    with open_index(axis(*[0] * 40, 1), rows) as index:
        assert [hit.row for hit in index.search(axis(0), 3)[0]] == [1, 2, 3]


def test_what_is_found_does_not_depend_on_the_batch(open_index):
    vectors, queries = units(200), np.concatenate([units(20, seed=1), axis(0), axis(0)])
    with open_index(np.concatenate([vectors, axis(0, 0, 0)]), np.arange(203)) as index:
        alone = [index.search(query[None], 2)[0] for query in queries]
        assert_same(index.search(queries, 2), alone)


def test_more_asked_than_there_is(open_index):
    with open_index(units(3), [0, 1, 2]) as index:
        found = index.search(units(2, seed=1), 100)
    assert [sorted(hit.row for hit in hits) for hits in found] == [[0, 1, 2]] * 2


def test_a_zero_vector_finds_nothing_and_the_others_their_own(open_index):
    zero = np.zeros((1, DIMENSION), dtype=np.float32)
    with open_index(axis(0, 1), [0, 1]) as index:
        found = index.search(np.concatenate([axis(0), zero, axis(1)]), 1)
    assert found == [[Hit(0, 1.0)], [], [Hit(1, 1.0)]]


def test_no_queries(open_index):
    with open_index(axis(0, 1), [0, 1]) as index:
        assert index.search(np.zeros((0, DIMENSION), dtype=np.float32), 3) == []


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_queries_that_are_not_finite_are_refused(open_index, value):
    queries = units(3, seed=1)
    queries[1, 2] = value
    with (
        open_index(axis(0, 1), [0, 1]) as index,
        pytest.raises(REFUSED, match=r"a query's vector \(number 1\) is not finite") as caught,
    ):
        index.search(queries, 1)
    assert "\n" not in str(caught.value)


def test_queries_of_another_dimension_are_refused(open_index):
    with (
        open_index(axis(0, 1), [0, 1]) as index,
        pytest.raises(REFUSED, match="a query has 8 dimensions, the index 16") as caught,
    ):
        index.search(units(2)[:, :8].copy(), 1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("implementation", [faiss_index, qdrant_index])
def test_documents_that_are_not_finite_are_refused(implementation, tmp_path):
    vectors = units(3)
    vectors[1, 0] = np.nan
    with (
        pytest.raises(ValueError, match=r"a document's vector \(number 1\) is not finite"),
        implementation(vectors, np.arange(3), tmp_path),
    ):
        pass

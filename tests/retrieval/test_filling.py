"""Indexes filled in chunks: the same as at once, and measured against exact search."""

import faiss
import numpy as np
import pytest

from pixsearch.config import BuildOptions
from pixsearch.retrieval.building.filling import fill_index, set_search_parameters
from pixsearch.retrieval.building.recall import exact_nearest, held_out_queries, recall_at_10
from pixsearch.retrieval.vectors import Vectors

SMALL = BuildOptions(add_vectors=100, train_vectors=1000)


@pytest.fixture(scope="module")
def array() -> np.ndarray:
    vectors = np.random.default_rng(0).standard_normal((1500, 32)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def parts_of(array: np.ndarray) -> Vectors:
    return Vectors([array[:70], array[70:71], array[71:900], array[900:]])


def test_chunks_and_drawn_vectors(array):
    vectors = parts_of(array)
    chunks = list(vectors.chunks(256))
    assert len(vectors) == 1500
    assert max(len(chunk) for chunk in chunks) == 256
    assert all(np.shares_memory(chunk, array) for chunk in chunks)
    np.testing.assert_array_equal(np.concatenate(chunks), array)
    places = np.array([0, 69, 70, 71, 899, 900, 1499])
    np.testing.assert_array_equal(vectors.take(places), array[places])


@pytest.mark.parametrize(
    ("factory", "kind"),
    [
        ("Flat", faiss.IndexFlat),
        ("SQ8", faiss.IndexScalarQuantizer),
        ("HNSW8,SQ8", faiss.IndexHNSWSQ),
        ("IVF8,RaBitQfs,Refine(SQ8)", faiss.IndexRefine),
        ("PCA16,IVF8,Flat", faiss.IndexPreTransform),
    ],
)
def test_filled_as_faiss_fills_it(factory, kind, array):
    """Memory claimed beforehand changes nothing; order and parts do not count for these."""
    filled = fill_index(parts_of(array), factory, SMALL)
    plain = faiss.index_factory(32, factory, faiss.METRIC_INNER_PRODUCT)
    drawn = np.random.default_rng(0).choice(1500, 1000, replace=False, shuffle=False)
    plain.train(array[np.sort(drawn)])
    for chunk in parts_of(array).chunks(100):
        plain.add(chunk)
    assert isinstance(filled, kind)
    assert filled.ntotal == 1500
    np.testing.assert_array_equal(
        faiss.serialize_index(filled), faiss.serialize_index(plain), strict=True
    )


def test_too_few_vectors_for_the_cells_are_told(array, caplog, capfd):
    fill_index(Vectors([array[:100]]), "IVF8,Flat", SMALL)
    assert "100 vectors train 8 cells, fewer than 39 for each" in caplog.text


def test_exact_nearest_chunk_by_chunk(array, monkeypatch):
    monkeypatch.setattr("pixsearch.retrieval.building.recall.CHUNK", 64)
    queries = held_out_queries(parts_of(array))
    assert queries.shape == (1000, 32)
    expected = faiss.knn(queries, array, 10, metric=faiss.METRIC_INNER_PRODUCT)[1]
    np.testing.assert_array_equal(exact_nearest(queries, parts_of(array), 10), expected)


def test_held_out_queries_lie_as_far_from_vectors_of_any_length(array):
    """Else recall of vectors that keep their length would be that of the documents themselves."""
    queries = held_out_queries(Vectors([array]))
    np.testing.assert_allclose(held_out_queries(Vectors([20 * array])), 20 * queries, atol=1e-4)


def test_a_vector_of_zeros_becomes_a_query_too(array):
    queries = held_out_queries(Vectors([np.concatenate([array[:9], np.zeros_like(array[:1])])]))
    np.testing.assert_allclose(np.linalg.norm(queries[9]), 0.45, rtol=1e-5)


def test_search_parameters_raise_recall(array):
    index = fill_index(parts_of(array), "IVF8,Flat", SMALL)
    before = recall_at_10(index.search, parts_of(array))
    set_search_parameters(index, "nprobe=8")
    assert before < 0.9
    assert recall_at_10(index.search, parts_of(array)) == 1.0


@pytest.mark.parametrize("parameters", ["efSearch=9", "nprobe"])
def test_search_parameters_that_do_not_suit(parameters, array):
    index = fill_index(parts_of(array), "IVF8,Flat", SMALL)
    with pytest.raises(ValueError, match=f"search_parameters='{parameters}' does not suit") as told:
        set_search_parameters(index, parameters)
    assert "\n" not in str(told.value)

import contextlib

import numpy as np
import pytest

from pixsearch.retrieval.building.recall import recall_at_10
from pixsearch.retrieval.index import Hit, VectorIndex, replaced_folder
from pixsearch.retrieval.vectors import Vectors


def unit(*rows):
    vectors = np.array(rows, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def random_units(count, dimension=16, seed=0):
    return unit(*np.random.default_rng(seed).standard_normal((count, dimension)))


def test_several_vectors_of_a_document_fold_into_its_best():
    vectors = unit([1, 0], [0.9, 0.1], [0.8, 0.2], [0, 1])
    index = VectorIndex.build(vectors, np.array([7, 7, 7, 2]))
    assert index.search(unit([1, 0]), 2) == [[Hit(row=7, score=1.0), Hit(row=2, score=0.0)]]


def test_ties_come_in_the_order_of_the_knowledge_base():
    index = VectorIndex.build(unit([1, 0], [1, 0], [1, 0]), np.array([2, 0, 1]))
    assert [hit.row for hit in index.search(unit([1, 0]), 3)[0]] == [0, 1, 2]


def test_ties_at_the_cut_come_in_the_order_of_the_knowledge_base():
    """More equal ones than are fetched at first; FAISS keeps others of them than we want."""
    index = VectorIndex.build(unit(*[[1, 0]] * 40, [0, 1]), np.arange(41)[::-1].copy())
    assert [hit.row for hit in index.search(unit([1, 0]), 3)[0]] == [1, 2, 3]


def test_hits_do_not_depend_on_the_batch():
    index = VectorIndex.build(random_units(500), np.repeat(np.arange(250), 2))
    queries = random_units(64, seed=1)
    alone = [index.search(query[None], 5)[0] for query in queries]
    together = index.search(queries, 5)
    assert [[hit.row for hit in hits] for hits in together] == [
        [hit.row for hit in hits] for hits in alone
    ]


def test_more_asked_than_there_is():
    index = VectorIndex.build(random_units(3), np.arange(3))
    assert len(index.search(random_units(1, seed=1), 10)[0]) == 3


def test_a_miss_of_an_approximate_index_is_no_document():
    """One of 16 cells is searched: fewer than 40 are found, and -1 is not the last document."""
    index = VectorIndex.build(random_units(640), np.arange(640), factory="IVF16,Flat")
    rows = [hit.row for hit in index.search(random_units(1, seed=1), 600)[0]]
    assert 0 < len(rows) < 600
    assert len(set(rows)) == len(rows)
    assert min(rows) >= 0


def test_zero_vector_finds_nothing():
    index = VectorIndex.build(random_units(3), np.arange(3))
    assert index.search(np.zeros((1, 16), dtype=np.float32), 2) == [[]]


def test_vectors_that_are_not_finite_are_refused():
    vectors = random_units(3)
    vectors[1, 0] = np.nan
    with pytest.raises(ValueError, match="document's vector \\(number 1\\) is not finite"):
        VectorIndex.build(vectors, np.arange(3))
    index = VectorIndex.build(random_units(3), np.arange(3))
    with pytest.raises(ValueError, match="query's vector"):
        index.search(vectors, 1)


@pytest.mark.parametrize("factory", ["Flatt", "IVF64,Flat"])
def test_factory_that_does_not_work(factory):
    with pytest.raises(ValueError, match=f"factory='{factory}' does not work for 3 vectors"):
        VectorIndex.build(random_units(3), np.arange(3), factory=factory)


def test_recall_against_exact_search():
    vectors = random_units(640)
    exact = VectorIndex.build(vectors, np.arange(640))
    assert recall_at_10(exact.nearest, Vectors([vectors])) == 1.0
    coarse = VectorIndex.build(vectors, np.arange(640), factory="IVF16,Flat")
    assert 0.05 < recall_at_10(coarse.nearest, Vectors([vectors])) < 0.95


def test_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "index"
    with replaced_folder(folder) as partial:
        (partial / "one").touch()
    with contextlib.suppress(ZeroDivisionError), replaced_folder(folder) as partial:
        (partial / "two").write_text(str(1 / 0))
    assert [path.name for path in folder.iterdir()] == ["one"]
    with replaced_folder(folder) as partial:
        (partial / "three").touch()
    assert [path.name for path in folder.iterdir()] == ["three"]
    assert [path.name for path in tmp_path.iterdir()] == ["index"]

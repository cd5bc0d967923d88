"""BM25 as bm25s computes it, of texts that are read as a stream."""

import json

import bm25s
import numpy as np
import pytest
import Stemmer

from pixsearch.retrieval import bm25
from pixsearch.retrieval.bm25 import LexicalIndex

TEXTS = ["Painted boxes, a painted disc", "the disc", "of the", "A cross painted red, boxes, boxes"]


@pytest.fixture
def index(monkeypatch) -> LexicalIndex:
    monkeypatch.setattr(bm25, "BATCH", 2)
    return LexicalIndex.build(iter(TEXTS))


def test_words_are_numbered_in_the_order_of_first_sight(index, tmp_path):
    index.save(tmp_path)
    numbers = json.loads((tmp_path / "vocab.index.json").read_text())
    assert list(numbers) == ["paint", "box", "disc", "cross", "red", ""]
    assert list(numbers.values()) == list(range(6))


def test_scores_are_those_of_the_library(index):
    words = bm25s.tokenize(
        TEXTS,
        token_pattern=bm25.WORD,
        stopwords="english",
        stemmer=Stemmer.Stemmer("english"),
        return_ids=False,
        show_progress=False,
    )
    plain = bm25s.BM25(k1=1.5, b=0.75)
    plain.index(words, show_progress=False)
    queries = ["painted boxes", "red disc", "xyzzy"]
    found = index.scores(queries, [range(4)] * 3)
    np.testing.assert_array_equal(found[0], plain.get_scores(["paint", "box"]))
    np.testing.assert_array_equal(found[1], plain.get_scores(["red", "disc"]))
    assert not found[2].any()


def test_a_memory_mapped_index_finds_the_same(index, tmp_path):
    index.save(tmp_path)
    mapped = LexicalIndex.load(tmp_path, memory_map=True)
    assert all(
        isinstance(mapped._scorer.scores[name], np.memmap) for name in ("data", "indices", "indptr")
    )
    assert mapped.search(["painted boxes", "disc"], 3) == index.search(["painted boxes", "disc"], 3)


def test_texts_without_a_word_are_refused():
    with pytest.raises(ValueError, match="no document has a word but stop words: set retrieval"):
        LexicalIndex.build(["of the", "?!"])

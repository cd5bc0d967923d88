"""Text search by words alone (BM25 through bm25s), an ablation of the text index."""

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import bm25s
import numpy as np
import Stemmer
from jaxtyping import Float64

from pixsearch.retrieval.index import Hit
from pixsearch.retrieval.manifest import REMEDY, Identity, Manifest

STEMMER = "english"
STOP_WORDS = "english"
WORD = r"(?u)\b\w+\b"  # bm25s' own pattern drops words of one letter
K1, B = 1.5, 0.75
BATCH = 1000  # texts that are cut into words together


class LexicalIndex:
    """BM25 over the documents' texts; rows are those of the knowledge base."""

    def __init__(self, scorer: bm25s.BM25) -> None:
        self._scorer = scorer

    @classmethod
    def build(cls, texts: Iterable[str]) -> "LexicalIndex":
        """Index texts, which are read once; the same texts give the same bytes.

        In memory are 4 bytes of every word but stop words, some 90 of every text, at the end
        36 more of every different word of every text, and the vocabulary; the texts are not.

        Raises:
            ValueError: no text has a word that is no stop word.
        """
        numbers: dict[str, int] = {}  # in the order of first sight: a set's is another every time
        words = [
            array("i", [numbers.setdefault(word, len(numbers)) for word in each])
            for each in _words(texts)
        ]
        if not numbers:
            raise ValueError(
                "no document has a word but stop words: set retrieval.text_search=dense"
            )
        scorer = bm25s.BM25(k1=K1, b=B)
        scorer.index((words, numbers), show_progress=False)
        return cls(scorer)

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """At most k documents for each query, all of which share a word with it."""
        assert k > 0
        return [self._best(words, k) for words in _words(queries)]

    def scores(
        self, queries: Sequence[str], rows: Sequence[Sequence[int]]
    ) -> list[Float64[np.ndarray, " num_rows"]]:
        """See `TextIndex`; 0 where no word is shared."""
        if not queries:
            return []
        return [self._scores_of(*each) for each in zip(_words(queries), rows, strict=True)]

    def _scores_of(self, words: list[str], rows: Sequence[int]) -> Float64[np.ndarray, " num_rows"]:
        if not words:
            return np.zeros(len(rows))
        return self._scorer.get_scores(words)[list(rows)].astype(np.float64)

    def _best(self, words: list[str], k: int) -> list[Hit]:
        if not words:
            return []
        scores = self._scorer.get_scores(words)
        rows = np.flatnonzero(scores > 0)
        ordered = rows[np.lexsort((rows, -scores[rows]))]
        return [Hit(row=int(row), score=float(scores[row])) for row in ordered[:k]]

    def save(self, folder: Path) -> None:
        self._scorer.save(str(folder), show_progress=False)

    @classmethod
    def load(cls, folder: Path, *, memory_map: bool = False) -> "LexicalIndex":
        """Load what `save` wrote.

        Args:
            memory_map: leave all but the vocabulary in the files, to be read as it is asked for.

        Raises:
            ValueError: a file is missing or corrupt.
        """
        try:
            return cls(bm25s.BM25.load(str(folder), mmap=memory_map, show_progress=False))
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"the index {folder} cannot be read: {REMEDY}") from error


def lexical_identity(corpus_sha256: str) -> Identity:
    """The identity of a BM25 index; documents and queries are cut into words by the same rules."""
    rules = repr((bm25s.__version__, STEMMER, STOP_WORDS, WORD, K1, B))
    return Identity(
        encoder="bm25",
        fingerprint=hashlib.sha256(rules.encode()).hexdigest(),
        dimension=0,
        metric="bm25",
        prefix="",
        pooling="none",
        corpus_sha256=corpus_sha256,
        factory="bm25s",
    )


def lexical_manifest(identity: Identity, num_documents: int) -> Manifest:
    """Without the files' records, which whoever saves the index adds."""
    return Manifest(
        identity=identity,
        count=num_documents,
        num_documents=num_documents,
        exact=True,
        recall_at_10=1.0,
        num_recall_queries=0,
        search_parameters="",
        library=f"bm25s {bm25s.__version__}",
        model="",
        files={},
    )


def _words(texts: Iterable[str]) -> Iterator[list[str]]:
    """The one cut into stemmed words, for both sides: FlashRAG stems the documents alone."""
    unread, stemmer = iter(texts), Stemmer.Stemmer(STEMMER)
    while batch := list(islice(unread, BATCH)):
        yield from bm25s.tokenize(
            batch,
            token_pattern=WORD,
            stopwords=STOP_WORDS,
            stemmer=stemmer,
            return_ids=False,
            show_progress=False,
        )

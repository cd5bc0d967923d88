"""Vectors -> rows of the knowledge base, through FAISS. Cosine similarity throughout."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import faiss
import numpy as np
from jaxtyping import Float32, Float64, Int64

from pixsearch.retrieval.hits import (
    MISS,
    SCORE_DECIMALS,
    Hit,
    VectorCounts,
    refuse_dimension,
    refuse_not_finite,
    search_documents,
)
from pixsearch.retrieval.manifest import REMEDY, Identity, Manifest, read_manifest

NUM_RECALL_QUERIES = 1000


@runtime_checkable
class Index(Protocol):
    """Anything that finds documents for queries (texts or images), nearest first."""

    def search(self, queries: Sequence[Any], k: int) -> list[list[Hit]]: ...


@runtime_checkable
class TextIndex(Index, Protocol):
    """An index of texts that also compares a text with documents of the caller's choice."""

    def scores(
        self, queries: Sequence[str], rows: Sequence[Sequence[int]]
    ) -> list[Float64[np.ndarray, " num_rows"]]:
        """For each query, its similarity to the documents in its rows, as a search measures it."""
        ...


class VectorIndex:
    """Unit vectors and the row of the document that each belongs to.

    Several vectors of one document fold into one hit, its best.
    """

    def __init__(self, index: faiss.Index, rows: Int64[np.ndarray, " count"]) -> None:
        assert index.ntotal == len(rows) > 0
        self._index = index
        self._rows = rows
        most = int(np.unique(rows, return_counts=True)[1].max())
        self._counts = VectorCounts(total=index.ntotal, most_per_document=most)

    @classmethod
    def build(
        cls,
        vectors: Float32[np.ndarray, "count dimension"],
        rows: Int64[np.ndarray, " count"],
        *,
        factory: str = "Flat",
    ) -> "VectorIndex":
        """Train and fill an index.

        Raises:
            ValueError: FAISS refuses the factory string, or a vector is not finite.
        """
        refuse_not_finite(vectors, what="a document's vector")
        try:
            index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
            index.train(vectors)
            index.add(vectors)
        except RuntimeError as error:
            raise ValueError(
                f"retrieval.factory={factory!r} does not work for {len(vectors)} vectors of "
                f"{vectors.shape[1]} dimensions: {_faiss_reason(error)}; 'Flat' always does"
            ) from error
        return cls(index, rows)

    @property
    def dimension(self) -> int:
        return self._index.d

    def __len__(self) -> int:
        return self._index.ntotal

    def search(self, vectors: Float32[np.ndarray, "num dimension"], k: int) -> list[list[Hit]]:
        """At most k documents for each vector, as `search_documents` orders them.

        Raises:
            ValueError: a vector that is not finite, or of another dimension than the index.
        """
        refuse_dimension(vectors, self.dimension)
        return search_documents(self._fetch, vectors, k, self._counts)

    def _fetch(
        self, vectors: Float32[np.ndarray, "num dimension"], fetched: int
    ) -> tuple[Float32[np.ndarray, "num fetched"], Int64[np.ndarray, "num fetched"]]:
        scores, places = self._index.search(vectors, fetched)
        # FAISS fills up with -1; as a place that would be the last vector.
        return scores, np.where(places < 0, MISS, self._rows[places])

    def scores(
        self, vector: Float32[np.ndarray, " dimension"], rows: Sequence[int]
    ) -> Float64[np.ndarray, " num_rows"]:
        """Similarity of a vector to the documents in `rows`, each of which must have one vector.

        It is compared with what the index keeps of them, as exact as its factory is.

        Raises:
            ValueError: the index cannot give its vectors back.
        """
        places = np.searchsorted(self._rows, rows)
        assert (self._rows[places] == rows).all(), "vectors stand in the knowledge base's order"
        try:
            self._prepare_to_reconstruct()
            documents = self._index.reconstruct_batch(places)
        except RuntimeError as error:
            raise ValueError(
                f"the index does not give its vectors back ({_faiss_reason(error)}): set "
                "retrieval.from_document=lead, or end the factory in ',Refine(SQ8)' and rebuild"
            ) from error
        return np.round((documents @ vector).astype(np.float64), SCORE_DECIMALS)

    def _prepare_to_reconstruct(self) -> None:
        """An inverted file finds a vector by its number only with a map, 8 bytes per vector."""
        inverted = faiss.try_extract_index_ivf(self._index)
        if inverted is not None and inverted.direct_map.no():
            inverted.make_direct_map()

    def recall_at_10(self, vectors: Float32[np.ndarray, "count dimension"]) -> float:
        """Share of the exact ten nearest that are found, over up to 1,000 held-out queries.

        The queries are documents' vectors with noise of half their length, seeded: held out, yet
        where real queries lie.
        """
        generator = np.random.default_rng(0)
        chosen = generator.choice(
            len(vectors), min(NUM_RECALL_QUERIES, len(vectors)), replace=False
        )
        noise = generator.standard_normal((len(chosen), vectors.shape[1])).astype(np.float32)
        queries = vectors[chosen] + 0.5 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
        k = min(10, len(vectors))
        exact = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)[1]
        found = self._index.search(queries, k)[1]
        shared = [len(np.intersect1d(a, b)) for a, b in zip(exact, found, strict=True)]
        return float(np.mean(shared) / k)

    def save(self, folder: Path) -> None:
        faiss.write_index(self._index, str(folder / "vectors.faiss"))
        np.save(folder / "rows.npy", self._rows)

    @classmethod
    def load(cls, folder: Path) -> "VectorIndex":
        """Load what `save` wrote, checked against the manifest beside it.

        Raises:
            ValueError: a file is missing or corrupt, or the sizes differ from the manifest's.
        """
        manifest = read_manifest(folder)
        try:
            index = faiss.read_index(str(folder / "vectors.faiss"))
            rows = np.load(folder / "rows.npy")
        except (RuntimeError, OSError, ValueError, EOFError) as error:
            raise ValueError(f"the index {folder} cannot be read: {REMEDY}") from error
        sizes = (index.ntotal, len(rows), index.d)
        stated = (manifest.count, manifest.count, manifest.identity.dimension)
        if sizes != stated:
            raise ValueError(
                f"the index {folder} holds (vectors, rows, dimension) = {sizes}, "
                f"its manifest says {stated}: {REMEDY}"
            )
        return cls(index, rows)

    def manifest(
        self, identity: Identity, vectors: Float32[np.ndarray, "count dimension"]
    ) -> Manifest:
        """What is written beside the index; an approximate one is measured against exact search."""
        exact = identity.factory == "Flat"
        return Manifest(
            identity=identity,
            count=len(self),
            num_documents=len(np.unique(self._rows)),
            exact=exact,
            recall_at_10=1.0 if exact else self.recall_at_10(vectors),
            library=f"faiss {faiss.__version__}",
        )


@dataclass(frozen=True, kw_only=True)
class EncodedIndex:
    """A vector index with the encoder of its queries.

    Attributes:
        encode: queries (texts or images) to unit vectors.
    """

    encode: Callable[[Sequence[Any]], Float32[np.ndarray, "num dimension"]]
    vectors: VectorIndex

    def search(self, queries: Sequence[Any], k: int) -> list[list[Hit]]:
        """All queries in one call of the encoder, then one of the index."""
        return self.vectors.search(self.encode(queries), k) if queries else []

    def scores(
        self, queries: Sequence[str], rows: Sequence[Sequence[int]]
    ) -> list[Float64[np.ndarray, " num_rows"]]:
        """See `TextIndex`. All queries in one call of the encoder."""
        if not queries:
            return []
        vectors = self.encode(queries)
        refuse_not_finite(vectors, what="a query's vector")
        return [self.vectors.scores(*each) for each in zip(vectors, rows, strict=True)]


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` when the block ends well, else vanishes."""
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _faiss_reason(error: RuntimeError) -> str:
    """FAISS prefixes C++ source places to what it has to say."""
    return str(error).strip().splitlines()[-1].split("Error: ")[-1]

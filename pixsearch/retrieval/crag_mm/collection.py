"""One collection of vectors with metadata in a Chroma database."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from pixsearch.retrieval.crag_mm.private_copy import PrivateCopy, private_copy
from pixsearch.retrieval.crag_mm.vector_file import refuse_cut_vectors
from pixsearch.retrieval.index import refuse_not_finite

if TYPE_CHECKING:
    from chromadb import Collection as ChromaCollection

# One call for more than 32,766 rows fails in chromadb 1.5: "too many SQL variables".
ROWS_PER_READ = 10_000
COSINE_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row that was found, `score` being its cosine similarity as Chroma computes it."""

    id: str
    score: float
    metadata: dict[str, Any]


class Collection:
    """`open_collection(name, …)`; for the process that opened it alone.

    A child that is forked from it would wait for ever at its first search, so it is refused: start
    processes by `spawn` and let each open its own.

    Attributes:
        label: what messages call it.
        dimension: of its vectors.
        stamp: what it is a copy of.
    """

    def __init__(self, chroma: "ChromaCollection", copy: PrivateCopy) -> None:
        self._chroma = chroma
        self._folder = copy.folder
        self._process = os.getpid()
        self.label = f"collection {chroma.name} in {copy.folder}"
        self.stamp = copy.stamp
        self._count = chroma.count()
        self.dimension = self._refuse_other_metric()

    def __len__(self) -> int:
        return self._count

    def nearest(self, vectors: Float32[np.ndarray, "num dimension"], count: int) -> list[list[Row]]:
        """For each vector its `count` nearest rows, nearest first; all, if there are fewer.

        A zero vector (a text without words) is near to nothing: no rows.

        Raises:
            ValueError: a vector that is not finite, another process than that which opened it, or
                files that cannot be read.
        """
        assert count > 0
        assert vectors.shape[1] == self.dimension
        refuse_not_finite(vectors, what="a query's vector")
        self._refuse_other_process()
        has_words = vectors.any(axis=1)
        if not has_words.any():
            return [[] for _ in vectors]
        with _told_in_one_line(f"the {self.label}", self._folder):
            found = self._chroma.query(
                query_embeddings=vectors[has_words],
                n_results=count,
                include=["metadatas", "distances"],
            )
        rows = iter(map(_rows, found["ids"], found["distances"], found["metadatas"]))
        return [next(rows) if each else [] for each in has_words]

    def metadatas(self, *, rows_per_read: int = ROWS_PER_READ) -> Iterator[tuple[str, dict]]:
        """Ids and metadata of all rows, in the order in which they were added."""
        for start in range(0, self._count, rows_per_read):
            with _told_in_one_line(f"the {self.label}", self._folder):
                read = self._chroma.get(limit=rows_per_read, offset=start, include=["metadatas"])
            for id, metadata in zip(read["ids"], read["metadatas"], strict=True):
                yield id, metadata or {}

    def _refuse_other_metric(self) -> int:
        """See that scores are cosines, and that rows can be found; returns the dimension.

        What a collection says of its metric is lost once the package has opened it, so it is asked:
        a vector twice as long has the same cosine with itself.
        """
        first = self._chroma.get(limit=1, include=["embeddings"])["embeddings"]
        if not len(first):
            raise ValueError(f"the {self.label} is empty: fetch it again")
        query = np.asarray(first[0], dtype=np.float64)
        found = self._chroma.query(
            query_embeddings=[2 * query], n_results=1, include=["embeddings", "distances"]
        )
        other = np.asarray(found["embeddings"][0][0], dtype=np.float64)
        cosine = query @ other / (np.linalg.norm(query) * np.linalg.norm(other))
        score = 1 - found["distances"][0][0]
        if abs(score - cosine) > COSINE_TOLERANCE:
            raise ValueError(
                f"the {self.label} scores a vector {score:.3f} whose cosine is {cosine:.3f}: "
                "CRAG-MM's collections measure by cosine"
            )
        return len(query)

    def _refuse_other_process(self) -> None:
        if os.getpid() != self._process:
            raise ValueError(
                f"the {self.label} was opened by process {self._process} and is asked by "
                f"{os.getpid()}: start processes by spawn and open it in each"
            )


def open_collection(name: str, *, source: str, revision: str | None, copies: Path) -> Collection:
    """Open a collection in a private copy of `source` (see private_copy.py for the arguments).

    Raises:
        ValueError: what `private_copy` raises; no such collection, an empty or unreadable one, or
            one that does not measure by cosine.
    """
    with private_copy(source, revision, copies) as copy:
        return _opened(name, copy)


def _opened(name: str, copy: PrivateCopy) -> Collection:
    import chromadb  # late: it is an extra, and takes a second
    from chromadb.errors import NotFoundError

    refuse_cut_vectors(copy.folder)
    settings = chromadb.Settings(anonymized_telemetry=False)
    with _told_in_one_line(f"the database in {copy.folder}", copy.folder):
        client = chromadb.PersistentClient(path=str(copy.folder), settings=settings)
        try:
            return Collection(client.get_collection(name, embedding_function=None), copy)
        except NotFoundError as error:
            present = ", ".join(sorted(one.name for one in client.list_collections()))
            raise ValueError(
                f"{copy.folder} has no collection {name}, but {present or 'none at all'}: "
                "are retrieval.crag_mm.image_index and web_index the right way round?"
            ) from error


def _rows(ids: list[str], distances: list[float], metadatas: list[Any]) -> list[Row]:
    return [
        Row(id=id, score=1.0 - distance, metadata=metadata or {})
        for id, distance, metadata in zip(ids, distances, metadatas, strict=True)
    ]


@contextmanager
def _told_in_one_line(what: str, folder: Path) -> Iterator[None]:
    from chromadb.errors import ChromaError

    try:
        yield
    except BaseException as error:
        # A panic of chromadb's half in Rust has a class of its own, below BaseException alone.
        if not isinstance(error, ChromaError) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{what} cannot be read ({reason}): delete {folder} to have it copied anew"
        ) from error

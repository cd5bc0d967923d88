"""Vectors in a Qdrant collection: what outgrows one machine is spread over a cluster's nodes.

A point is a document, its id the document's row. Its vectors have names: `text`, and `image`, which
is a multivector, so that the document's best image counts. Passages stay in corpus.jsonl.

Written for qdrant-client 1.16 or later (the identity of the vectors is kept in the collection's
metadata). The tests run against the client's embedded mode, which searches by brute force; no
cluster has been asked yet, and so no speed or recall of one is claimed.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from jaxtyping import Float32, Float64, Int64

from pixsearch.config import QdrantOptions
from pixsearch.queries import SearchFailed
from pixsearch.retrieval.hits import (
    MISS,
    SCORE_DECIMALS,
    Hit,
    VectorCounts,
    refuse_dimension,
    search_documents,
)
from pixsearch.retrieval.manifest import Identity

try:
    from qdrant_client import QdrantClient, models

    from pixsearch.retrieval.qdrant_connection import answering, new_client
    from pixsearch.retrieval.qdrant_points import as_query, as_vector, vector_params
except ModuleNotFoundError as error:
    raise ValueError(
        f"retrieval.backend=qdrant: {error.name} is missing; install the extra 'qdrant'"
    ) from error

# Keys of the collection's metadata; indexes have theirs by name.
BEGUN = "begun"  # written as the collection is made: whose documents it is for
DOCUMENTS = "documents"  # the same, once each has its point
ANOTHER = "choose another retrieval.qdrant.collection, or delete this one"
POLL_SECONDS = 1.0
NUM_NEAREST = 10

_clients: WeakValueDictionary[str, QdrantClient] = WeakValueDictionary()


def open_collection(options: QdrantOptions) -> "QdrantCollection":
    """The collection that `options` name; it need not exist yet.

    An embedded one can be opened once at a time: all of a process share it.

    Raises:
        ValueError: another process has the embedded one open.
    """
    place = options.url or options.path
    assert place is not None
    client = _clients.get(place) or new_client(options)
    _clients[place] = client
    return QdrantCollection(client, options)


class QdrantCollection:
    """The documents of one knowledge base in Qdrant."""

    def __init__(self, client: QdrantClient, options: QdrantOptions) -> None:
        self._client = client
        self._options = options
        self._name = options.collection

    def prepare(
        self, *, corpus_sha256: str, num_documents: int, dimensions: dict[str, int]
    ) -> None:
        """See that the collection is there, with a point for every document.

        Args:
            dimensions: of the vectors by their names; `text` or `image`.

        Raises:
            ValueError: there is one of that name with something else in it.
            SearchFailed: Qdrant does not answer.
        """
        documents = {"corpus_sha256": corpus_sha256, "num_documents": num_documents}
        with answering(self._options):
            if not self._client.collection_exists(self._name):
                self._create(documents, dimensions)
            self._check_contents(documents, dimensions)
            if DOCUMENTS not in self._metadata():
                self._add_points(num_documents)
                self._remember(DOCUMENTS, documents)

    def holds(self, name: str, identity: Identity) -> bool:
        """Whether the vectors of that name are all there.

        Raises:
            ValueError: others are.
            SearchFailed: Qdrant does not answer.
        """
        if name not in self._metadata():
            return False
        self._check_identity(name, identity)
        return True

    def put(
        self,
        name: str,
        documents: Sequence[int],
        parts: Sequence[Float32[np.ndarray, "_ dimension"]],
    ) -> None:
        """Give documents, by their rows, all their vectors of that name.

        Raises:
            SearchFailed: Qdrant does not answer.
        """
        points = [
            models.PointVectors(id=row, vector={name: as_vector(name, part)})
            for row, part in zip(documents, parts, strict=True)
        ]
        with answering(self._options):
            self._client.update_vectors(self._name, points)

    def finish(self, name: str, identity: Identity, num_documents: int) -> None:
        """Wait until what was put is indexed, and note that it is all.

        Raises:
            SearchFailed: Qdrant does not answer, or takes longer than `index_seconds`.
        """
        with answering(self._options):
            self._wait_until_indexed()
            value = {"identity": asdict(identity), "num_documents": num_documents}
            self._remember(name, value)

    def index(self, name: str, identity: Identity) -> "QdrantIndex":
        """The vectors of that name.

        Raises:
            ValueError: they are not there, or were made from something else.
            SearchFailed: Qdrant does not answer.
        """
        self._check_identity(name, identity)
        return QdrantIndex(
            self,
            name,
            dimension=identity.dimension,
            num_documents=self._metadata()[name]["num_documents"],
        )

    @property
    def is_exact(self) -> bool:
        """Whether every vector is compared with; the embedded mode always does."""
        return self._options.exact or self._options.url is None

    def nearest(
        self,
        name: str,
        vectors: Float32[np.ndarray, "num dimension"],
        fetched: int,
        *,
        exact: bool | None = None,
    ) -> tuple[Float32[np.ndarray, "num fetched"], Int64[np.ndarray, "num fetched"]]:
        """Scores and rows of the best documents, best first; filled up with -inf and `MISS`.

        Args:
            exact: compare with every vector; None: as the options say.
        """
        requests = [
            models.QueryRequest(
                query=as_query(name, vector),
                using=name,
                limit=fetched,
                params=self._search_params(exact),
            )
            for vector in vectors
        ]
        with answering(self._options):
            responses = self._client.query_batch_points(self._name, requests)
        scores = np.full((len(vectors), fetched), -np.inf, dtype=np.float32)
        rows = np.full((len(vectors), fetched), MISS, dtype=np.int64)
        for place, response in enumerate(responses):
            for rank, point in enumerate(response.points):
                scores[place, rank], rows[place, rank] = point.score, point.id
        return scores, rows

    def vectors_of(
        self, name: str, rows: Sequence[int]
    ) -> Float32[np.ndarray, "num_rows dimension"]:
        """The vectors of documents that have one of that name."""
        with answering(self._options):
            records = self._client.retrieve(self._name, list(rows), with_vectors=[name])
        found = {record.id: record.vector[name] for record in records}
        return np.array([found[row] for row in rows], dtype=np.float32)

    def _create(self, documents: dict[str, Any], dimensions: dict[str, int]) -> None:
        self._client.create_collection(
            self._name,
            vectors_config={name: vector_params(name, size) for name, size in dimensions.items()},
            shard_number=self._options.shards,
            replication_factor=self._options.replicas,
            metadata={BEGUN: documents},
        )

    def _add_points(self, num_documents: int) -> None:
        size = self._options.batch_size
        for start in range(0, num_documents, size):
            rows = range(start, min(start + size, num_documents))
            points = [models.PointStruct(id=row, vector={}) for row in rows]
            self._client.upsert(self._name, points)

    def _check_contents(self, documents: dict[str, Any], dimensions: dict[str, int]) -> None:
        """See, before anything is written, that it was made for these documents and vectors.

        Raises:
            ValueError: it was not.
        """
        metadata = self._metadata()
        known = metadata.get(DOCUMENTS, metadata.get(BEGUN))
        if known is None:
            misfits = ["scripts/build_index.py did not make it"]
        else:
            misfits = [
                f"its {key} is {known.get(key)!r}, not {value!r}"
                for key, value in documents.items()
                if known.get(key) != value
            ]
            misfits += self._misfitting_vectors(dimensions)
        if misfits:
            raise ValueError(
                f"the collection {self._name!r} holds something else: "
                f"{'; '.join(misfits)}: {ANOTHER}"
            )

    def _misfitting_vectors(self, dimensions: dict[str, int]) -> list[str]:
        """What of the collection's vectors is not as `vector_params` has it."""
        made = self._client.get_collection(self._name).config.params.vectors
        misfits = []
        for name, size in dimensions.items():
            found, wanted = made.get(name), vector_params(name, size)
            if found is None or found.size != size:
                found_size = 0 if found is None else found.size
                misfits.append(f"its {name} vectors have {found_size} dimensions, not {size}")
            elif found.distance != wanted.distance:
                misfits.append(
                    f"its {name} vectors are compared by {found.distance.value}, not by "
                    f"{wanted.distance.value}"
                )
        return misfits

    def _check_identity(self, name: str, identity: Identity) -> None:
        known = self._metadata().get(name)
        if known is None:
            raise ValueError(
                f"the collection {self._name!r} has no finished {name} vectors: build them with "
                "scripts/build_index.py"
            )
        expected = asdict(identity)
        differing = [key for key in expected if known["identity"].get(key) != expected[key]]
        if differing:
            raise ValueError(
                f"the {name} vectors of the collection {self._name!r} were made otherwise "
                f"({', '.join(differing)}): {ANOTHER}"
            )

    def _metadata(self) -> dict[str, Any]:
        with answering(self._options):
            if not self._client.collection_exists(self._name):
                return {}
            return self._client.get_collection(self._name).config.metadata or {}

    def _remember(self, key: str, value: dict[str, Any]) -> None:
        self._client.update_collection(self._name, metadata={key: value})

    def _wait_until_indexed(self) -> None:
        deadline = time.monotonic() + self._options.index_seconds
        while self._client.get_collection(self._name).status != models.CollectionStatus.GREEN:
            if time.monotonic() > deadline:
                raise SearchFailed(
                    f"the collection {self._name!r} is still being indexed after "
                    f"{self._options.index_seconds:.0f} s: raise retrieval.qdrant.index_seconds"
                )
            time.sleep(POLL_SECONDS)

    def _search_params(self, exact: bool | None) -> models.SearchParams | None:
        if self._options.url is None:
            return None  # the embedded mode knows brute force alone, and warns of parameters
        exact = self._options.exact if exact is None else exact
        return models.SearchParams(exact=exact, hnsw_ef=self._options.ef_search)


class QdrantIndex:
    """The vectors of one name, asked as `VectorIndex` is."""

    def __init__(
        self, collection: QdrantCollection, name: str, *, dimension: int, num_documents: int
    ) -> None:
        self.dimension = dimension
        self._collection = collection
        self._name = name
        # Qdrant folds: each document comes once, with its best vector.
        self._counts = VectorCounts(
            total=num_documents, most_per_document=1, most_fetched=num_documents
        )

    def __len__(self) -> int:
        return self._counts.total

    def search(self, vectors: Float32[np.ndarray, "num dimension"], k: int) -> list[list[Hit]]:
        """At most k documents for each vector, as `search_documents` orders them.

        Raises:
            ValueError: a vector that is not finite, or of another dimension than the index.
            SearchFailed: Qdrant does not answer.
        """
        refuse_dimension(vectors, self.dimension)
        return search_documents(self._fetch, vectors, k, self._counts)

    def scores(
        self, vector: Float32[np.ndarray, " dimension"], rows: Sequence[int]
    ) -> Float64[np.ndarray, " num_rows"]:
        """Similarity of a vector to the documents in `rows`, each of which must have one vector."""
        documents = self._collection.vectors_of(self._name, rows)
        return np.round((documents @ vector).astype(np.float64), SCORE_DECIMALS)

    def recall_at_10(self, queries: Float32[np.ndarray, "num dimension"]) -> float:
        """Share of the ten nearest documents, by brute force in Qdrant, that a search finds."""
        nearest = min(NUM_NEAREST, len(self))
        exact = self._collection.nearest(self._name, queries, nearest, exact=True)[1]
        found = self._collection.nearest(self._name, queries, nearest)[1]
        shared = [len(np.intersect1d(a, b)) for a, b in zip(exact, found, strict=True)]
        return float(np.mean(shared) / nearest)

    def _fetch(
        self, vectors: Float32[np.ndarray, "num dimension"], fetched: int
    ) -> tuple[Float32[np.ndarray, "num fetched"], Int64[np.ndarray, "num fetched"]]:
        return self._collection.nearest(self._name, vectors, fetched)

"""Vectors of all documents -> a Qdrant collection, with a manifest beside the other indexes."""

import importlib.metadata
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64
from tqdm import tqdm

from pixsearch.retrieval.building.recall import held_out_queries
from pixsearch.retrieval.hits import refuse_not_finite
from pixsearch.retrieval.manifest import Identity, Manifest, write_manifest
from pixsearch.retrieval.qdrant import QdrantCollection
from pixsearch.retrieval.vectors import Vectors

logger = logging.getLogger(__name__)


def upload_vector_index(
    folder: Path,
    collection: QdrantCollection,
    name: str,
    vectors: Vectors,
    rows: Int64[np.ndarray, " count"],
    identity: Identity,
    *,
    model: str,
    batch_size: int,
    progress: bool | None = False,
) -> Manifest:
    """Fill the vectors of one name, measure the search, and write the manifest.

    An upload that was broken off begins anew: what is there already is written over with the same.

    Args:
        folder: empty.
        rows: of each vector, the row of its document.
        batch_size: documents per request.

    Raises:
        ValueError: the collection holds other vectors of that name, or one is not finite.
        SearchFailed: Qdrant does not answer.
    """
    if not collection.holds(name, identity):
        _upload(collection, name, vectors, rows, batch_size, progress)
        collection.finish(name, identity, len(np.unique(rows)))
    queries = held_out_queries(vectors)
    exact = collection.is_exact
    index = collection.index(name, identity)
    manifest = Manifest(
        identity=identity,
        count=len(rows),
        num_documents=len(index),
        exact=exact,
        recall_at_10=1.0 if exact else index.recall_at_10(queries),
        num_recall_queries=0 if exact else len(queries),
        search_parameters="",
        library=f"qdrant-client {importlib.metadata.version('qdrant-client')}",
        model=model,
        files={},
    )
    write_manifest(manifest, folder)
    logger.info("recall@10 of Qdrant against exact: %.3f", manifest.recall_at_10)
    return manifest


def by_document(
    vectors: Vectors, rows: Int64[np.ndarray, " count"], size: int
) -> Iterator[tuple[list[int], list[Float32[np.ndarray, "_ dimension"]]]]:
    """Rows of at most `size` documents at a time, ascending, each with all of its vectors.

    Raises:
        ValueError: a vector is not finite.
    """
    order = np.argsort(rows, kind="stable")
    documents, firsts = np.unique(rows[order], return_index=True)
    bounds = [*firsts.tolist(), len(rows)]
    for start in range(0, len(documents), size):
        end = min(start + size, len(documents))
        taken = _taken(vectors, order[bounds[start] : bounds[end]])
        refuse_not_finite(taken, what="a document's vector")
        inner = [bound - bounds[start] for bound in bounds[start + 1 : end]]
        yield documents[start:end].tolist(), np.split(taken, inner)


def _upload(
    collection: QdrantCollection,
    name: str,
    vectors: Vectors,
    rows: Int64[np.ndarray, " count"],
    batch_size: int,
    progress: bool | None,
) -> None:
    disable = None if progress is None else not progress
    with tqdm(total=len(rows), desc=f"upload {name}", disable=disable) as bar:
        for documents, parts in by_document(vectors, rows, batch_size):
            collection.put(name, documents, parts)
            bar.update(sum(map(len, parts)))


def _taken(
    vectors: Vectors, places: Int64[np.ndarray, " num"]
) -> Float32[np.ndarray, "num dimension"]:
    """The vectors at places in any order."""
    taken = np.empty((len(places), vectors.dimension), dtype=np.float32)
    ascending = np.argsort(places)
    taken[ascending] = vectors.take(places[ascending])
    return taken

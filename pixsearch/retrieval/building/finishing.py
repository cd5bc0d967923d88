"""Vectors of all documents -> the folder of an index with its manifest."""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import faiss
import numpy as np
from jaxtyping import Int64

from pixsearch.config import BuildOptions
from pixsearch.retrieval.building.filling import (
    faiss_threads,
    fill_index,
    set_search_parameters,
)
from pixsearch.retrieval.building.recall import NUM_RECALL_QUERIES, recall_at_10
from pixsearch.retrieval.index import VectorIndex
from pixsearch.retrieval.manifest import Identity, Manifest, file_records, write_manifest
from pixsearch.retrieval.vectors import Vectors

logger = logging.getLogger(__name__)


def write_vector_index(
    folder: Path,
    vectors: Vectors,
    rows: Int64[np.ndarray, " count"],
    identity: Identity,
    *,
    model: str,
    search_parameters: str,
    options: BuildOptions,
    progress: bool | None = False,
) -> Manifest:
    """Fill an index, measure it against exact search, and write it with its manifest.

    Args:
        folder: empty.
        rows: of each vector, the row of its document.

    Raises:
        ValueError: see `fill_index` and `set_search_parameters`.
    """
    exact = identity.factory == "Flat"
    with faiss_threads(options.threads):
        filled = fill_index(vectors, identity.factory, options, progress=progress)
        set_search_parameters(filled, search_parameters)
        index = VectorIndex(filled, rows)
        index.save(folder)
        recall = 1.0 if exact else recall_at_10(index.nearest, vectors)
    manifest = Manifest(
        identity=identity,
        count=len(index),
        num_documents=len(np.unique(rows)),
        exact=exact,
        recall_at_10=recall,
        num_recall_queries=0 if exact else min(NUM_RECALL_QUERIES, len(vectors)),
        search_parameters=search_parameters,
        library=f"faiss {faiss.__version__}",
        model=model,
        files=file_records(folder),
    )
    write_manifest(manifest, folder)
    logger.info("recall@10 of %s against exact: %.3f", identity.factory, manifest.recall_at_10)
    return manifest


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; the system lets go of it however this process ends.

    Raises:
        ValueError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another process builds into {folder}: wait until it ends") from error
        yield

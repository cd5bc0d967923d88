"""What a spawned process does in a test: a module that imports little, so that it starts soon."""

from pathlib import Path

import numpy as np

from pixsearch.retrieval.crag_mm.collection import open_collection
from pixsearch.retrieval.crag_mm.entities import IMAGE_COLLECTION


def nearest_ids(source: Path, copies: Path, vectors: np.ndarray) -> list[list[str]]:
    """Ids of the five nearest images of each vector."""
    collection = open_collection(IMAGE_COLLECTION, source=str(source), revision=None, copies=copies)
    return [[row.id for row in rows] for rows in collection.nearest(vectors, 5)]

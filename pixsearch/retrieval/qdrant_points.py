"""Shapes of vectors in a Qdrant collection: a document has one text and any number of images."""

from typing import Any

import numpy as np
from jaxtyping import Float32
from qdrant_client import models


def as_vector(name: str, part: Float32[np.ndarray, "num dimension"]) -> list[Any]:
    if _is_multiple(name):
        return part.tolist()
    assert len(part) == 1, f"a document has one {name} vector"
    return part[0].tolist()


def as_query(name: str, vector: Float32[np.ndarray, " dimension"]) -> list[Any]:
    return [vector.tolist()] if _is_multiple(name) else vector.tolist()


def vector_params(name: str, size: int) -> models.VectorParams:
    """Inner products: vectors have their length already."""
    best = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    return models.VectorParams(
        size=size,
        distance=models.Distance.DOT,
        multivector_config=best if _is_multiple(name) else None,
    )


def _is_multiple(name: str) -> bool:
    return name == "image"

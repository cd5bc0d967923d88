"""Vectors -> a FAISS index, with little more memory than the index itself."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import faiss
import numpy as np
from jaxtyping import Float32
from tqdm import tqdm

from pixsearch.config import BuildOptions
from pixsearch.retrieval.vectors import Vectors

logger = logging.getLogger(__name__)

LEAST_PER_CELL = 39  # vectors, below which FAISS warns that its clusters are poor


def fill_index(
    vectors: Vectors, factory: str, options: BuildOptions, *, progress: bool | None = False
) -> faiss.Index:
    """Train an index on a seeded sample of the vectors, then add all of them a chunk at a time.

    The same vectors, options and version of FAISS give the same bytes.

    Raises:
        ValueError: FAISS refuses the factory string, for these vectors or at all.
    """
    try:
        with faiss_threads(_reproducible_threads(factory)):
            index = faiss.index_factory(vectors.dimension, factory, faiss.METRIC_INNER_PRODUCT)
            if not index.is_trained:
                _train(index, vectors, options)
            _reserve(index, len(vectors))
            _add(index, vectors, options, progress)
    except RuntimeError as error:
        raise ValueError(
            f"retrieval.factory={factory!r} does not work for {len(vectors)} vectors of "
            f"{vectors.dimension} dimensions: {faiss_reason(error)}; 'Flat' always does"
        ) from error
    return index


@contextmanager
def faiss_threads(count: int) -> Iterator[None]:
    """Let FAISS use so many threads; 0 leaves it as it is."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count or before)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def set_search_parameters(index: faiss.Index, parameters: str) -> None:
    """Set what FAISS searches with: "nprobe=64,k_factor_rf=4", "efSearch=64"; "" changes nothing.

    They are written to disk with the index.

    Raises:
        ValueError: the index does not know one of them.
    """
    if not parameters:
        return
    try:
        faiss.ParameterSpace().set_index_parameters(index, parameters)
    except RuntimeError as error:
        raise ValueError(
            f"retrieval.search_parameters={parameters!r} does not suit the index: "
            f"{faiss_reason(error)}; write nprobe=… for IVF, efSearch=… for HNSW, "
            "k_factor_rf=… for Refine, '' for none"
        ) from error


def faiss_reason(error: RuntimeError) -> str:
    """FAISS prefixes C++ source places to what it has to say."""
    return str(error).strip().splitlines()[-1].split("Error: ")[-1]


def _train(index: faiss.Index, vectors: Vectors, options: BuildOptions) -> None:
    sample = _sample(vectors, options)
    cells = faiss.try_extract_index_ivf(index)
    if cells is not None and len(sample) < LEAST_PER_CELL * cells.nlist:
        logger.warning(
            "%d vectors train %d cells, fewer than %d for each: take fewer cells or raise "
            "build.train_vectors",
            len(sample),
            cells.nlist,
            LEAST_PER_CELL,
        )
    logger.info("training on %d of %d vectors", len(sample), len(vectors))
    index.train(sample)


def _sample(vectors: Vectors, options: BuildOptions) -> Float32[np.ndarray, "num dimension"]:
    count = min(options.train_vectors, len(vectors))
    drawn = np.random.default_rng(options.seed).choice(
        len(vectors), count, replace=False, shuffle=False
    )
    return vectors.take(np.sort(drawn))


def _add(
    index: faiss.Index, vectors: Vectors, options: BuildOptions, progress: bool | None
) -> None:
    disable = None if progress is None else not progress
    with tqdm(total=len(vectors), desc="add", disable=disable) as bar:
        for chunk in vectors.chunks(options.add_vectors):
            index.add(chunk)
            bar.update(len(chunk))


def _reproducible_threads(factory: str) -> int:
    """1 for a graph that would differ from run to run if threads built it together; 0: any.

    FAISS 1.15.1 builds every HNSW graph reproducibly. Before, none; behind it, where it is asked to
    by a flag, which is left alone here.
    """
    if "HNSW" in factory:
        always = hasattr(faiss, "hnsw_add_vertices_deterministic")
        return 0 if always and not hasattr(faiss.cvar, "hnsw_deterministic_build") else 1
    return 1 if "NSG" in factory or "NNDescent" in factory else 0


def _reserve(index: Any, count: int) -> None:
    """Claim the memory of `count` vectors at once.

    An array that grows as it is filled doubles, and both sizes of it exist while it does.
    """
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexRefine):
        _reserve(index.base_index, count)
        _reserve(index.refine_index, count)
    elif isinstance(index, faiss.IndexPreTransform):
        _reserve(index.index, count)
    elif isinstance(index, faiss.IndexHNSW):
        _reserve(index.storage, count)
        # One node of M stands on the level above too, with M neighbours there: about one more each.
        _claim(index.hnsw.neighbors, count * (index.hnsw.nb_neighbors(0) + 2))
    elif isinstance(index, faiss.IndexFlatCodes):
        _claim(index.codes, count * index.code_size)


def _claim(array: Any, size: int) -> None:
    array.resize(size)
    array.resize(0)  # it keeps the memory

"""Vectors -> rows of the knowledge base, through FAISS."""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import faiss
import numpy as np
from jaxtyping import Float32, Float64, Int64

from pixsearch.config import BuildOptions, IndexDevice
from pixsearch.retrieval.building.filling import faiss_reason, fill_index, set_search_parameters
from pixsearch.retrieval.gpu_flat import MOST_NEIGHBOURS, GpuFlat
from pixsearch.retrieval.hits import (
    MISS,
    SCORE_DECIMALS,
    Hit,
    VectorCounts,
    refuse_dimension,
    refuse_not_finite,
    search_documents,
)
from pixsearch.retrieval.manifest import REMEDY, Manifest, read_manifest
from pixsearch.retrieval.vectors import Vectors

logger = logging.getLogger(__name__)

VECTORS, ROWS = "vectors.faiss", "rows.npy"  # files in the folder of an index


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


@runtime_checkable
class VectorSearch(Protocol):
    """An index that is asked by vectors; `VectorIndex` says what its methods owe."""

    def search(self, vectors: Float32[np.ndarray, "num dimension"], k: int) -> list[list[Hit]]: ...

    def scores(
        self, vector: Float32[np.ndarray, " dimension"], rows: Sequence[int]
    ) -> Float64[np.ndarray, " num_rows"]: ...


class VectorIndex:
    """Unit vectors and the row of the document that each belongs to.

    Several vectors of one document fold into one hit, its best.
    """

    def __init__(self, index: faiss.Index | GpuFlat, rows: Int64[np.ndarray, " count"]) -> None:
        assert index.ntotal == len(rows) > 0
        self._index = index
        self._rows = rows
        self._counts = VectorCounts(
            total=index.ntotal,
            most_per_document=int(np.unique(rows, return_counts=True)[1].max()),
            most_fetched=MOST_NEIGHBOURS if isinstance(index, GpuFlat) else index.ntotal,
        )

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
        return cls(fill_index(Vectors([vectors]), factory, BuildOptions()), rows)

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
                f"the index does not give its vectors back ({faiss_reason(error)}): set "
                "retrieval.from_document=lead, or end the factory in ',Refine(SQ8)' and rebuild"
            ) from error
        return np.round((documents @ vector).astype(np.float64), SCORE_DECIMALS)

    def _prepare_to_reconstruct(self) -> None:
        """An inverted file finds a vector by its number only with a map, 8 bytes per vector."""
        if isinstance(self._index, GpuFlat):
            return
        inverted = faiss.try_extract_index_ivf(self._index)
        if inverted is not None and inverted.direct_map.no():
            inverted.make_direct_map()

    def nearest(
        self, vectors: Float32[np.ndarray, "num dimension"], k: int
    ) -> tuple[Float32[np.ndarray, "num k"], Int64[np.ndarray, "num k"]]:
        """Scores and places of single vectors as FAISS finds them; a place of -1 is a miss."""
        return self._index.search(vectors, k)

    def save(self, folder: Path) -> None:
        faiss.write_index(self._index, str(folder / VECTORS))
        np.save(folder / ROWS, self._rows)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        memory_map: bool = False,
        device: IndexDevice = IndexDevice.cpu,
        search_parameters: str = "",
    ) -> "VectorIndex":
        """Load what `save` wrote, checked against the manifest beside it.

        Args:
            memory_map: leave the vectors in the file, to be read as they are asked for.
            search_parameters: FAISS's, in place of those it was built with; "": those.

        Raises:
            ValueError: a file is missing or corrupt, or the sizes differ from the manifest's; the
                device cannot search it.
        """
        manifest = read_manifest(folder)
        on_gpu = device is IndexDevice.gpu
        # IO_FLAG_MMAP maps inverted lists alone; this maps Flat, HNSW and scalar quantisers too.
        flags = faiss.IO_FLAG_MMAP_IFC if memory_map or on_gpu else 0
        try:
            index = faiss.read_index(str(folder / VECTORS), flags)
            rows = np.load(folder / ROWS, mmap_mode="r" if memory_map else None)
        except (RuntimeError, OSError, ValueError, EOFError) as error:
            raise ValueError(f"the index {folder} cannot be read: {REMEDY}") from error
        sizes = (index.ntotal, len(rows), index.d)
        stated = (manifest.count, manifest.count, manifest.identity.dimension)
        if sizes != stated:
            raise ValueError(
                f"the index {folder} holds (vectors, rows, dimension) = {sizes}, "
                f"its manifest says {stated}: {REMEDY}"
            )
        if search_parameters not in ("", manifest.search_parameters):
            set_search_parameters(index, search_parameters)
            logger.warning("%s: its recall was measured with other search_parameters", folder)
        return cls(_on_gpu(index, manifest) if on_gpu else index, rows)


@dataclass(frozen=True, kw_only=True)
class EncodedIndex:
    """A vector index with the encoder of its queries.

    Attributes:
        encode: queries (texts or images) to unit vectors.
    """

    encode: Callable[[Sequence[Any]], Float32[np.ndarray, "num dimension"]]
    vectors: VectorSearch

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
    """A new folder that takes the place of `folder` when the block ends well, else vanishes.

    What a killed process has left of one goes first.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _on_gpu(index: faiss.Index, manifest: Manifest) -> GpuFlat:
    if not isinstance(index, faiss.IndexFlat):
        raise ValueError(
            f"retrieval.device=gpu searches retrieval.factory=Flat alone, the index is "
            f"{manifest.identity.factory!r}: rebuild it, or set retrieval.device=cpu"
        )
    return GpuFlat(index)

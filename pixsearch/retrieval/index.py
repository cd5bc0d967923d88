"""Vectors -> rows of the knowledge base, through FAISS. Cosine similarity throughout."""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import faiss
import numpy as np
from jaxtyping import Float32, Int64

from pixsearch.config import BuildOptions, IndexDevice
from pixsearch.retrieval.building.filling import fill_index, set_search_parameters
from pixsearch.retrieval.gpu_flat import GpuFlat
from pixsearch.retrieval.manifest import REMEDY, Manifest, read_manifest
from pixsearch.retrieval.vectors import Vectors

logger = logging.getLogger(__name__)

VECTORS, ROWS = "vectors.faiss", "rows.npy"  # files in the folder of an index
# Scores are rounded before they are compared: FAISS sums in another order for large batches, and
# the order of near-equal hits must not depend on what else is asked in the same call.
SCORE_DECIMALS = 5
SPARE_VECTORS = 8  # fetched beyond those that are needed, to see whether the last one is tied


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A document that was found.

    Attributes:
        row: its place in the knowledge base.
        score: cosine similarity (of its best image), or BM25's score.
    """

    row: int
    score: float


@runtime_checkable
class Index(Protocol):
    """Anything that finds documents for queries (texts or images), nearest first."""

    def search(self, queries: Sequence[Any], k: int) -> list[list[Hit]]: ...


class VectorIndex:
    """Unit vectors and the row of the document that each belongs to.

    Several vectors of one document fold into one hit, its best. Documents with the same score come
    in the order of the knowledge base.
    """

    def __init__(self, index: faiss.Index | GpuFlat, rows: Int64[np.ndarray, " count"]) -> None:
        assert index.ntotal == len(rows) > 0
        self._index = index
        self._rows = rows
        # The best k documents are among the best k x most vectors, whatever the folding.
        self._most_per_document = int(np.unique(rows, return_counts=True)[1].max())

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
        """At most k documents for each vector; fewer if there are not as many, or ANN missed.

        A zero vector (a text without words) is near to nothing: no hits.

        Raises:
            ValueError: a vector that is not finite.
        """
        assert k > 0
        if len(vectors) == 0:
            return []
        refuse_not_finite(vectors, what="a query's vector")
        has_words = vectors.any(axis=1)
        found = iter(self._search_beyond_ties(vectors[has_words], k))
        return [next(found) if each else [] for each in has_words]

    def _search_beyond_ties(
        self, vectors: Float32[np.ndarray, "num dimension"], k: int
    ) -> list[list[Hit]]:
        """The best k of so many that none of those left out scores as the last of them does.

        FAISS keeps any of several equal ones; which of them come first is the knowledge base's say.
        Queries that are not tied are not asked again: an approximate index finds more the more it
        is asked for, and what it finds must not hang on the other queries.
        """
        hits: list[list[Hit]] = [[] for _ in vectors]
        open_rows = np.arange(len(vectors))
        fetched = min(k * self._most_per_document + SPARE_VECTORS, len(self))
        while len(open_rows):
            scores, places = self._index.search(vectors[open_rows], fetched)
            for row, *found in zip(open_rows.tolist(), scores, places, strict=True):
                hits[row] = self._fold(*found, k)
            last_scores = np.round(scores[:, -1].astype(np.float64), SCORE_DECIMALS)
            is_cut = [
                fetched < len(self) and len(hits[row]) == k and hits[row][-1].score <= last
                for row, last in zip(open_rows.tolist(), last_scores.tolist(), strict=True)
            ]
            open_rows = open_rows[is_cut]
            fetched = min(2 * fetched, len(self))
        return hits

    def _fold(
        self, scores: Float32[np.ndarray, " fetched"], places: Int64[np.ndarray, " fetched"], k: int
    ) -> list[Hit]:
        found = places >= 0  # FAISS fills up with -1; as a row that would be the last document
        best: dict[int, float] = {}
        rounded = np.round(scores[found].astype(np.float64), SCORE_DECIMALS)
        for row, score in zip(self._rows[places[found]].tolist(), rounded.tolist(), strict=True):
            best[row] = max(score, best.get(row, score))
        ordered = sorted(best.items(), key=lambda item: (-item[1], item[0]))
        return [Hit(row=row, score=score) for row, score in ordered[:k]]

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
    vectors: VectorIndex

    def search(self, queries: Sequence[Any], k: int) -> list[list[Hit]]:
        """All queries in one call of the encoder, then one of the index."""
        return self.vectors.search(self.encode(queries), k) if queries else []


def refuse_not_finite(vectors: Float32[np.ndarray, "num dimension"], *, what: str) -> None:
    """Raises ValueError if a vector holds NaN or infinity."""
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if bad.size:
        raise ValueError(f"{what} (number {bad[0]}) is not finite: check the encoder's weights")


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
